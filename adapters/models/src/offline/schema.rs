//! The smallest instance of a JSON Schema that holds a text.

use serde_json::{Map, Value, json};

/// Schemas nest no deeper than this; what is below is null.
const MAX_DEPTH: usize = 16;

/// An instance of a schema: strings are the text, choices their first, lists as short as they may be.
pub(super) fn instance(schema: &Value, text: &str) -> Value {
    at_depth(schema, text, 0)
}

fn at_depth(schema: &Value, text: &str, depth: usize) -> Value {
    if depth > MAX_DEPTH {
        return Value::Null;
    }
    if let Some(constant) = schema.get("const") {
        return constant.clone();
    }
    if let Some(first) = schema["enum"].as_array().and_then(|choices| choices.first()) {
        return first.clone();
    }
    match schema["type"].as_str() {
        Some("object") => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let members = required
                .map(|name| (name.to_owned(), at_depth(&schema["properties"][name], text, depth + 1)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        Some("array") => {
            let length = usize::try_from(schema["minItems"].as_u64().unwrap_or(0)).unwrap_or(0).min(64);
            Value::Array(vec![at_depth(&schema["items"], text, depth + 1); length])
        }
        Some("boolean") => json!(true),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(0)),
        Some("string") => {
            let longest = schema["maxLength"].as_u64().and_then(|length| usize::try_from(length).ok());
            json!(text.chars().take(longest.unwrap_or(usize::MAX)).collect::<String>())
        }
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn required_members_are_there_and_lists_are_short() {
        let schema = json!({
            "type": "object",
            "properties": {
                "accept": {"type": "boolean"},
                "issues": {"type": "array", "items": {"type": "string"}},
                "steps": {"type": "array", "items": {"type": "string", "maxLength": 2}, "minItems": 1},
                "score": {"type": "integer", "minimum": 3},
                "kind": {"const": "x"},
                "status": {"enum": ["done", "blocked"]},
                "extra": {"type": "string"},
            },
            "required": ["accept", "issues", "steps", "score", "kind", "status"],
        });
        let expected =
            json!({"accept": true, "issues": [], "steps": ["te"], "score": 3, "kind": "x", "status": "done"});
        assert_eq!(instance(&schema, "text"), expected);
    }

    #[test]
    fn a_schema_that_says_nothing_or_nests_without_end_is_null() {
        assert_eq!(instance(&json!(true), "text"), Value::Null);
        let mut deep = json!({"type": "string"});
        for _ in 0..40 {
            deep = json!({"type": "object", "properties": {"a": deep}, "required": ["a"]});
        }
        assert!(instance(&deep, "text").to_string().contains("null"));
    }
}
