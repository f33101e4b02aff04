//! Editing, publishing and retiring an agent: look it up, change it, store it at the version that was read.

use std::sync::Arc;

use powerhouse_domain::access::{self, Permit, Principal, Privilege};
use powerhouse_domain::agents::{Agent, AgentChangeRefused, Definition};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::ids::AgentId;
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::TenantStore;

use super::{check_tools, refused};
use crate::refused::expect_version;
use crate::{Once, Refused, permit, tools};

/// Writes drafts.
#[derive(Clone)]
pub struct EditAgent {
    /// Where agents are.
    pub store: Arc<dyn TenantStore>,
    /// What an agent may call.
    pub tools: Arc<tools::Names>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
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
        let mut view = self.store.read(&permit.scope()).await?;
        check_tools(&mut *view, &draft, &self.tools).await?;
        drop(view);
        let now = self.clock.now();
        let entry = Entry::by(principal, AuditAction::AgentEdited, id, now);
        change(&*self.store, permit, revision, &Once::unkeyed(), entry, |agent| agent.edit(draft)).await
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
        let now = self.clock.now();
        let entry = Entry::by(principal, AuditAction::AgentPublished, id, now);
        change(&*self.store, permit, revision, once, entry, |agent| agent.publish(now)).await
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
        let now = self.clock.now();
        let entry = Entry::by(principal, AuditAction::AgentArchived, id, now);
        change(&*self.store, permit, revision, &Once::unkeyed(), entry, |agent| agent.archive(now)).await
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
    entry: Entry,
    change: impl FnOnce(Agent) -> Result<Agent, AgentChangeRefused>,
) -> Result<Agent, Refused> {
    let mut tx = once.begin(store, &permit.scope()).await?;
    let agent = tx.agents().find(permit.redeem()).await?.ok_or(Refused::NotFound("agent"))?;
    expect_version(agent.revision(), revision)?;
    let before = agent.newest().cloned();
    let agent = change(agent).map_err(|error| refused(error.reason))?;
    tx.agents().update(&agent).await.map_err(Refused::stale)?;
    once.commit_audited(tx, &agent, described(entry, before.as_ref(), &agent)).await?;
    Ok(agent)
}

/// With what was changed of the definition, and the version that runs use.
fn described(entry: Entry, before: Option<&Definition>, agent: &Agent) -> Entry {
    let changed = before.zip(agent.newest()).map_or_else(Vec::new, |(before, now)| now.differences(before));
    let entry = if changed.is_empty() { entry } else { entry.changing(&changed) };
    match agent.runnable() {
        Some(version) => entry.with("version", version.number),
        None => entry,
    }
}
