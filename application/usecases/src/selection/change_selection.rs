//! Saying who does what fits nobody.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::ids::AgentId;
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::TenantStore;

use super::SelectionKnown;
use crate::refused::expect_version;
use crate::{Refused, audited, permit};

/// Changes the tenant's default agent.
#[derive(Clone)]
pub struct ChangeSelection {
    /// Where it is.
    pub store: Arc<dyn TenantStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl ChangeSelection {
    /// Says who does what fits nobody, or that nobody does. The agent has to be published; if it is retired later, it is as if nobody
    /// had been named.
    pub async fn execute(
        &self,
        principal: &Principal,
        revision: Option<u64>,
        default_agent: Option<AgentId>,
    ) -> Result<SelectionKnown, Refused> {
        let tenant = principal.tenant_id();
        let permit = permit::<access::UpdateSelection>(principal, tenant, "selection", true)?;
        let mut tx = self.store.begin(&permit.scope()).await?;
        permit.redeem();
        let before = tx.selection().read().await?;
        expect_version(before.revision(), revision)?;
        if let Some(id) = default_agent {
            let agent = tx.agents().find(id).await?;
            if agent.is_none_or(|agent| agent.runnable().is_none()) {
                return Err(Refused::invalid("/default_agent", "there is no published agent with this id"));
            }
        }
        let selector = before.with_default(default_agent);
        tx.selection().replace(&selector).await.map_err(Refused::stale)?;
        let known = SelectionKnown::read(&mut *tx, selector).await?;
        let entry = Entry::by(principal, AuditAction::SelectionChanged, tenant, self.clock.now());
        let name = default_agent.map_or_else(|| "none".to_owned(), |agent| agent.to_string());
        audited::commit(tx, entry.with("default_agent", name)).await?;
        Ok(known)
    }
}
