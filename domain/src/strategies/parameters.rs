//! What the parameters of a kind may be: a table that is checked against, and that is shown as JSON Schema.

use std::ops::RangeInclusive;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// The longest entry of a list, in characters.
const MAX_ENTRY: usize = 500;

/// A parameter of a kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameter {
    name: &'static str,
    about: &'static str,
    form: Form,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Integer {
        min: u32,
        max: u32,
        default: u32,
    },
    Number {
        min: f64,
        max: f64,
        default: f64,
    },
    Boolean {
        default: bool,
    },
    /// The first is the default.
    Choice(&'static [&'static str]),
    Text {
        default: &'static str,
    },
    List {
        max: usize,
        default: &'static [&'static str],
    },
}

impl Parameter {
    /// An integer within bounds, both inclusive.
    pub(super) const fn integer(
        name: &'static str,
        bounds: RangeInclusive<u32>,
        default: u32,
        about: &'static str,
    ) -> Self {
        Self { name, about, form: Form::Integer { min: *bounds.start(), max: *bounds.end(), default } }
    }

    /// A number within bounds, both inclusive.
    pub(super) const fn number(
        name: &'static str,
        bounds: RangeInclusive<f64>,
        default: f64,
        about: &'static str,
    ) -> Self {
        Self { name, about, form: Form::Number { min: *bounds.start(), max: *bounds.end(), default } }
    }

    /// True or false.
    pub(super) const fn boolean(name: &'static str, default: bool, about: &'static str) -> Self {
        Self { name, about, form: Form::Boolean { default } }
    }

    /// One of several words; the first is the default.
    pub(super) const fn choice(name: &'static str, of: &'static [&'static str], about: &'static str) -> Self {
        Self { name, about, form: Form::Choice(of) }
    }

    /// A text of at least one character.
    pub(super) const fn text(name: &'static str, default: &'static str, about: &'static str) -> Self {
        Self { name, about, form: Form::Text { default } }
    }

    /// A list of so many texts at most, none of them empty.
    pub(super) const fn list(
        name: &'static str,
        max: usize,
        default: &'static [&'static str],
        about: &'static str,
    ) -> Self {
        Self { name, about, form: Form::List { max, default } }
    }

    fn default(&self) -> Value {
        match self.form {
            Form::Integer { default, .. } => json!(default),
            Form::Number { default, .. } => json!(default),
            Form::Boolean { default } => json!(default),
            Form::Choice(of) => json!(of[0]),
            Form::Text { default } => json!(default),
            Form::List { default, .. } => json!(default),
        }
    }

    fn schema(&self) -> Value {
        let mut schema = match self.form {
            Form::Integer { min, max, .. } => json!({"type": "integer", "minimum": min, "maximum": max}),
            Form::Number { min, max, .. } => json!({"type": "number", "minimum": min, "maximum": max}),
            Form::Boolean { .. } => json!({"type": "boolean"}),
            Form::Choice(of) => json!({"type": "string", "enum": of}),
            Form::Text { .. } => json!({"type": "string", "minLength": 1, "maxLength": MAX_ENTRY}),
            Form::List { max, .. } => {
                let entry = json!({"type": "string", "minLength": 1, "maxLength": MAX_ENTRY});
                json!({"type": "array", "items": entry, "maxItems": max})
            }
        };
        schema["description"] = json!(self.about);
        schema["default"] = self.default();
        schema
    }

    /// The value as it is kept, or what it must be.
    fn check(&self, value: &Value) -> Result<Value, ParameterError> {
        let is_text = |value: &Value| {
            value
                .as_str()
                .is_some_and(|text| !text.trim().is_empty() && text.chars().nth(MAX_ENTRY).is_none())
        };
        let expected = match self.form {
            Form::Integer { min, max, .. } => {
                if value.as_u64().is_some_and(|value| (u64::from(min)..=max.into()).contains(&value)) {
                    return Ok(value.clone());
                }
                format!("an integer from {min} to {max}")
            }
            Form::Number { min, max, .. } => {
                if let Some(value) = value.as_f64().filter(|value| (min..=max).contains(value)) {
                    return Ok(json!(value));
                }
                format!("a number from {min} to {max}")
            }
            Form::Boolean { .. } if value.is_boolean() => return Ok(value.clone()),
            Form::Boolean { .. } => "true or false".to_owned(),
            Form::Choice(of) if value.as_str().is_some_and(|word| of.contains(&word)) => {
                return Ok(value.clone());
            }
            Form::Choice(of) => format!("one of `{}`", of.join("`, `")),
            Form::Text { .. } if is_text(value) => return Ok(value.clone()),
            Form::Text { .. } => format!("a text of 1 to {MAX_ENTRY} characters"),
            Form::List { max, .. } => match value.as_array().filter(|list| list.len() <= max) {
                Some(list) => match list.iter().position(|entry| !is_text(entry)) {
                    None => return Ok(value.clone()),
                    Some(at) => {
                        let pointer = format!("{}/{at}", pointer(self.name));
                        let expected = format!("a text of 1 to {MAX_ENTRY} characters");
                        return Err(ParameterError::Refused { pointer, expected });
                    }
                },
                None => format!("a list of at most {max} texts"),
            },
        };
        Err(ParameterError::refused(self.name, expected))
    }
}

