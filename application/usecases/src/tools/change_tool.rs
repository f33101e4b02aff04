//! Another declaration under the same name, and the end of one.

use std::sync::Arc;

use powerhouse_domain::access::Principal;
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::tools::{McpServer, SourceKind, TenantTool, ToolName, ToolSource};
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::TenantStore;
use powerhouse_ports::tools::ToolMaker;

use super::{action, changing, check, find, resource};
use crate::refused::expect_version;
use crate::{Refused, audited};

const CHANGED: [AuditAction; 3] =
    [AuditAction::ToolChanged, AuditAction::McpServerChanged, AuditAction::DatabaseChanged];
const REMOVED: [AuditAction; 3] =
    [AuditAction::ToolRemoved, AuditAction::McpServerRemoved, AuditAction::DatabaseRemoved];

/// Changes tools, servers and databases.
#[derive(Clone)]
pub struct ChangeTool {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
    /// Says what can be called.
    pub maker: Arc<dyn ToolMaker>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl ChangeTool {
    /// Replaces a declaration. Calls that are begun from then on go by the new one; runs that are under way go on being
    /// offered the tool as they were. A server that is somewhere else has said nothing yet: it is to be asked.
    pub async fn execute(
        &self,
        principal: &Principal,
        name: ToolName,
        version: Option<u64>,
        source: ToolSource,
    ) -> Result<TenantTool, Refused> {
        let kind = source.kind();
        let permit = changing(principal, name, kind)?;
        let scope = permit.scope();
        let mut tx = self.store.begin(&scope).await?;
        let tool = find(&mut *tx, &permit.redeem(), kind).await?;
        check(&*self.maker, &scope, &source, &tx.tools().egress().await?)?;
        expect_version(tool.version, version)?;
        let source = match (source, &tool.source) {
            (ToolSource::Mcp(new), ToolSource::Mcp(old)) if new.url == old.url => {
                ToolSource::Mcp(McpServer { listing: old.listing.clone(), ..new })
            }
            (source, _) => source,
        };
        let tool = tool.changed(source, self.clock.now());
        tx.tools().update(&tool).await.map_err(Refused::stale)?;
        let done = action(kind, CHANGED);
        let entry = Entry::by(principal, done, resource(&tool.name, kind), tool.updated_at);
        audited::commit(tx, entry.with("version", tool.version)).await?;
        Ok(tool)
    }
}

/// Removes tools, servers and databases.
#[derive(Clone)]
pub struct DeleteTool {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl DeleteTool {
    /// Removes a declaration. Agents that list it do without from then on.
    pub async fn execute(
        &self,
        principal: &Principal,
        name: ToolName,
        kind: SourceKind,
        version: Option<u64>,
    ) -> Result<(), Refused> {
        let permit = changing(principal, name, kind)?;
        let mut tx = self.store.begin(&permit.scope()).await?;
        let tool = find(&mut *tx, &permit.redeem(), kind).await?;
        expect_version(tool.version, version)?;
        tx.tools().remove(&tool.name).await?;
        let done = action(kind, REMOVED);
        audited::commit(tx, Entry::by(principal, done, resource(&tool.name, kind), self.clock.now())).await?;
        Ok(())
    }
}
