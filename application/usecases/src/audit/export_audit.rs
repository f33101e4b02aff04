//! The trail from its oldest record on, to be checked elsewhere.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal, TenantScope};
use powerhouse_domain::audit::{AuditPlace, AuditRecord};
use powerhouse_ports::store::{AuditFilter, TenantStore};

use crate::{Refused, permit};

/// Records that are read at a time.
const AT_ONCE: u32 = 500;

/// Opens exports.
#[derive(Clone)]
pub struct ExportAudit {
    /// Where trails are.
    pub store: Arc<dyn TenantStore>,
}

impl ExportAudit {
    /// The records of the caller's tenant in their order, of the times of the filter. Nothing else can be left out: no
    /// one could tell that from a record that was taken away.
    pub async fn execute(&self, principal: &Principal, filter: AuditFilter) -> Result<AuditExport, Refused> {
        let permit = permit::<access::ReadAudit>(principal, principal.tenant_id(), "audit trail", true)?;
        let scope = permit.scope();
        permit.redeem();
        let only = [
            ("/actor", filter.actor.is_some()),
            ("/action", filter.action.is_some()),
            ("/resource", filter.resource.is_some()),
        ];
        if let Some((pointer, _)) = only.into_iter().find(|(_, is_given)| *is_given) {
            let reason = "an export has every record of its times, so that it can be verified: give only from and until";
            return Err(Refused::invalid(pointer, reason));
        }
        let mut export =
            AuditExport { store: Arc::clone(&self.store), scope, filter, last: None, first: None };
        // A store that is away is told before anything was sent.
        export.first = Some(export.read().await?);
        Ok(export)
    }
}

/// An export under way. It holds nothing of the store between two reads: what is in a trail stays as it is.
pub struct AuditExport {
    store: Arc<dyn TenantStore>,
    scope: TenantScope,
    filter: AuditFilter,
    last: Option<AuditPlace>,
    /// What was read already.
    first: Option<Vec<AuditRecord>>,
}

impl AuditExport {
    /// The next records; none at the end.
    pub async fn next(&mut self) -> Result<Vec<AuditRecord>, Refused> {
        match self.first.take() {
            Some(first) => Ok(first),
            None => self.read().await,
        }
    }

    async fn read(&mut self) -> Result<Vec<AuditRecord>, Refused> {
        let mut view = self.store.read(&self.scope).await?;
        let records = view.audit().records(&self.filter, self.last, AT_ONCE).await?;
        self.last = records.last().map(AuditRecord::place).or(self.last);
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use mockall::predicate::eq;
    use powerhouse_domain::access::Role;
    use powerhouse_domain::audit::{AuditAction, Entry, Head};
    use powerhouse_domain::ids::{SessionId, TenantId, UserId};
    use powerhouse_ports::store::{MockTenantStore, MockTenantTx, StoreError};
    use uuid::Uuid;

    use super::*;

    fn caller(role: Role) -> Principal {
        let id = Uuid::from_u128(1);
        Principal::verified(TenantId::from_uuid(id), UserId::from_uuid(id), SessionId::from_uuid(id), role)
    }

    fn record() -> AuditRecord {
        let caller = caller(Role::Owner);
        let entry = Entry::by(&caller, AuditAction::UserAdded, caller.user_id(), DateTime::UNIX_EPOCH);
        Head::genesis(caller.tenant_id()).next(caller.tenant_id(), entry)
    }

    /// A transaction that reads once, from a place on.
    fn reading(after: Option<AuditPlace>, found: Result<Vec<AuditRecord>, StoreError>) -> MockTenantTx {
        let mut tx = MockTenantTx::default();
        let read = tx.audit.expect_records().once().with(eq(AuditFilter::default()), eq(after), eq(AT_ONCE));
        read.return_once(move |_, _, _| found);
        tx
    }

    fn store(reads: Vec<MockTenantTx>) -> Arc<dyn TenantStore> {
        let mut store = MockTenantStore::new();
        let mut order = mockall::Sequence::new();
        for tx in reads {
            store.expect_read().once().in_sequence(&mut order).return_once(move |_| Ok(Box::new(tx)));
        }
        Arc::new(store)
    }

    #[tokio::test]
    async fn each_read_goes_on_where_the_last_one_ended() {
        let last = record();
        let place = Some(last.place());
        let reads = vec![
            reading(None, Ok(vec![last.clone()])),
            reading(place, Ok(vec![])),
            reading(place, Ok(vec![])),
        ];
        let export = ExportAudit { store: store(reads) };
        let mut export = export.execute(&caller(Role::Admin), AuditFilter::default()).await.unwrap();
        assert_eq!(export.next().await.unwrap(), [last]);
        for _ in 0..2 {
            assert_eq!(export.next().await.unwrap(), []);
        }
    }

    #[tokio::test]
    async fn a_store_that_is_away_is_told_before_anything_is_sent() {
        let away = StoreError::Unavailable("away for a moment".into());
        let export = ExportAudit { store: store(vec![reading(None, Err(away))]) };
        let refused = export.execute(&caller(Role::Owner), AuditFilter::default()).await;
        assert!(matches!(refused, Err(Refused::Store(_))));
    }

    #[tokio::test]
    async fn what_would_leave_gaps_or_is_not_for_the_caller_is_not_read() {
        let export = ExportAudit { store: store(vec![]) };
        let filter = AuditFilter { action: Some(AuditAction::UserAdded), ..AuditFilter::default() };
        let refused = export.execute(&caller(Role::Owner), filter).await;
        assert!(matches!(refused, Err(Refused::Invalid { pointer, .. }) if pointer == "/action"));
        let refused = export.execute(&caller(Role::Operator), AuditFilter::default()).await;
        assert!(matches!(refused, Err(Refused::Forbidden(_))));
    }
}
