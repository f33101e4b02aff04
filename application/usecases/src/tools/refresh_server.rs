//! An MCP server is asked for its tools.

use std::sync::Arc;

use powerhouse_domain::access::Principal;
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::tools::{SourceKind, TenantTool, ToolName, ToolSource};
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::TenantStore;
use powerhouse_ports::tools::ToolMaker;

use super::{changing, resource, what};
use crate::{Once, Refused};

/// Asks servers.
#[derive(Clone)]
pub struct RefreshServer {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
    /// Asks them.
    pub maker: Arc<dyn ToolMaker>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl RefreshServer {
    /// Keeps what a server says of its tools now; when it does not answer, what it said before, and why.
    pub async fn execute(
        &self,
        principal: &Principal,
        name: ToolName,
        once: &Once<TenantTool>,
    ) -> Result<TenantTool, Refused> {
        let no_server = || Refused::NotFound(what(SourceKind::Mcp));
        let permit = changing(principal, name, SourceKind::Mcp)?;
        let scope = permit.scope();
        let mut view = self.store.read(&scope).await?;
        let tool = view.tools().find(permit.resource()).await?.ok_or_else(no_server)?;
        let rules = view.tools().egress().await?;
        drop(view);
        let ToolSource::Mcp(mut server) = tool.source.clone() else { return Err(no_server()) };
        // No transaction is open meanwhile (ADR 0003).
        let said = self.maker.tools_of(&scope, &server, &rules).await.map_err(|error| error.to_string());
        let now = self.clock.now();
        server.listing = server.listing.renewed(said, now);
        let entry =
            Entry::by(principal, AuditAction::McpServerRefreshed, resource(&tool.name, SourceKind::Mcp), now)
                .with("answered", server.listing.problem.is_none())
                .with("tools", server.listing.tools.len());
        let tool = tool.changed(ToolSource::Mcp(server), now);
        let mut tx = once.begin(&*self.store, &scope).await?;
        tx.tools().update(&tool).await.map_err(Refused::stale)?;
        once.commit_audited(tx, &tool, entry).await?;
        permit.redeem();
        Ok(tool)
    }
}
