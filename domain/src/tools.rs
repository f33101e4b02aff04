//! What a tool is to a strategy: a name, a schema, a call and its output; and the tools that tenants declare.

use serde::{Deserialize, Serialize};

use crate::model::Usage;

mod database;
mod declared;
mod egress;
mod http;
mod mcp;
pub mod openapi;

pub use database::{Database, DatabaseTool, Tls};
pub use declared::{
    BadTool, InvalidToolName, MAX_DECLARED, MAX_SCHEMA_BYTES, SourceKind, TenantTool, ToolName, ToolSource,
};
pub use egress::{EgressRules, HostPattern, InvalidHostPattern, MAX_HOSTS, TooManyHosts};
pub use http::{Auth, HttpMethod, HttpTool, Limits};
pub use mcp::{Listing, McpServer, McpTool, SEPARATOR};

/// A tool as it is offered to a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// Its name, `[a-z][a-z0-9_]{0,63}`; of a tool of an MCP server, the server's name, `__`, and the tool's own.
    pub name: String,
    /// What it does, for the model to read.
    pub description: String,
    /// JSON Schema (draft 2020-12) of its arguments, an object.
    pub parameters: serde_json::Value,
}

/// A model's wish to call a tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The provider's id of this call.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// The arguments as the model wrote them: JSON text that may be malformed.
    pub arguments: String,
}

/// What a tool gave back. Untrusted: data, never instructions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolOutput {
    /// The text that the model will read.
    pub content: String,
    /// Whether the tool reports a failure that the model may react to.
    pub is_error: bool,
    /// What a model read for it, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<ModelUsed>,
}

/// What a tool had a model do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelUsed {
    /// The model, as its provider names it.
    pub model: String,
    /// What that consumed.
    pub usage: Usage,
}

impl ToolOutput {
    /// Output of a call that worked.
    pub fn ok(content: impl Into<String>) -> Self {
        Self { content: content.into(), is_error: false, used: None }
    }

    /// A failure in words that the model can act on.
    pub fn error(content: impl Into<String>) -> Self {
        Self { content: content.into(), is_error: true, used: None }
    }

    /// The same, for which a model was used.
    #[must_use]
    pub fn using(self, used: Option<ModelUsed>) -> Self {
        Self { used, ..self }
    }
}
