//! A new tool or database, or a new MCP server, which is asked for its tools at once.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::tools::{MAX_DECLARED, TenantTool, ToolName, ToolSource};
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::{TenantStore, TenantTx};
use powerhouse_ports::tools::ToolMaker;

use super::{Names, action, check, resource};
use crate::{Once, Refused, permit};

const CREATED: [AuditAction; 3] =
    [AuditAction::ToolCreated, AuditAction::McpServerCreated, AuditAction::DatabaseCreated];

/// Declares tools, servers and databases.
#[derive(Clone)]
pub struct CreateTool {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
    /// Says what can be called, and asks servers.
    pub maker: Arc<dyn ToolMaker>,
    /// The names that are taken.
    pub built_in: Arc<Names>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

/// Refuses a name of the platform's.
pub(super) fn check_name(built_in: &Names, name: &ToolName, pointer: &str) -> Result<(), Refused> {
    if built_in.contains(name.as_str()) {
        return Err(Refused::invalid(pointer, format!("`{name}` is a tool of the platform's")));
    }
    Ok(())
}

/// Stores new ones, as far as the tenant may have so many.
pub(super) async fn add(tx: &mut dyn TenantTx, tools: &[TenantTool]) -> Result<(), Refused> {
    let new = u64::try_from(tools.len()).unwrap_or(u64::MAX);
    if tx.tools().count().await? + new > MAX_DECLARED {
        let reason = format!("a tenant declares at most {MAX_DECLARED} tools, MCP servers and databases");
        return Err(Refused::conflict("too_many_tools", reason));
    }
    for tool in tools {
        let reason = format!("a tool, an MCP server or a database is called `{}` already", tool.name);
        tx.tools().add(tool).await.map_err(Refused::taken("tool_name_taken", &reason))?;
    }
    Ok(())
}

impl CreateTool {
    /// Declares a tool, a server or a database, under a name that no other of the tenant has. A server that does not answer is declared
    /// all the same, and says why.
    pub async fn execute(
        &self,
        principal: &Principal,
        name: ToolName,
        source: ToolSource,
        once: &Once<TenantTool>,
    ) -> Result<TenantTool, Refused> {
        let permit = permit::<access::CreateTool>(principal, principal.tenant_id(), "tools", true)?;
        let scope = permit.scope();
        check_name(&self.built_in, &name, "/name")?;
        let rules = self.store.read(&scope).await?.tools().egress().await?;
        check(&*self.maker, &scope, &source, &rules)?;
        let source = match source {
            ToolSource::Mcp(mut server) => {
                let said = self.maker.tools_of(&scope, &server, &rules).await;
                server.listing =
                    server.listing.renewed(said.map_err(|error| error.to_string()), self.clock.now());
                ToolSource::Mcp(server)
            }
            source @ (ToolSource::Http(_) | ToolSource::Database(_)) => source,
        };
        let kind = source.kind();
        let tool = TenantTool::new(name, source, permit.granted_to(), self.clock.now());
        let mut tx = once.begin(&*self.store, &scope).await?;
        add(&mut *tx, std::slice::from_ref(&tool)).await?;
        let done = action(kind, CREATED);
        let entry = Entry::by(principal, done, resource(&tool.name, kind), tool.created_at);
        once.commit_audited(tx, &tool, entry).await?;
        permit.redeem();
        Ok(tool)
    }
}
