//! Forgetting what was learnt.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::TenantStore;

use super::{SelectionKnown, Selectors};
use crate::{Once, Refused, permit};

/// Makes the selection forget.
#[derive(Clone)]
pub struct ResetSelection {
    /// Where it is.
    pub store: Arc<dyn TenantStore>,
    /// Learns anew.
    pub selectors: Arc<Selectors>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl ResetSelection {
    /// Forgets what was learnt from runs until now and from what people said of them, once for a key. The default agent stays,
    /// and so do the examples in agents' definitions.
    pub async fn execute(
        &self,
        principal: &Principal,
        once: &Once<SelectionKnown>,
    ) -> Result<SelectionKnown, Refused> {
        let tenant = principal.tenant_id();
        let permit = permit::<access::UpdateSelection>(principal, tenant, "selection", true)?;
        let scope = permit.scope();
        let mut tx = once.begin(&*self.store, &scope).await?;
        permit.redeem();
        let now = self.clock.now();
        let selector = tx.selection().read().await?.forget(now);
        tx.selection().replace(&selector).await.map_err(Refused::stale)?;
        let known = SelectionKnown::read(&mut *tx, selector).await?;
        once.commit_audited(tx, &known, Entry::by(principal, AuditAction::SelectionReset, tenant, now))
            .await?;
        self.selectors.want(scope);
        Ok(known)
    }
}
