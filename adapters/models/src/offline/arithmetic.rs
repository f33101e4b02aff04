//! Finds an arithmetic expression in a sentence, and writes it as the calculator reads it.

/// The longest expression that is looked for, in bytes; the calculator has the same bound.
const MAX_LENGTH: usize = 500;

/// The first arithmetic expression of a text.
pub(super) fn find(text: &str) -> Option<String> {
    let text = text.replace(['×', '·'], "*").replace('÷', "/").replace('−', "-");
    percentage(&text).or_else(|| expression(&text))
}

/// `12.5 % of 380`.
fn percentage(text: &str) -> Option<String> {
    let (before, after) = text.split_once('%')?;
    let before = before.trim_end();
    let start = before.rfind(|c: char| !is_of_number(c)).map_or(0, |at| at + last_len(before, at));
    let share = number(&before[start..])?;
    let whole = after.trim_start().strip_prefix("of ")?.trim_start();
    let end = whole.find(|c: char| !is_of_number(c)).unwrap_or(whole.len());
    let whole = number(whole[..end].trim_end_matches(['.', ',']))?;
    Some(format!("({share} / 100) * {whole}"))
}

fn last_len(text: &str, at: usize) -> usize {
    text[at..].chars().next().map_or(0, char::len_utf8)
}

fn is_of_number(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, '.' | ',')
}

/// A number without its thousands separators.
fn number(text: &str) -> Option<String> {
    let plain = text.replace(',', "");
    plain.parse::<f64>().is_ok().then_some(plain)
}

/// The first run of numbers and operators that calculates something.
fn expression(text: &str) -> Option<String> {
    let is_part = |c: char| is_of_number(c) || matches!(c, '+' | '-' | '*' | '/' | '^' | '(' | ')' | ' ');
    text.split(|c| !is_part(c))
        .map(|run| run.trim_matches([' ', '.', ',']))
        .find(|run| run.len() <= MAX_LENGTH && calculates(run))
        .map(|run| run.replace(',', ""))
}

/// Whether it has an operator between two operands, and is no date, telephone number or fraction in a text: a bare
/// `-` or `/` counts with spaces around it only.
fn calculates(run: &str) -> bool {
    let bytes = run.as_bytes();
    let between = |at: usize| {
        let before = run[..at].trim_end().ends_with(|c: char| c.is_ascii_digit() || c == ')');
        let after = run[at + 1..].trim_start().starts_with(|c: char| c.is_ascii_digit() || "(-.".contains(c));
        before && after
    };
    let spaced = |at: usize| at > 0 && bytes[at - 1] == b' ' && bytes.get(at + 1) == Some(&b' ');
    let balanced = run.matches('(').count() == run.matches(')').count();
    balanced
        && bytes.iter().enumerate().any(|(at, byte)| match byte {
            b'+' | b'*' | b'^' => between(at),
            b'-' | b'/' => spaced(at) && between(at),
            _ => false,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_found_in_sentences() {
        for (text, found) in [
            ("What is 6 × 7?", "6 * 7"),
            ("what is 12.5% of 1,380.", "(12.5 / 100) * 1380"),
            ("Compute (1,200 + 300) / 2^3, please.", "(1200 + 300) / 2^3"),
            ("12 - 5", "12 - 5"),
            ("3*-2", "3*-2"),
        ] {
            assert_eq!(find(text).as_deref(), Some(found), "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_one_is_left_alone() {
        for text in [
            "",
            "Meet on 2026-11-24.",
            "Call 555-1234.",
            "Add 1/2 cup.",
            "3 - no, 4",
            "100 % sure",
            "% of 3",
            "(1 + 2",
            "a + b",
            "é % of 380",
        ] {
            assert_eq!(find(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_odd(text in "\\PC{0,120}") {
            if let Some(found) = find(&text) {
                proptest::prop_assert!(found.chars().any(|c| "+-*/^".contains(c)));
            }
        }
    }
}
