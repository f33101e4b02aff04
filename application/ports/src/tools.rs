//! Tools that agents call, and what makes tools of what tenants have declared.

use std::sync::Arc;

use async_trait::async_trait;
use powerhouse_domain::access::TenantScope;
use powerhouse_domain::idempotency::CallKey;
use powerhouse_domain::ids::{AgentId, RunId, UserId};
use powerhouse_domain::runs::Run;
use powerhouse_domain::tools::{
    BadTool, Database, DatabaseTool, EgressRules, HttpTool, McpServer, McpTool, ModelUsed, ToolName,
    ToolOutput, ToolSpec,
};

/// A tool. Dropping the future of a call stops it.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Tool: Send + Sync {
    /// How the tool is offered to a model.
    fn spec(&self) -> ToolSpec;

    /// Whether a call may be made again when nobody knows whether the first one took effect.
    fn is_safe_to_repeat(&self) -> bool;

    /// Whether what it gives back may be from outside the platform: then it is not to be trusted. Else it follows from the
    /// arguments and the clock alone.
    fn reaches_out(&self) -> bool {
        true
    }

    /// Whether a call does anything that others could notice, or takes its time. One that does neither is made before its
    /// intent is in the journal.
    fn leaves_the_process(&self) -> bool {
        true
    }

    /// The most that a call has a model consume; nothing where none has a part in it. So much is set aside before the call,
    /// which says in its output what it has used.
    fn worst_case(&self, arguments: &serde_json::Value) -> Option<ModelUsed> {
        let _ = arguments;
        None
    }

    /// Calls it. `key` is that of the call, the same when it is made again: whoever changes something elsewhere sends it
    /// along. What the model can react to, bad arguments included, is an output with `is_error`.
    async fn call(&self, key: &CallKey, arguments: &serde_json::Value) -> ToolOutput;
}

/// For whom a tool works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunContext {
    /// The tenant.
    pub scope: TenantScope,
    /// The run that calls it.
    pub run: RunId,
    /// Whose run that is.
    pub agent: AgentId,
    /// Who asked for the run.
    pub user: UserId,
}

impl RunContext {
    /// That of a run.
    pub fn of(scope: TenantScope, run: &Run) -> Self {
        Self { scope, run: run.id(), agent: run.selection().agent, user: run.requested_by() }
    }
}

/// A tool of the platform that works on what is a tenant's. It is made for each run, and knows no other tenant.
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait ToolFactory: Send + Sync {
    /// How the tool is offered to a model.
    fn spec(&self) -> ToolSpec;

    /// The tool for one run.
    fn for_run(&self, context: RunContext) -> Arc<dyn Tool>;
}

/// Why something outside gave nothing. The text is for the tenant's people: it tells nothing of what is around the server,
/// and has no secret in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(pub String);

/// Makes tools of what tenants have declared. All that these send goes through one guard: to what the platform allows this
/// tenant and the tenant's rules do, with secrets that are put in as it leaves.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait ToolMaker: Send + Sync {
    /// Refuses a URL that could never be reached, as far as it tells without asking anybody.
    fn check_url(&self, scope: &TenantScope, url: &str, rules: &EgressRules) -> Result<(), Unreachable>;

    /// Refuses what is no JSON Schema, or refers to another document.
    fn check_schema(&self, schema: &serde_json::Value) -> Result<(), String>;

    /// The tool of this declaration, for this tenant.
    fn http(
        &self,
        scope: &TenantScope,
        name: &ToolName,
        tool: &HttpTool,
        rules: &EgressRules,
    ) -> Arc<dyn Tool>;

    /// A tool of a server, for this tenant.
    fn mcp(
        &self,
        scope: &TenantScope,
        name: &ToolName,
        server: &McpServer,
        tool: &McpTool,
        rules: &EgressRules,
    ) -> Arc<dyn Tool>;

    /// Refuses a database that could never be reached, as far as it tells without asking anybody.
    fn check_database(
        &self,
        scope: &TenantScope,
        database: &Database,
        rules: &EgressRules,
    ) -> Result<(), BadTool>;

    /// A tool of a database, for this tenant.
    fn database(
        &self,
        scope: &TenantScope,
        name: &ToolName,
        database: &Database,
        tool: DatabaseTool,
        rules: &EgressRules,
    ) -> Arc<dyn Tool>;

    /// Asks a server for its tools.
    async fn tools_of(
        &self,
        scope: &TenantScope,
        server: &McpServer,
        rules: &EgressRules,
    ) -> Result<Vec<McpTool>, Unreachable>;

    /// Fetches the text of a document.
    async fn document(
        &self,
        scope: &TenantScope,
        url: &str,
        rules: &EgressRules,
    ) -> Result<String, Unreachable>;
}
