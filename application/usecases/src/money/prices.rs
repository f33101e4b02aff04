//! What models cost a tenant.

use std::collections::BTreeSet;
use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::money::{PriceEntry, PriceList};
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::TenantStore;

use crate::{Refused, audited, permit};

/// A tenant's own prices, and what is behind them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantPrices {
    /// The tenant's, by model and then by time.
    pub own: Vec<PriceEntry>,
    /// The platform's.
    pub defaults: Vec<PriceEntry>,
}

/// Reads prices.
#[derive(Clone)]
pub struct ReadPrices {
    /// Where prices are.
    pub store: Arc<dyn TenantStore>,
}

impl ReadPrices {
    /// What models cost the caller's tenant.
    pub async fn execute(&self, principal: &Principal) -> Result<TenantPrices, Refused> {
        let permit = permit::<access::ReadPrices>(principal, principal.tenant_id(), "prices", true)?;
        let mut view = self.store.read(&permit.scope()).await?;
        permit.redeem();
        Ok(TenantPrices { own: view.prices().list().await?, defaults: PriceList::defaults() })
    }
}

/// Changes prices.
#[derive(Clone)]
pub struct ReplacePrices {
    /// Where prices are.
    pub store: Arc<dyn TenantStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl ReplacePrices {
    /// Puts a list in the place of the tenant's own. What was spent is not counted again.
    pub async fn execute(
        &self,
        principal: &Principal,
        entries: Vec<PriceEntry>,
    ) -> Result<TenantPrices, Refused> {
        let permit = permit::<access::UpdatePrices>(principal, principal.tenant_id(), "prices", true)?;
        if entries.len() > PriceList::MAX_ENTRIES {
            let reason = format!("a price list has at most {} entries", PriceList::MAX_ENTRIES);
            return Err(Refused::invalid("/items", reason));
        }
        let mut seen = BTreeSet::new();
        if let Some(index) =
            entries.iter().position(|entry| !seen.insert((entry.model.clone(), entry.effective_from)))
        {
            let reason = "an entry before is for the same model and time";
            return Err(Refused::invalid(format!("/items/{index}"), reason));
        }
        let mut tx = self.store.begin(&permit.scope()).await?;
        let tenant = permit.redeem();
        tx.prices().replace(&entries).await.map_err(Refused::stale)?;
        let own = tx.prices().list().await?;
        let entry = Entry::by(principal, AuditAction::PricesReplaced, tenant, self.clock.now());
        audited::commit(tx, entry.with("entries", own.len())).await?;
        Ok(TenantPrices { own, defaults: PriceList::defaults() })
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use powerhouse_domain::access::Role;
    use powerhouse_domain::ids::{SessionId, TenantId, UserId};
    use powerhouse_domain::money::Price;
    use powerhouse_ports::clock::MockClock;
    use powerhouse_ports::store::MockTenantStore;
    use uuid::Uuid;

    use super::*;

    fn caller(role: Role) -> Principal {
        let id = Uuid::from_u128(1);
        Principal::verified(TenantId::from_uuid(id), UserId::from_uuid(id), SessionId::from_uuid(id), role)
    }

    #[tokio::test]
    async fn a_list_with_an_entry_twice_or_from_somebody_who_may_not_is_not_stored() {
        let mut store = MockTenantStore::new();
        store.expect_begin().never();
        let replace = ReplacePrices { store: Arc::new(store), clock: Arc::new(MockClock::new()) };
        let entry = PriceEntry::new("m", DateTime::UNIX_EPOCH, Price::FREE).unwrap();
        let refused = replace.execute(&caller(Role::Owner), vec![entry.clone(), entry.clone()]).await;
        assert!(matches!(refused, Err(Refused::Invalid { pointer, .. }) if pointer == "/items/1"));
        let refused = replace.execute(&caller(Role::Operator), vec![entry]).await;
        assert!(matches!(refused, Err(Refused::Forbidden(_))));
    }
}
