//! For tests of runs without tools of tenants.

use std::sync::Arc;

use async_trait::async_trait;
use powerhouse_domain::access::TenantScope;
use powerhouse_domain::idempotency::CallKey;
use powerhouse_domain::tools::{
    BadTool, Database, DatabaseTool, EgressRules, HttpTool, McpServer, McpTool, ToolName, ToolOutput,
    ToolSpec,
};
use powerhouse_ports::tools::{Tool, ToolMaker, Unreachable};
use serde_json::Value;

/// Reaches nobody, and makes tools that say so.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMaker;

struct Nothing(ToolSpec);

#[async_trait]
impl Tool for Nothing {
    fn spec(&self) -> ToolSpec {
        self.0.clone()
    }

    fn is_safe_to_repeat(&self) -> bool {
        true
    }

    async fn call(&self, _: &CallKey, _: &Value) -> ToolOutput {
        ToolOutput::error("nobody is reached here")
    }
}

fn nobody() -> Unreachable {
    Unreachable("nobody is reached here".to_owned())
}

#[async_trait]
impl ToolMaker for NoMaker {
    fn check_url(&self, _: &TenantScope, _: &str, _: &EgressRules) -> Result<(), Unreachable> {
        Err(nobody())
    }

    fn check_schema(&self, _: &Value) -> Result<(), String> {
        Ok(())
    }

    fn http(&self, _: &TenantScope, name: &ToolName, tool: &HttpTool, _: &EgressRules) -> Arc<dyn Tool> {
        Arc::new(Nothing(tool.spec(name.as_str())))
    }

    fn mcp(
        &self,
        _: &TenantScope,
        name: &ToolName,
        _: &McpServer,
        tool: &McpTool,
        _: &EgressRules,
    ) -> Arc<dyn Tool> {
        Arc::new(Nothing(McpServer::spec(name.as_str(), tool)))
    }

    fn check_database(&self, _: &TenantScope, _: &Database, _: &EgressRules) -> Result<(), BadTool> {
        Err(BadTool { pointer: "/host".to_owned(), reason: nobody().to_string() })
    }

    fn database(
        &self,
        _: &TenantScope,
        name: &ToolName,
        database: &Database,
        tool: DatabaseTool,
        _: &EgressRules,
    ) -> Arc<dyn Tool> {
        Arc::new(Nothing(database.spec(name.as_str(), tool)))
    }

    async fn tools_of(
        &self,
        _: &TenantScope,
        _: &McpServer,
        _: &EgressRules,
    ) -> Result<Vec<McpTool>, Unreachable> {
        Err(nobody())
    }

    async fn document(&self, _: &TenantScope, _: &str, _: &EgressRules) -> Result<String, Unreachable> {
        Err(nobody())
    }
}
