//! One agent.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::agents::Agent;
use powerhouse_domain::ids::AgentId;
use powerhouse_ports::store::TenantStore;

use crate::{Refused, permit};

/// Reads an agent.
#[derive(Clone)]
pub struct ReadAgent {
    /// Where agents are.
    pub store: Arc<dyn TenantStore>,
}

impl ReadAgent {
    /// An agent of the caller's tenant.
    pub async fn execute(&self, principal: &Principal, id: AgentId) -> Result<Agent, Refused> {
        let permit = permit::<access::ReadAgent>(principal, id, "agent", false)?;
        let mut view = self.store.read(&permit.scope()).await?;
        view.agents().find(permit.redeem()).await?.ok_or(Refused::NotFound("agent"))
    }
}
