//! Arguments against their JSON Schema. Nothing is fetched for it, and no pattern takes more than linear time.

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

use crate::arguments::complaint;

/// The most mistakes that a model is told of at once.
const MAX_TOLD: usize = 5;

/// A schema that can be checked against.
pub(super) fn compiled(schema: &Value) -> Result<Validator, String> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_pattern_options(PatternOptions::regex())
        .offline()
        .build(schema)
        .map_err(|error| format!("it is no JSON Schema that can be used: {}", complaint(&error)))
}

/// What does not fit, in a sentence that a model can act on.
pub(super) fn check(schema: &Value, arguments: &Value) -> Result<(), String> {
    let validator = compiled(schema)?;
    let mistakes: Vec<String> = validator
        .iter_errors(arguments)
        .take(MAX_TOLD)
        .map(|error| {
            let at = match error.instance_path().as_str() {
                "" => String::new(),
                path => format!("{path}: "),
            };
            format!("{at}{}", complaint(&error))
        })
        .collect();
    if mistakes.is_empty() {
        return Ok(());
    }
    Err(format!("The arguments do not fit the schema: {}.", mistakes.join("; ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn mistakes_say_where_and_what() {
        let schema = json!({"type": "object", "required": ["id"], "additionalProperties": false, "properties": {
            "id": {"type": "string", "pattern": "^[a-z]+$"}, "limit": {"type": "integer", "maximum": 100}}});
        assert_eq!(check(&schema, &json!({"id": "abc", "limit": 5})), Ok(()));
        let told = check(&schema, &json!({"id": "1", "limit": 500, "more": true})).unwrap_err();
        for part in ["/id: ", "/limit: 500 is greater", "more", "do not fit"] {
            assert!(told.contains(part), "{told}");
        }
        assert!(check(&schema, &json!({})).unwrap_err().contains("\"id\" is a required property"));
    }

    #[test]
    fn what_needs_more_than_the_schema_is_refused() {
        for wrong in [
            json!({"type": "objekt"}),
            json!({"$ref": "https://example.org/schema.json"}),
            json!({"$ref": "file:///etc/passwd"}),
            // It would need to go back.
            json!({"properties": {"a": {"pattern": "(?=x)y"}}}),
        ] {
            assert!(compiled(&wrong).is_err(), "{wrong}");
        }
        let evil = json!({"properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}});
        let begun = std::time::Instant::now();
        assert!(check(&evil, &json!({"a": format!("{}!", "a".repeat(50_000))})).is_err());
        assert!(begun.elapsed().as_secs() < 5);
    }
}
