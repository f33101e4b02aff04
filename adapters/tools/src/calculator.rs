//! The tool that calculates.

mod decimal;
mod expression;

use async_trait::async_trait;
use powerhouse_domain::idempotency::CallKey;
use powerhouse_domain::tools::{ToolOutput, ToolSpec};
use powerhouse_ports::tools::Tool;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::arguments;

/// Arithmetic on exact fractions, shown as decimals.
///
/// Nothing is rounded on the way. A result without a finite decimal form is shown to 34 significant digits,
/// as many as IEEE 754's decimal128 has, and says so.
pub struct Calculator;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    expression: String,
}

#[async_trait]
impl Tool for Calculator {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "calculator".to_owned(),
            description: "Exact arithmetic on decimal numbers: + - * / % (the remainder has the sign of the \
                          dividend), ^ (an integer exponent) and parentheses."
                .to_owned(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "expression": {
                        "type": "string",
                        "maxLength": expression::MAX_LENGTH,
                        "description": "For example (19.99 * 3 - 5) / 2^8."
                    }
                },
                "required": ["expression"],
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
        let Arguments { expression } = match arguments::read(arguments) {
            Ok(arguments) => arguments,
            Err(refusal) => return refusal,
        };
        arguments::on_blocking_pool(move || match expression::evaluate(&expression) {
            Ok(value) => ToolOutput::ok(decimal::show(&value)),
            Err(e) => ToolOutput::error(format!("The expression cannot be calculated: {e}.")),
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn results_are_text_and_mistakes_are_sentences() {
        let call = async |expression: &str| {
            Calculator.call(&crate::tests::key(), &json!({"expression": expression})).await
        };
        assert_eq!(call("0.1 + 0.2").await, ToolOutput::ok("0.3"));
        assert_eq!(
            call("1 / (2 - 2)").await,
            ToolOutput::error("The expression cannot be calculated: there is a division by zero.")
        );
        assert!(Calculator.call(&crate::tests::key(), &json!({"expression": 1})).await.is_error);
    }
}
