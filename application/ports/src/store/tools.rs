//! A tenant's tools and MCP servers, and where they may reach.

use async_trait::async_trait;
use powerhouse_domain::tools::{EgressRules, SourceKind, TenantTool, ToolName};

use super::{Limit, Page, StoreError};

/// What a tenant has declared for its agents to call. Tools and servers share their names.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait ToolRepository: Send {
    /// What a name stands for.
    async fn find(&mut self, name: &ToolName) -> Result<Option<TenantTool>, StoreError>;
    /// What these names stand for, where there is something, in the order of names.
    async fn named(&mut self, names: &[ToolName]) -> Result<Vec<TenantTool>, StoreError>;
    /// Those of one kind in the order of their names.
    async fn list(
        &mut self,
        kind: SourceKind,
        after: Option<ToolName>,
        limit: Limit,
    ) -> Result<Page<TenantTool, ToolName>, StoreError>;
    /// How many there are, of both kinds.
    async fn count(&mut self) -> Result<u64, StoreError>;
    /// Stores a new one; `Conflict` when the name is taken.
    async fn add(&mut self, tool: &TenantTool) -> Result<(), StoreError>;
    /// Stores a change; `Conflict` unless the stored version is the one before.
    async fn update(&mut self, tool: &TenantTool) -> Result<(), StoreError>;
    /// Removes one. Whether there was one.
    async fn remove(&mut self, name: &ToolName) -> Result<bool, StoreError>;
    /// Where they may reach; no list at version 0 where nobody has made one.
    async fn egress(&mut self) -> Result<EgressRules, StoreError>;
    /// Puts these rules in their place; `Conflict` unless the stored version is the one before.
    async fn replace_egress(&mut self, rules: &EgressRules) -> Result<(), StoreError>;
}
