//! A page of a tenant's agents.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::agents::Agent;
use powerhouse_domain::ids::AgentId;
use powerhouse_ports::store::{Limit, Page, TenantStore};

use crate::{Refused, permit};

/// Lists agents.
#[derive(Clone)]
pub struct ListAgents {
    /// Where agents are.
    pub store: Arc<dyn TenantStore>,
}

impl ListAgents {
    /// Agents in the order in which they were made.
    pub async fn execute(
        &self,
        principal: &Principal,
        after: Option<AgentId>,
        limit: Limit,
    ) -> Result<Page<Agent, AgentId>, Refused> {
        let permit = permit::<access::ListAgents>(principal, principal.tenant_id(), "agents", true)?;
        let mut view = self.store.read(&permit.scope()).await?;
        Ok(view.agents().list(after, limit).await?)
    }
}
