//! Arithmetic expressions: a recursive-descent parser that evaluates as it reads.
//!
//! ```text
//! sum     = product { ("+" | "-") product }
//! product = signed { ("*" | "/" | "%") signed }
//! signed  = { "+" | "-" } power
//! power   = operand [ "^" signed ]
//! operand = number | "(" sum ")"
//! ```

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{Pow, ToPrimitive, Zero};
use thiserror::Error;

/// Longest expression, in characters.
pub(super) const MAX_LENGTH: usize = 500;
/// Deepest nesting of parentheses and exponents.
const MAX_DEPTH: usize = 50;
/// Most bits of a numerator or a denominator, some 616 decimal digits.
const MAX_BITS: u64 = 2048;
/// Largest magnitude of an exponent.
const MAX_EXPONENT: i32 = 1000;

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum ExpressionError {
    #[error("it has more than {MAX_LENGTH} characters")]
    TooLong,
    #[error("it nests deeper than {MAX_DEPTH} levels")]
    TooDeep,
    #[error("it ends where a number or an opening parenthesis was expected")]
    EndsEarly,
    #[error("the character {character:?} at position {position} was not expected there")]
    Unexpected { character: char, position: usize },
    #[error("the parenthesis at position {position} is not closed")]
    Unclosed { position: usize },
    #[error("there is a division by zero")]
    DivisionByZero,
    #[error("an exponent is not an integer between -{MAX_EXPONENT} and {MAX_EXPONENT}")]
    Exponent,
    #[error("a value needs more than about 600 digits")]
    TooLarge,
}

/// The exact value of an expression.
pub(super) fn evaluate(text: &str) -> Result<BigRational, ExpressionError> {
    let characters: Vec<char> = text.chars().take(MAX_LENGTH + 1).collect();
    if characters.len() > MAX_LENGTH {
        return Err(ExpressionError::TooLong);
    }
    let mut parser = Parser { characters, next: 0, depth: 0 };
    let value = parser.sum()?;
    match parser.peek() {
        None => Ok(value),
        Some(_) => Err(parser.unexpected()),
    }
}

struct Parser {
    characters: Vec<char>,
    next: usize,
    depth: usize,
}

impl Parser {
    fn sum(&mut self) -> Result<BigRational, ExpressionError> {
        let mut value = self.product()?;
        while let Some(operator) = self.take_any("+-") {
            let right = self.product()?;
            value = bounded(if operator == '+' { value + right } else { value - right })?;
        }
        Ok(value)
    }

    fn product(&mut self) -> Result<BigRational, ExpressionError> {
        let mut value = self.signed()?;
        while let Some(operator) = self.take_any("*/%") {
            let right = self.signed()?;
            if operator != '*' && right.is_zero() {
                return Err(ExpressionError::DivisionByZero);
            }
            value = bounded(match operator {
                '*' => value * right,
                '/' => value / right,
                _ => value % right,
            })?;
        }
        Ok(value)
    }

    fn signed(&mut self) -> Result<BigRational, ExpressionError> {
        let mut negative = false;
        while let Some(sign) = self.take_any("+-") {
            negative ^= sign == '-';
        }
        let value = self.power()?;
        Ok(if negative { -value } else { value })
    }

    fn power(&mut self) -> Result<BigRational, ExpressionError> {
        let base = self.operand()?;
        if self.take_any("^").is_none() {
            return Ok(base);
        }
        let exponent = self.nested(Self::signed)?;
        raise(&base, &exponent)
    }

    fn operand(&mut self) -> Result<BigRational, ExpressionError> {
        match self.peek() {
            None => Err(ExpressionError::EndsEarly),
            Some('(') => {
                self.next += 1;
                let position = self.next;
                let value = self.nested(Self::sum)?;
                match self.peek() {
                    Some(')') => self.next += 1,
                    Some(_) => return Err(self.unexpected()),
                    None => return Err(ExpressionError::Unclosed { position }),
                }
                Ok(value)
            }
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(),
            Some(_) => Err(self.unexpected()),
        }
    }

    fn number(&mut self) -> Result<BigRational, ExpressionError> {
        let mut units = BigInt::zero();
        let integer_digits = self.digits(&mut units);
        let mut decimal_places = 0;
        if self.characters.get(self.next) == Some(&'.') {
            self.next += 1;
            decimal_places = self.digits(&mut units);
        }
        if integer_digits + decimal_places == 0 {
            return Err(self.unexpected());
        }
        bounded(BigRational::new(units, Pow::pow(BigInt::from(10), decimal_places)))
    }

    /// Appends the digits that follow to `units` and counts them.
    fn digits(&mut self, units: &mut BigInt) -> u32 {
        let mut count = 0;
        while let Some(digit) = self.characters.get(self.next).and_then(|c| c.to_digit(10)) {
            *units = &*units * 10 + digit;
            count += 1;
            self.next += 1;
        }
        count
    }

    fn nested(
        &mut self,
        part: fn(&mut Self) -> Result<BigRational, ExpressionError>,
    ) -> Result<BigRational, ExpressionError> {
        if self.depth == MAX_DEPTH {
            return Err(ExpressionError::TooDeep);
        }
        self.depth += 1;
        let value = part(self)?;
        self.depth -= 1;
        Ok(value)
    }

    /// The next character that is not white space.
    fn peek(&mut self) -> Option<char> {
        while self.characters.get(self.next).is_some_and(|c| c.is_whitespace()) {
            self.next += 1;
        }
        self.characters.get(self.next).copied()
    }

    fn take_any(&mut self, wanted: &str) -> Option<char> {
        let found = self.peek().filter(|c| wanted.contains(*c))?;
        self.next += 1;
        Some(found)
    }

    fn unexpected(&self) -> ExpressionError {
        match self.characters.get(self.next) {
            Some(&character) => ExpressionError::Unexpected { character, position: self.next + 1 },
            None => ExpressionError::EndsEarly,
        }
    }
}

fn raise(base: &BigRational, exponent: &BigRational) -> Result<BigRational, ExpressionError> {
    let exponent = exponent
        .is_integer()
        .then(|| exponent.numer().to_i32())
        .flatten()
        .filter(|e| e.unsigned_abs() <= MAX_EXPONENT.unsigned_abs())
        .ok_or(ExpressionError::Exponent)?;
    if base.is_zero() && exponent.is_negative() {
        return Err(ExpressionError::DivisionByZero);
    }
    // A number of `n` bits is at least 2^(n - 1), so this refuses nothing that fits.
    let least_bits = (bits(base) - 1).saturating_mul(u64::from(exponent.unsigned_abs()));
    if least_bits > MAX_BITS {
        return Err(ExpressionError::TooLarge);
    }
    bounded(base.pow(exponent))
}

fn bounded(value: BigRational) -> Result<BigRational, ExpressionError> {
    if bits(&value) > MAX_BITS { Err(ExpressionError::TooLarge) } else { Ok(value) }
}

/// Bits of the larger of numerator and denominator; at least one, as no denominator is zero.
fn bits(value: &BigRational) -> u64 {
    value.numer().bits().max(value.denom().bits())
}

#[cfg(test)]
mod tests;
