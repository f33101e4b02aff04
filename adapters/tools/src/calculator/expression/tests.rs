//! What expressions mean, and that no text makes the parser fail badly.

use proptest::prelude::*;

use super::*;
use crate::calculator::decimal::show;

fn value_of(expression: &str) -> String {
    evaluate(expression).map_or_else(|e| e.to_string(), |value| show(&value))
}

#[test]
fn the_usual_rules_of_precedence_hold() {
    for (expression, expected) in [
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("10 - 4 - 3", "3"),
        ("100 / 10 / 2", "5"),
        ("2 ^ 3 ^ 2", "512"),
        ("-2 ^ 2", "-4"),
        ("(-2) ^ 2", "4"),
        ("2 ^ -2", "0.25"),
        ("2 * -3", "-6"),
        ("1 - - 1", "2"),
        ("--+-5", "-5"),
        ("\t.5+ 5.\n", "5.5"),
        ("7 % 3", "1"),
        ("-7 % 3", "-1"),
        ("7.5 % -2", "1.5"),
        ("0 ^ 0", "1"),
    ] {
        assert_eq!(value_of(expression), expected, "{expression}");
    }
}

#[test]
fn decimals_and_fractions_are_exact() {
    assert_eq!(value_of("0.1 + 0.2"), "0.3");
    assert_eq!(value_of("1 / 3 * 3"), "1");
    assert_eq!(value_of("1.000000000000000000000000000001 - 1"), "0.000000000000000000000000000001");
    assert_eq!(value_of("2^128 - 1"), "340282366920938463463374607431768211455");
}

#[test]
fn mistakes_have_names() {
    use ExpressionError::{
        DivisionByZero, EndsEarly, Exponent, TooDeep, TooLarge, TooLong, Unclosed, Unexpected,
    };
    for (expression, expected) in [
        ("", EndsEarly),
        ("1 +", EndsEarly),
        (".", EndsEarly),
        ("1 2", Unexpected { character: '2', position: 3 }),
        ("1.2.3", Unexpected { character: '.', position: 4 }),
        ("two", Unexpected { character: 't', position: 1 }),
        ("2 ** 3", Unexpected { character: '*', position: 4 }),
        ("1)", Unexpected { character: ')', position: 2 }),
        ("1 + (2", Unclosed { position: 5 }),
        ("1 / 0", DivisionByZero),
        ("1 % (2 - 2)", DivisionByZero),
        ("0 ^ -1", DivisionByZero),
        ("2 ^ 0.5", Exponent),
        ("2 ^ 1001", Exponent),
        ("2 ^ 99999999999999999999", Exponent),
        ("1000 ^ 1000", TooLarge),
        ("2^1000 * 2^1000 * 2^1000", TooLarge),
        ("2^-1000 * 2^-1000 * 2^-1000", TooLarge),
    ] {
        assert_eq!(evaluate(expression), Err(expected), "{expression}");
    }
    assert_eq!(evaluate(&"1".repeat(MAX_LENGTH + 1)), Err(TooLong));
    assert_eq!(evaluate(&"(".repeat(MAX_LENGTH)), Err(TooDeep));
    assert_eq!(evaluate(&"1^".repeat(MAX_LENGTH / 2)), Err(TooDeep));
}

#[test]
fn the_bounds_themselves_are_within() {
    let nested = format!("{}1{}", "(".repeat(MAX_DEPTH), ")".repeat(MAX_DEPTH));
    assert_eq!(value_of(&nested), "1");
    assert_eq!(value_of(&"9".repeat(MAX_LENGTH)), "9".repeat(MAX_LENGTH));
    assert_eq!(value_of("1 ^ 1000 + 1 ^ -1000"), "2");
    assert_eq!(value_of(&format!("{}1", "-".repeat(MAX_LENGTH - 1))), "-1");
}

/// An expression of integers and its value.
fn integer_expression() -> impl Strategy<Value = (String, i128)> {
    let leaf = (0..1000_i128).prop_map(|n| (n.to_string(), n));
    leaf.prop_recursive(5, 24, 2, |inner| {
        let operator = prop::sample::select(vec!['+', '-', '*', '%', '~', '^']);
        (inner.clone(), operator, inner).prop_filter_map("stays within i128", |(left, operator, right)| {
            let ((left_text, left), (right_text, right)) = (left, right);
            let value = match operator {
                '+' => left.checked_add(right)?,
                '-' => left.checked_sub(right)?,
                '*' => left.checked_mul(right)?,
                '%' => left.checked_rem(right)?,
                '~' => return Some((format!("-({left_text})"), left.checked_neg()?)),
                _ => {
                    let exponent = right.rem_euclid(4);
                    let value = left.checked_pow(u32::try_from(exponent).ok()?)?;
                    return Some((format!("({left_text})^{exponent}"), value));
                }
            };
            Some((format!("({left_text}) {operator} ({right_text})"), value))
        })
    })
}

proptest! {
    #[test]
    fn any_text_has_a_value_or_an_error(text in any::<String>()) {
        let _ = value_of(&text);
    }

    #[test]
    fn any_mix_of_its_own_characters_has_a_value_or_an_error(text in r"[0-9.+\-*/%^() ]{0,80}") {
        prop_assert!(value_of(&text).len() < 5000);
    }

    #[test]
    fn integers_agree_with_machine_arithmetic((text, expected) in integer_expression()) {
        prop_assume!(text.chars().count() <= MAX_LENGTH);
        prop_assert_eq!(value_of(&text), expected.to_string());
    }

    #[test]
    fn sums_of_decimals_agree_with_integers(
        left in -1_000_000_000_i64..1_000_000_000, right in -1_000_000_000_i64..1_000_000_000
    ) {
        let text = format!("({left} / 10000 + {right} / 10000) * 10000");
        prop_assert_eq!(value_of(&text), (left + right).to_string());
    }
}
