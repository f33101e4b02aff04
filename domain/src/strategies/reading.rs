//! Reading what a model said: JSON with prose around it, marked answers, votes.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads the first JSON object in a reply that is a `T`, whatever prose or code fence the model put around it.
pub(super) fn read_object<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let (mut rest, mut reason) = (text, None);
    while let Some(start) = rest.find('{') {
        let mut values = serde_json::Deserializer::from_str(&rest[start..]).into_iter::<Value>();
        let after = match values.next() {
            Some(Ok(value)) => match serde_json::from_value(value) {
                Ok(read) => return Ok(read),
                Err(error) => {
                    reason.get_or_insert(error.to_string());
                    start + values.byte_offset()
                }
            },
            Some(Err(error)) => {
                reason.get_or_insert(error.to_string());
                start + 1
            }
            None => break,
        };
        rest = &rest[after..];
    }
    Err(reason.unwrap_or_else(|| "it has no JSON object".into()))
}

/// What marks an answer that follows reasoning.
pub(super) const MARKER: &str = "Answer:";
/// How a model is asked to mark it.
pub(super) const MARK_IT: &str = "End with a line that starts with `Answer:` and holds only the answer.";

/// What follows the last marker that starts a line.
pub(super) fn marked_answer(text: &str) -> Option<String> {
    let lines: Vec<_> = text.lines().collect();
    let last = lines.iter().rposition(|line| line.trim_start().starts_with(MARKER))?;
    let first_line = lines[last].trim_start().trim_start_matches(MARKER);
    let answer = [&[first_line], &lines[last + 1..]].concat().join("\n");
    Some(answer.trim().to_owned()).filter(|answer| !answer.is_empty())
}

/// The answer that most have given, as it was first given; of several, the one that was given first. Case, white space and
/// a full stop at the end make no difference.
pub(super) fn majority(answers: &[String]) -> Option<&String> {
    let plain: Vec<String> = answers.iter().map(|answer| plain(answer)).collect();
    let votes = |of: &String| plain.iter().filter(|other| *other == of).count();
    let mut best: Option<(usize, &String)> = None;
    for (of, answer) in plain.iter().zip(answers) {
        let votes = votes(of);
        if best.is_none_or(|(most, _)| votes > most) {
            best = Some((votes, answer));
        }
    }
    best.map(|(_, answer)| answer)
}

/// A text by which two answers are told to be the same.
pub(super) fn plain(text: &str) -> String {
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    words.join(" ").trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Verdict {
        accept: bool,
    }

    #[test]
    fn an_object_is_found_in_fences_and_prose() {
        for text in [
            r#"{"accept": true}"#,
            "Sure!\n```json\n{\"accept\": true}\n```\nAnything else?",
            r#"In the form {…} it is {"accept": true}, not {"accept": false}."#,
            r#"{"note": 1} and then {"accept": true, "more": {"deep": "}"}}"#,
        ] {
            assert_eq!(read_object(text), Ok(Verdict { accept: true }), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_of_the_first_object() {
        let reason = |text| read_object::<Verdict>(text).unwrap_err();
        assert_eq!(reason("yes"), "it has no JSON object");
        assert!(reason(r#"{"accept": "yes"} {"#).contains("invalid type"));
        assert!(reason(r#"{"accept": true"#).contains("EOF"));
        assert!(!reason(&"{".repeat(10_000)).is_empty());
    }

    #[test]
    fn the_last_marker_counts_and_an_empty_answer_is_none() {
        assert_eq!(marked_answer("Answer: 41\nNo.\n  Answer: 42\n"), Some("42".into()));
        assert_eq!(marked_answer("Answer:\n\nforty\ntwo"), Some("forty\ntwo".into()));
        assert_eq!((marked_answer("The Answer: 42"), marked_answer("Answer: ")), (None, None));
    }

    #[test]
    fn the_majority_wins_and_a_tie_goes_to_who_was_first() {
        let winner = |answers: &[&str]| {
            let answers: Vec<String> = answers.iter().map(ToString::to_string).collect();
            majority(&answers).cloned()
        };
        assert_eq!(winner(&["41", "42", "42."]), Some("42".into()));
        assert_eq!(winner(&["b", "a", "A ", "B"]), Some("b".into()));
        assert_eq!(winner(&["Forty  Two", "forty two", "43"]), Some("Forty  Two".into()));
        assert_eq!(winner(&[]), None);
    }
}
