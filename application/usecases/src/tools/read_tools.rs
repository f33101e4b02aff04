//! One tool, server or database, and a page of them.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::tools::{SourceKind, TenantTool, ToolName};
use powerhouse_ports::store::{Limit, Page, TenantStore};

use super::what;
use crate::{Refused, permit};

/// Lists tools, servers or databases.
#[derive(Clone)]
pub struct ListTools {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
}

impl ListTools {
    /// Those of a kind in the order of their names.
    pub async fn execute(
        &self,
        principal: &Principal,
        kind: SourceKind,
        after: Option<ToolName>,
        limit: Limit,
    ) -> Result<Page<TenantTool, ToolName>, Refused> {
        let permit = permit::<access::ListTools>(principal, principal.tenant_id(), "tools", true)?;
        let mut view = self.store.read(&permit.scope()).await?;
        Ok(view.tools().list(kind, after, limit).await?)
    }
}

/// Reads a tool, a server or a database.
#[derive(Clone)]
pub struct ReadTool {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
}

impl ReadTool {
    /// One of the caller's tenant.
    pub async fn execute(
        &self,
        principal: &Principal,
        name: ToolName,
        kind: SourceKind,
    ) -> Result<TenantTool, Refused> {
        let permit = permit::<access::ReadTool>(principal, name, what(kind), false)?;
        let mut view = self.store.read(&permit.scope()).await?;
        let found = view.tools().find(&permit.redeem()).await?;
        found.filter(|tool| tool.source.kind() == kind).ok_or(Refused::NotFound(what(kind)))
    }
}