/// Why parameters were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// The kind has no such parameter.
    #[error("`{pointer}` is not a parameter of this kind")]
    Unknown {
        /// JSON Pointer (RFC 6901) to the field.
        pointer: String,
    },
    /// A value is not what it may be.
    #[error("`{pointer}` must be {expected}")]
    Refused {
        /// JSON Pointer (RFC 6901) to the value.
        pointer: String,
        /// What is allowed.
        expected: String,
    },
}

impl ParameterError {
    /// A parameter is not what it must be.
    pub(super) fn refused(name: &str, expected: impl Into<String>) -> Self {
        let pointer = if name.is_empty() { String::new() } else { pointer(name) };
        Self::Refused { pointer, expected: expected.into() }
    }

    /// JSON Pointer (RFC 6901) to the offending value.
    pub fn pointer(&self) -> String {
        match self {
            Self::Unknown { pointer } | Self::Refused { pointer, .. } => pointer.clone(),
        }
    }
}

fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Reads parameters; what is left out has its default.
pub(super) fn read<T: DeserializeOwned>(
    parameters: &[Parameter],
    given: &Value,
) -> Result<T, ParameterError> {
    let given = given.as_object().ok_or_else(|| ParameterError::refused("", "an object"))?;
    if let Some(name) = given.keys().find(|name| !parameters.iter().any(|known| known.name == *name)) {
        return Err(ParameterError::Unknown { pointer: pointer(name) });
    }
    let mut whole = Map::new();
    for parameter in parameters {
        let value = match given.get(parameter.name) {
            Some(value) => parameter.check(value)?,
            None => parameter.default(),
        };
        whole.insert(parameter.name.to_owned(), value);
    }
    // INVARIANT: the table has every field of `T`, in its form; a test reads the defaults of every kind.
    serde_json::from_value(Value::Object(whole))
        .map_err(|error| ParameterError::refused("", error.to_string()))
}

/// JSON Schema (draft 2020-12) of the parameters.
pub(super) fn schema(parameters: &[Parameter]) -> Value {
    let properties: Map<_, _> =
        parameters.iter().map(|parameter| (parameter.name.to_owned(), parameter.schema())).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    const TABLE: &[Parameter] = &[
        Parameter::integer("turns", 1..=8, 3, ""),
        Parameter::number("heat", 0.0..=2.0, 0.7, ""),
        Parameter::boolean("careful", false, ""),
        Parameter::choice("mode", &["fast", "slow"], ""),
        Parameter::text("tool", "look", ""),
        Parameter::list("models", 2, &[], ""),
    ];

    #[derive(Debug, PartialEq, Deserialize)]
    struct Sample {
        turns: u32,
        heat: f64,
        careful: bool,
        mode: String,
        tool: String,
        models: Vec<String>,
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let given = json!({"heat": 1, "models": ["a"]});
        let sample: Sample = read(TABLE, &given).unwrap();
        assert_eq!(
            sample,
            Sample {
                turns: 3,
                heat: 1.0,
                careful: false,
                mode: "fast".into(),
                tool: "look".into(),
                models: vec!["a".into()],
            }
        );
    }

    #[test]
    fn what_is_not_allowed_is_refused_with_a_pointer_and_what_is() {
        let error = |given: Value| read::<Sample>(TABLE, &given).unwrap_err();
        for (given, pointer, says) in [
            (json!([]), "", "an object"),
            (json!({"a/b": 1}), "/a~1b", "not a parameter"),
            (json!({"turns": 0}), "/turns", "from 1 to 8"),
            (json!({"turns": 9}), "/turns", "from 1 to 8"),
            (json!({"turns": 1.5}), "/turns", "an integer"),
            (json!({"turns": "8"}), "/turns", "an integer"),
            (json!({"heat": 2.1}), "/heat", "from 0 to 2"),
            (json!({"heat": null}), "/heat", "a number"),
            (json!({"careful": "yes"}), "/careful", "true or false"),
            (json!({"mode": "medium"}), "/mode", "`fast`, `slow`"),
            (json!({"tool": " "}), "/tool", "1 to 500"),
            (json!({"models": "a"}), "/models", "at most 2"),
            (json!({"models": ["a", "b", "c"]}), "/models", "at most 2"),
            (json!({"models": ["a", 1]}), "/models/1", "1 to 500"),
            (json!({"models": ["a".repeat(501)]}), "/models/0", "1 to 500"),
        ] {
            let error = error(given.clone());
            assert_eq!(error.pointer(), pointer, "{given}");
            assert!(error.to_string().contains(says), "{given}: {error}");
        }
    }

    #[test]
    fn the_schema_says_the_same() {
        let schema = schema(TABLE);
        let turns = json!({"type": "integer", "minimum": 1, "maximum": 8, "default": 3, "description": ""});
        assert_eq!(schema["properties"]["turns"], turns);
        assert_eq!(schema["properties"]["mode"]["enum"], json!(["fast", "slow"]));
        assert_eq!(schema["properties"]["models"]["maxItems"], 2);
        assert_eq!(schema["additionalProperties"], false);
    }
}
