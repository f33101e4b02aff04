//! The tool that counts what a text is made of.

use async_trait::async_trait;
use powerhouse_domain::idempotency::CallKey;
use powerhouse_domain::tools::{ToolOutput, ToolSpec};
use powerhouse_ports::tools::Tool;
use serde::Deserialize;
use serde_json::{Value, json};
use unicode_segmentation::UnicodeSegmentation;

use crate::arguments;

/// Longest text, in bytes.
const MAX_TEXT: usize = 256 * 1024;

/// Words that an adult reads silently in a minute of English non-fiction (Brysbaert, 2019).
const WORDS_PER_MINUTE: usize = 238;

/// Counts of characters, words, sentences (UAX #29) and lines, and the time that reading takes.
pub struct TextStatistics;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    text: String,
}

#[async_trait]
impl Tool for TextStatistics {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "text_statistics".to_owned(),
            description: "Counts a text's Unicode scalar values, graphemes (the characters that a reader \
                          sees), words, sentences and lines, and estimates its reading time in seconds."
                .to_owned(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "text": {"type": "string", "description": "The text, at most 256 KiB of UTF-8."}
                },
                "required": ["text"],
                "additionalProperties": false
            }),
        }
    }

    fn is_safe_to_repeat(&self) -> bool {
        true
    }

    fn reaches_out(&self) -> bool {
        false
    }

    fn leaves_the_process(&self) -> bool {
        false
    }

    async fn call(&self, _: &CallKey, arguments: &Value) -> ToolOutput {
        let Arguments { text } = match arguments::read(arguments) {
            Ok(arguments) => arguments,
            Err(refusal) => return refusal,
        };
        if text.len() > MAX_TEXT {
            return ToolOutput::error(format!("The text is longer than {MAX_TEXT} bytes; send it in parts."));
        }
        arguments::on_blocking_pool(move || ToolOutput::ok(statistics(&text).to_string())).await
    }
}

fn statistics(text: &str) -> Value {
    let words = text.unicode_words().count();
    json!({
        "unicode_scalars": text.chars().count(),
        "graphemes": text.graphemes(true).count(),
        "words": words,
        "sentences": text.unicode_sentences().count(),
        "lines": text.lines().count(),
        "reading_time_seconds": (words * 60).div_ceil(WORDS_PER_MINUTE),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counts_follow_unicode() {
        let family = "e\u{301} \u{1F468}\u{200D}\u{1F469}\u{200D}\u{1F467}";
        assert_eq!(statistics(family)["unicode_scalars"], 8);
        assert_eq!(statistics(family)["graphemes"], 3);
        let text = "It can't be 3.5 metres. Is it?\r\nYes!\n";
        assert_eq!(statistics(text)["words"], 8);
        assert_eq!(statistics(text)["sentences"], 3);
        assert_eq!(statistics(text)["lines"], 2);
        assert_eq!(statistics(&"word ".repeat(238))["reading_time_seconds"], 60);
    }

    #[test]
    fn nothing_counts_as_nothing() {
        for count in statistics("").as_object().expect("an object").values() {
            assert_eq!(count, 0);
        }
    }

    #[tokio::test]
    async fn a_text_beyond_the_bound_is_refused() {
        assert!(
            TextStatistics
                .call(&crate::tests::key(), &json!({"text": "a".repeat(MAX_TEXT + 1)}))
                .await
                .is_error
        );
        assert!(
            !TextStatistics.call(&crate::tests::key(), &json!({"text": "a".repeat(MAX_TEXT)})).await.is_error
        );
    }

    proptest! {
        #[test]
        fn no_text_has_more_graphemes_than_scalars(text in any::<String>()) {
            let counts = statistics(&text);
            prop_assert!(counts["graphemes"].as_u64() <= counts["unicode_scalars"].as_u64());
        }
    }
}
