//! What is wrong with a reply by the JSON Schema that it was asked to satisfy.

use jsonschema::{Draft, PatternOptions, Validator};
use powerhouse_domain::model::{ModelReply, ModelRequest, StopReason};
use serde_json::Value;

/// The most mistakes that a model is told at once.
const MAX_MISTAKES: usize = 5;
/// The longest that one of them may be, in characters: it may quote the reply.
const MAX_MISTAKE: usize = 200;
/// The memory that a schema's regular expressions may take, in bytes.
const MAX_PATTERN: usize = 1024 * 1024;

/// The reply, which says what is wrong with it. One that was cut off, or that calls tools, is not looked at.
pub(crate) fn checked(reply: ModelReply, request: &ModelRequest) -> ModelReply {
    match &request.response_schema {
        Some(wanted) if reply.stop == StopReason::EndTurn && reply.tool_calls.is_empty() => {
            ModelReply { flaw: flaw(&wanted.schema, &reply.text), ..reply }
        }
        _ => reply,
    }
}

fn flaw(schema: &Value, text: &str) -> Option<String> {
    let validator = match validator(schema) {
        Ok(validator) => validator,
        Err(error) => {
            // It is a mistake of whoever wrote the schema: no reply could mend it.
            tracing::warn!(%error, "a reply is not checked, since its schema cannot be used");
            return None;
        }
    };
    let instance = match read(text) {
        Ok(instance) => instance,
        Err(error) => return Some(format!("it is no JSON ({error})")),
    };
    let mut mistakes = validator.iter_errors(&instance).map(|error| {
        let path = error.instance_path().to_string();
        let place = if path.is_empty() { "at the top" } else { &path };
        let said = format!("{place}: {error}");
        match said.char_indices().nth(MAX_MISTAKE) {
            Some((cut, _)) => format!("{}…", &said[..cut]),
            None => said,
        }
    });
    let told: Vec<_> = mistakes.by_ref().take(MAX_MISTAKES).collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// Its regular expressions take linear time, and nothing is fetched.
fn validator(schema: &Value) -> Result<Validator, jsonschema::ValidationError<'static>> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_pattern_options(PatternOptions::regex().size_limit(MAX_PATTERN))
        .build(schema)
}

/// The JSON of a text, also of one that has prose or a code fence around it.
fn read(text: &str) -> serde_json::Result<Value> {
    serde_json::from_str(text).or_else(|error| {
        let inner = [('{', '}'), ('[', ']')].into_iter().find_map(|(open, close)| {
            let span = text.get(text.find(open)?..=text.rfind(close)?)?;
            serde_json::from_str(span).ok()
        });
        inner.ok_or(error)
    })
}

#[cfg(test)]
mod tests {
    use powerhouse_domain::model::Usage;
    use serde_json::json;

    use super::*;

    fn plan() -> Value {
        json!({
            "type": "object",
            "properties": {"steps": {"type": "array", "items": {"type": "string", "pattern": "^[a-z]+$"}, "maxItems": 2}},
            "required": ["steps"],
            "additionalProperties": false,
        })
    }

    #[test]
    fn what_satisfies_the_schema_has_no_flaw_whatever_is_around_it() {
        for text in [
            r#"{"steps": ["a", "b"]}"#,
            "```json\n{\"steps\": []}\n```",
            r#"Here you are: {"steps": ["a"]}. Good luck!"#,
        ] {
            assert_eq!(flaw(&plan(), text), None, "{text}");
        }
        assert_eq!(flaw(&json!({"type": "array"}), "So: [1, 2]"), None);
    }

    #[test]
    fn a_flaw_says_where_it_is_within_bounds() {
        let said = |text: &str| flaw(&plan(), text).unwrap();
        assert!(said("I cannot.").starts_with("it is no JSON ("));
        assert!(said("{}").starts_with("at the top: ") && said("{}").contains("steps"));
        assert!(said(r#"{"steps": ["a", "B1"]}"#).starts_with("/steps/1: "));
        let long = json!({"steps": vec!["X".repeat(1_000); 50]}).to_string();
        let said = said(&long);
        assert!(said.len() < (MAX_MISTAKE + 8) * MAX_MISTAKES && said.contains('…'), "{said}");
    }

    #[test]
    fn a_schema_that_cannot_be_used_finds_nothing_and_fetches_nothing() {
        let refers = json!({"$ref": "http://127.0.0.1:1/schema.json"});
        // Backtracking would be needed, or the memory of a large machine.
        for pattern in ["(?=a)a", "(((a{200}){200}){200}){200}"] {
            assert_eq!(flaw(&json!({"type": "string", "pattern": pattern}), "{}"), None, "{pattern}");
        }
        for schema in [refers, json!({"type": 5})] {
            assert_eq!(flaw(&schema, "{}"), None, "{schema}");
        }
    }

    #[test]
    fn only_whole_answers_are_looked_at() {
        let request = ModelRequest::thought("plan", Vec::new()).with_schema("plan", plan());
        let reply = ModelReply::text("no", Usage::default(), "m");
        assert!(checked(reply.clone(), &request).flaw.is_some());
        for stop in [StopReason::MaxTokens, StopReason::ContentFilter, StopReason::ToolCalls] {
            assert_eq!(checked(ModelReply { stop, ..reply.clone() }, &request).flaw, None);
        }
        assert_eq!(checked(reply, &ModelRequest::thought("plan", Vec::new())).flaw, None);
    }
}
