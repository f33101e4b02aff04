//! What the tools share: strict arguments, and a place for work that takes a processor's time.

use powerhouse_domain::tools::ToolOutput;
use serde::Deserialize;
use serde_json::Value;

/// Longest part of a parser's complaint that is repeated, in characters.
const MAX_COMPLAINT: usize = 300;

/// Reads a call's arguments; what does not fit is an output that says so.
pub(crate) fn read<'a, T: Deserialize<'a>>(arguments: &'a Value) -> Result<T, ToolOutput> {
    if !arguments.is_object() {
        return Err(ToolOutput::error("The arguments must be a JSON object."));
    }
    T::deserialize(arguments)
        .map_err(|e| ToolOutput::error(format!("The arguments do not fit the schema: {}.", complaint(&e))))
}

/// An error's text, shortened where it repeats what it complains about.
pub(crate) fn complaint(error: &impl ToString) -> String {
    error.to_string().chars().take(MAX_COMPLAINT).collect()
}

/// Runs bounded work on the blocking pool, so that it holds up no other task; a panic in it stays there.
pub(crate) async fn on_blocking_pool(work: impl FnOnce() -> ToolOutput + Send + 'static) -> ToolOutput {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| ToolOutput::error("The tool failed on these arguments; try different ones."))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Arguments {
        #[expect(dead_code, reason = "only its type matters")]
        count: u8,
    }

    #[test]
    fn a_long_wrong_value_is_not_repeated_in_full() {
        let output = read::<Arguments>(&json!({"count": "x".repeat(10_000)})).expect_err("a refusal");
        assert!(output.is_error);
        assert!(output.content.len() < 400);
    }

    #[tokio::test]
    async fn a_panic_becomes_an_error_output() {
        let output = on_blocking_pool(|| panic!("a fault")).await;
        assert!(output.is_error);
    }
}
