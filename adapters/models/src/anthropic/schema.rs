//! A JSON Schema as the API takes it: it refuses what its decoder cannot keep, which is checked here once the reply is there.

use serde_json::{Value, json};

/// What the API refuses, though it is good JSON Schema.
const REFUSED: [&str; 16] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "maxItems",
    "uniqueItems",
    "contains",
    "minContains",
    "maxContains",
    "minProperties",
    "maxProperties",
    "$schema",
];
/// What holds schemas by names that are no keywords.
const BY_NAME: [&str; 3] = ["properties", "$defs", "definitions"];
/// What holds values, in which nothing is a keyword.
const VALUES: [&str; 4] = ["const", "enum", "default", "examples"];

/// The same schema without what the API refuses, and with objects closed, as it demands.
pub(super) fn accepted(schema: &Value) -> Value {
    match schema {
        Value::Array(schemas) => schemas.iter().map(accepted).collect(),
        Value::Object(keywords) => {
            let kept = keywords.iter().filter(|(keyword, value)| !is_refused(keyword, value));
            let mut kept: serde_json::Map<_, _> = kept
                .map(|(keyword, value)| {
                    let value = match (keyword.as_str(), value) {
                        (keyword, Value::Object(schemas)) if BY_NAME.contains(&keyword) => {
                            schemas.iter().map(|(name, schema)| (name.clone(), accepted(schema))).collect()
                        }
                        (keyword, value) if VALUES.contains(&keyword) => value.clone(),
                        (_, value) => accepted(value),
                    };
                    (keyword.clone(), value)
                })
                .collect();
            if keywords.get("type").is_some_and(|kind| kind == "object") {
                kept.insert("additionalProperties".to_owned(), json!(false));
            }
            Value::Object(kept)
        }
        other => other.clone(),
    }
}

fn is_refused(keyword: &str, value: &Value) -> bool {
    // At least one, or none, is what it can keep of the length of a list.
    REFUSED.contains(&keyword) || (keyword == "minItems" && value.as_u64().is_none_or(|least| least > 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_refused_goes_and_objects_are_closed() {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "minimum": {"type": "integer", "minimum": 0, "maximum": 9, "description": "from 0 to 9"},
                "steps": {"type": "array", "items": {"type": "string", "maxLength": 3}, "minItems": 1, "maxItems": 4},
                "two": {"type": "array", "items": {"type": "object", "properties": {}}, "minItems": 2},
                "odd": {"enum": [{"pattern": "x"}]},
            },
            "required": ["minimum"],
        });
        let expected = json!({
            "type": "object",
            "properties": {
                "minimum": {"type": "integer", "description": "from 0 to 9"},
                "steps": {"type": "array", "items": {"type": "string"}, "minItems": 1},
                "two": {"type": "array", "items": {"type": "object", "properties": {}, "additionalProperties": false}},
                "odd": {"enum": [{"pattern": "x"}]},
            },
            "required": ["minimum"],
            "additionalProperties": false,
        });
        assert_eq!(accepted(&schema), expected);
        assert_eq!(accepted(&json!(true)), json!(true));
    }
}
