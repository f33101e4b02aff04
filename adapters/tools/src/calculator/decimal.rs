//! A fraction as decimal text.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Pow, Signed, ToPrimitive, Zero};

/// Significant digits of a result that has no finite decimal form.
const SIGNIFICANT_DIGITS: usize = 34;

/// The value exactly where it has a finite decimal form, else rounded to nearest with a word that it was.
pub(super) fn show(value: &BigRational) -> String {
    match finite_scale(value.denom()) {
        Some(scale) => digits_of(&(value.numer() * ten_to(scale) / value.denom()), scale),
        None => rounded(value),
    }
}

/// How many decimal places a fraction with this denominator has, if finitely many.
fn finite_scale(denominator: &BigInt) -> Option<u32> {
    let five = BigInt::from(5);
    let twos = denominator.trailing_zeros().unwrap_or(0);
    let mut rest = denominator >> twos;
    let mut fives = 0_u32;
    while (&rest % &five).is_zero() {
        rest /= &five;
        fives += 1;
    }
    rest.is_one().then(|| twos.to_u32().unwrap_or(u32::MAX).max(fives))
}

fn rounded(value: &BigRational) -> String {
    // An estimate of the digits before the point, at most two off: log10(2) is 0.30103.
    let bits = i128::from(value.numer().bits()) - i128::from(value.denom().bits());
    let integer_digits = bits * 30_103 / 100_000;
    let significant = i128::try_from(SIGNIFICANT_DIGITS).unwrap_or(i128::MAX);
    let mut scale = u32::try_from((significant + 2 - integer_digits).max(0)).unwrap_or(0);
    let mut nearest = to_nearest(value, scale);
    while scale > 0 && nearest.magnitude().to_string().len() > SIGNIFICANT_DIGITS {
        scale -= 1;
        nearest = to_nearest(value, scale);
    }
    let precision = match scale {
        0 => "an integer".to_owned(),
        _ => format!("{SIGNIFICANT_DIGITS} significant digits"),
    };
    format!("{} (rounded to {precision})", digits_of(&nearest, scale))
}

/// The integer nearest to `value * 10^scale`. There are no ties: those have a finite decimal form.
fn to_nearest(value: &BigRational, scale: u32) -> BigInt {
    let twice: BigInt = value.numer().abs() * ten_to(scale) * 2 + value.denom();
    twice / (value.denom() * BigInt::from(2)) * value.numer().signum()
}

fn ten_to(scale: u32) -> BigInt {
    Pow::pow(BigInt::from(10), scale)
}

/// `units / 10^scale` in decimal notation.
fn digits_of(units: &BigInt, scale: u32) -> String {
    let scale = usize::try_from(scale).unwrap_or(usize::MAX);
    let mut digits = format!("{:0>width$}", units.magnitude().to_string(), width = scale.saturating_add(1));
    if scale > 0 {
        digits.insert(digits.len() - scale, '.');
    }
    let sign = if units.is_negative() { "-" } else { "" };
    format!("{sign}{digits}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show_fraction(numerator: i128, denominator: i128) -> String {
        show(&BigRational::new(numerator.into(), denominator.into()))
    }

    #[test]
    fn finite_decimals_are_exact() {
        for (numerator, denominator, expected) in [
            (0, 1, "0"),
            (-7, 1, "-7"),
            (100, 1, "100"),
            (1, 2, "0.5"),
            (-1, 40, "-0.025"),
            (123_456, 1000, "123.456"),
            (1, 1024, "0.0009765625"),
        ] {
            assert_eq!(show_fraction(numerator, denominator), expected);
        }
    }

    #[test]
    fn other_fractions_are_rounded_and_say_so() {
        for (numerator, denominator, digits) in [
            (1, 3, "0.3333333333333333333333333333333333"),
            (-2, 3, "-0.6666666666666666666666666666666667"),
            (200, 3, "66.66666666666666666666666666666667"),
            (1, 3_000_000, "0.0000003333333333333333333333333333333333"),
        ] {
            assert_eq!(
                show_fraction(numerator, denominator),
                format!("{digits} (rounded to 34 significant digits)")
            );
        }
        let large = show(&BigRational::new(Pow::pow(BigInt::from(10), 40_u32), 3.into()));
        assert_eq!(large, format!("{} (rounded to an integer)", "3".repeat(40)));
    }
}
