//! Tools that agents call.

use async_trait::async_trait;
use powerhouse_domain::idempotency::CallKey;
use powerhouse_domain::tools::{ToolOutput, ToolSpec};

/// A tool. Dropping the future of a call stops it.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Tool: Send + Sync {
    /// How the tool is offered to a model.
    fn spec(&self) -> ToolSpec;

    /// Whether a call may be made again when nobody knows whether the first one took effect.
    fn is_safe_to_repeat(&self) -> bool;

    /// Calls it. `key` is that of the call, the same when it is made again: whoever changes something elsewhere sends it
    /// along. What the model can react to, bad arguments included, is an output with `is_error`.
    async fn call(&self, key: &CallKey, arguments: &serde_json::Value) -> ToolOutput;
}
