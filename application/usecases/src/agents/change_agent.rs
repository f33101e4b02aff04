//! Editing, publishing and retiring an agent: look it up, change it, store it at the version that was read.

use std::sync::Arc;

use powerhouse_domain::access::{self, Permit, Principal, Privilege};
use powerhouse_domain::agents::{Agent, AgentChangeRefused, Definition};
use powerhouse_domain::ids::AgentId;
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::TenantStore;

use super::{ToolNames, check_tools, refused};
use crate::refused::expect_version;
use crate::{Once, Refused, permit};

/// Writes drafts.
#[derive(Clone)]
pub struct EditAgent {
    /// Where agents are.
    pub store: Arc<dyn TenantStore>,
    /// What an agent may call.
    pub tools: Arc<ToolNames>,
}

impl EditAgent {
    /// Replaces the draft of the next version.
    pub async fn execute(
        &self,
        principal: &Principal,
        id: AgentId,
        revision: Option<u64>,
        draft: Definition,
    ) -> Result<Agent, Refused> {
        let permit = changing::<access::UpdateAgent>(principal, id)?;
        check_tools(&draft, &self.tools)?;
        change(&*self.store, permit, revision, &Once::unkeyed(), |agent| agent.edit(draft)).await
    }
}

/// Publishes drafts.
#[derive(Clone)]
pub struct PublishAgent {
    /// Where agents are.
    pub store: Arc<dyn TenantStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl PublishAgent {
    /// Makes the draft what new runs use.
    pub async fn execute(
        &self,
        principal: &Principal,
        id: AgentId,
        revision: Option<u64>,
        once: &Once<Agent>,
    ) -> Result<Agent, Refused> {
        let permit = changing::<access::PublishAgent>(principal, id)?;
        change(&*self.store, permit, revision, once, |agent| agent.publish(self.clock.now())).await
    }
}

/// Retires agents.
#[derive(Clone)]
pub struct ArchiveAgent {
    /// Where agents are.
    pub store: Arc<dyn TenantStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl ArchiveAgent {
    /// Takes an agent out of use; runs that have it go on to their end.
    pub async fn execute(
        &self,
        principal: &Principal,
        id: AgentId,
        revision: Option<u64>,
    ) -> Result<Agent, Refused> {
        let permit = changing::<access::ArchiveAgent>(principal, id)?;
        change(&*self.store, permit, revision, &Once::unkeyed(), |agent| agent.archive(self.clock.now()))
            .await
    }
}

fn changing<A: Privilege<Resource = AgentId>>(
    principal: &Principal,
    id: AgentId,
) -> Result<Permit<A>, Refused> {
    let visible = principal.permit::<access::ReadAgent>(id).is_ok();
    permit::<A>(principal, id, "agent", visible)
}

async fn change<A: Privilege<Resource = AgentId>>(
    store: &dyn TenantStore,
    permit: Permit<A>,
    revision: Option<u64>,
    once: &Once<Agent>,
    change: impl FnOnce(Agent) -> Result<Agent, AgentChangeRefused>,
) -> Result<Agent, Refused> {
    let mut tx = once.begin(store, &permit.scope()).await?;
    let agent = tx.agents().find(permit.redeem()).await?.ok_or(Refused::NotFound("agent"))?;
    expect_version(agent.revision(), revision)?;
    let agent = change(agent).map_err(|error| refused(error.reason))?;
    tx.agents().update(&agent).await.map_err(Refused::stale)?;
    once.commit(tx, &agent).await?;
    Ok(agent)
}
