//! The tool that takes parts out of a JSON document by `JSONPath`.

mod work;

use async_trait::async_trait;
use powerhouse_domain::idempotency::CallKey;
use powerhouse_domain::tools::{ToolOutput, ToolSpec};
use powerhouse_ports::tools::Tool;
use serde::Deserialize;
use serde_json::{Value, json};
use serde_json_path::JsonPath;

use crate::arguments;

/// Longest path, in bytes.
const MAX_PATH: usize = 500;
/// Longest document given as text, in bytes.
const MAX_TEXT: usize = 256 * 1024;
/// Longest list of results, in bytes.
const MAX_OUTPUT: usize = 32 * 1024;

/// Queries by `JSONPath` (RFC 9535), without its functions `match` and `search`.
///
/// The work is bounded before it starts: a path that could take too many steps on the document is refused.
pub struct JsonQuery;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    json: Value,
    path: String,
}

#[async_trait]
impl Tool for JsonQuery {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "json_query".to_owned(),
            description: "Selects parts of a JSON document by a JSONPath (RFC 9535; the functions match and \
                          search are not available) and returns them as a JSON array."
                .to_owned(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "json": {"description": "Any JSON value, or a string that holds JSON text."},
                    "path": {
                        "type": "string",
                        "maxLength": MAX_PATH,
                        "description": "For example $.books[?@.price < 10].title"
                    }
                },
                "required": ["json", "path"],
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
        let arguments = match arguments::read(arguments) {
            Ok(arguments) => arguments,
            Err(refusal) => return refusal,
        };
        arguments::on_blocking_pool(move || query(arguments).unwrap_or_else(ToolOutput::error)).await
    }
}

fn query(Arguments { json, path }: Arguments) -> Result<ToolOutput, String> {
    if path.len() > MAX_PATH {
        return Err(format!("The path is longer than {MAX_PATH} bytes."));
    }
    let document = match json {
        Value::String(text) => parse(&text)?,
        value => value,
    };
    work::check(&path, &document).map_err(|e| format!("The query was not run: {e}."))?;
    let parsed = JsonPath::parse(&path)
        .map_err(|e| format!("The path is not valid JSONPath: {}.", arguments::complaint(&e)))?;
    list(&parsed.query(&document).all())
}

fn parse(text: &str) -> Result<Value, String> {
    if text.len() > MAX_TEXT {
        return Err(format!("The JSON text is longer than {MAX_TEXT} bytes."));
    }
    serde_json::from_str(text)
        .map_err(|e| format!("The string `json` does not hold valid JSON: {}.", arguments::complaint(&e)))
}

/// A JSON array of the nodes, or of as many of the first ones as fit.
fn list(nodes: &[&Value]) -> Result<ToolOutput, String> {
    let mut output = String::from("[");
    for (shown, node) in nodes.iter().enumerate() {
        let text = node.to_string();
        if output.len() + text.len() >= MAX_OUTPUT {
            if shown == 0 {
                return Err(format!("The first result is longer than {MAX_OUTPUT} bytes; narrow the path."));
            }
            let total = nodes.len();
            return Ok(ToolOutput::ok(format!(
                "{output}]\nOnly the first {shown} of {total} results fit; narrow the path for the others."
            )));
        }
        if shown > 0 {
            output.push(',');
        }
        output.push_str(&text);
    }
    output.push(']');
    Ok(ToolOutput::ok(output))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(json: Value, path: &str) -> ToolOutput {
        query(Arguments { json, path: path.to_owned() }).unwrap_or_else(ToolOutput::error)
    }

    fn shop() -> Value {
        json!({"books": [{"title": "A", "price": 8}, {"title": "B", "price": 12}], "limit": 10})
    }

    #[test]
    fn paths_select_from_values_and_from_text() {
        for (path, expected) in [
            ("$.books[0].title", r#"["A"]"#),
            ("$..title", r#"["A","B"]"#),
            ("$.books[?@.price < $.limit].title", r#"["A"]"#),
            ("$.books[?length(@.title) == 1 && @.price > 9].price", "[12]"),
            ("$.books[-1:]['title','price']", r#"["B",12]"#),
            ("$.nothing", "[]"),
            ("$", &format!("[{}]", shop())),
        ] {
            assert_eq!(run(shop(), path), ToolOutput::ok(expected), "{path}");
            assert_eq!(run(shop().to_string().into(), path), ToolOutput::ok(expected), "{path}");
        }
    }

    #[test]
    fn mistakes_are_sentences() {
        let long_path = format!("$.{}", "a".repeat(MAX_PATH));
        for (json, path) in [
            (json!("{"), "$"),
            (json!({}), ""),
            (json!({}), "books"),
            (json!({}), "$.books["),
            (json!([]), "$[?search(@, 'a')]"),
            (json!({}), long_path.as_str()),
            ("[".repeat(10_000).into(), "$"),
            (" ".repeat(MAX_TEXT + 1).into(), "$"),
        ] {
            let output = run(json, path);
            assert!(output.is_error && output.content.ends_with('.'), "{path}: {}", output.content);
        }
    }

    #[test]
    fn output_is_cut_between_results_and_says_so() {
        let output = run(json!(vec!["x".repeat(1000); 100]), "$[*]");
        assert!(!output.is_error);
        let (array, note) = output.content.split_once('\n').expect("a note");
        assert!(array.len() <= MAX_OUTPUT);
        let shown = serde_json::from_str::<Vec<String>>(array).expect("whole results").len();
        assert_eq!(
            note,
            format!("Only the first {shown} of 100 results fit; narrow the path for the others.")
        );
        assert!(run(json!("x".repeat(MAX_OUTPUT)).to_string().into(), "$").is_error);
    }

    proptest! {
        #[test]
        fn any_path_is_answered(path in any::<String>()) {
            let _ = run(shop(), &path);
        }

        #[test]
        fn any_mix_of_its_own_characters_is_answered(path in r"\$[.*?@$\[\]()'a-c0-9:,<=&|! -]{0,40}") {
            let _ = run(shop(), &path);
        }
    }
}
