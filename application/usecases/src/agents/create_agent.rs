//! A new agent, as a draft.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::agents::{Agent, AgentName, Definition};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::ids::AgentId;
use powerhouse_ports::clock::{Clock, IdSource};
use powerhouse_ports::store::TenantStore;

use super::{check_tools, invalid};
use crate::{Once, Refused, permit, tools};

/// Drafts agents.
#[derive(Clone)]
pub struct CreateAgent {
    /// Where agents are.
    pub store: Arc<dyn TenantStore>,
    /// What an agent may call.
    pub tools: Arc<tools::Names>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
    /// Gives ids.
    pub ids: Arc<dyn IdSource>,
}

impl CreateAgent {
    /// Drafts an agent under a name that no other agent of the tenant has.
    pub async fn execute(
        &self,
        principal: &Principal,
        name: AgentName,
        definition: Definition,
        once: &Once<Agent>,
    ) -> Result<Agent, Refused> {
        let permit = permit::<access::CreateAgent>(principal, principal.tenant_id(), "agents", true)?;
        let id = AgentId::from_uuid(self.ids.next());
        let now = self.clock.now();
        let mut tx = once.begin(&*self.store, &permit.scope()).await?;
        check_tools(&mut *tx, &definition, &self.tools).await?;
        let agent = Agent::draft(id, name, definition, now).map_err(invalid)?;
        let tenant = tx.tenant().await?.ok_or(Refused::NotFound("tenant"))?;
        let most = tenant.plan().limits().agents;
        if tx.agents().count_in_use().await? >= u64::from(most) {
            return Err(Refused::conflict(
                "plan_limit_reached",
                format!("your plan has at most {most} agents"),
            ));
        }
        tx.agents()
            .add(&agent)
            .await
            .map_err(Refused::taken("agent_name_taken", "an agent with this name exists"))?;
        once.commit_audited(tx, &agent, Entry::by(principal, AuditAction::AgentCreated, id, now)).await?;
        Ok(agent)
    }
}
