//! Tools, MCP servers and databases that a tenant declares, and where these may reach.
//!
//! Start reading at [`Resolver`], which makes them what a run's agent can call.

mod change_tool;
mod create_tool;
mod egress_rules;
mod import_tools;
mod read_tools;
mod refresh_server;
mod resolve;

pub use change_tool::{ChangeTool, DeleteTool};
pub use create_tool::CreateTool;
pub use egress_rules::{ReadEgressRules, ReplaceEgressRules};
pub use import_tools::{Document, ImportTools};
pub use read_tools::{ListTools, ReadTool};
pub use refresh_server::RefreshServer;
pub use resolve::{Factories, Names, Resolver};
pub(crate) use resolve::{Resolved, declared_names, missing};

use powerhouse_domain::access::{self, Permit, Principal, TenantScope};
use powerhouse_domain::audit::AuditAction;
use powerhouse_domain::tools::{BadTool, EgressRules, SourceKind, TenantTool, ToolName, ToolSource};
use powerhouse_ports::store::TenantTx;
use powerhouse_ports::tools::ToolMaker;

use crate::Refused;
use crate::permit;

impl From<BadTool> for Refused {
    fn from(bad: BadTool) -> Self {
        Self::invalid(bad.pointer, bad.reason)
    }
}

/// How one of this kind is called where there is none.
const fn what(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Http => "tool",
        SourceKind::Mcp => "MCP server",
        SourceKind::Database => "database",
    }
}

fn changing(
    principal: &Principal,
    name: ToolName,
    kind: SourceKind,
) -> Result<Permit<access::UpdateTool>, Refused> {
    let visible = principal.permit::<access::ReadTool>(name.clone()).is_ok();
    permit::<access::UpdateTool>(principal, name, what(kind), visible)
}

/// What a name stands for, if it is of this kind.
async fn find(tx: &mut dyn TenantTx, name: &ToolName, kind: SourceKind) -> Result<TenantTool, Refused> {
    let found = tx.tools().find(name).await?.filter(|tool| tool.source.kind() == kind);
    found.ok_or(Refused::NotFound(what(kind)))
}

/// How one is named where ids are.
fn resource(name: &ToolName, kind: SourceKind) -> String {
    match kind {
        SourceKind::Http => format!("tool_{name}"),
        SourceKind::Mcp => format!("mcp_server_{name}"),
        SourceKind::Database => format!("database_{name}"),
    }
}

/// Which of these was done: to a tool, to a server, or to a database.
fn action(kind: SourceKind, [http, mcp, database]: [AuditAction; 3]) -> AuditAction {
    match kind {
        SourceKind::Http => http,
        SourceKind::Mcp => mcp,
        SourceKind::Database => database,
    }
}

/// Refuses what could never be called.
fn check(
    maker: &dyn ToolMaker,
    scope: &TenantScope,
    source: &ToolSource,
    rules: &EgressRules,
) -> Result<(), Refused> {
    let url = match source {
        ToolSource::Http(tool) => {
            maker.check_schema(&tool.parameters).map_err(|error| Refused::invalid("/parameters", error))?;
            &tool.url
        }
        ToolSource::Mcp(server) => &server.url,
        ToolSource::Database(database) => return Ok(maker.check_database(scope, database, rules)?),
    };
    maker.check_url(scope, url, rules).map_err(|error| Refused::invalid("/url", error))
}
