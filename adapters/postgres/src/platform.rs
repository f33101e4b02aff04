//! The platform's side: each call in a transaction of its own, or in a single statement.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use powerhouse_domain::access::{Principal, TenantScope};
use powerhouse_domain::ids::{DataKeyId, SessionId, TenantId, UserId};
use powerhouse_domain::runs::{Lease, Room};
use powerhouse_domain::schedules::DueSchedule;
use powerhouse_domain::tenants::{Slug, Tenant};
use powerhouse_domain::users::{Email, Membership, User};
use powerhouse_domain::webhooks::DueDelivery;
use powerhouse_ports::platform::{
    Credentials, OpenSession, PlatformStore, RefreshDigest, Rotation, Standing, TenantDataKey,
};
use powerhouse_ports::secrets::WrappedKey;
use powerhouse_ports::store::StoreError;
use powerhouse_rows::platform::{self, Platform};
use powerhouse_rows::{Transaction, store_error};
use sea_orm::{ConnectionTrait as _, DbBackend, Statement};

use crate::PostgresStore;
use crate::due::{CLAIM_DELIVERIES, CLAIM_SCHEDULES};
use crate::transaction::PgTransaction;

/// What is kept by month has a part for each: this one and three more are there in time.
const ADD_MONTHS: [&str; 3] = [
    "SELECT add_run_event_months(3)",
    "SELECT add_months('usage', 3)",
    "SELECT add_months('audit_records', 3)",
];
const DROP_MONTHS: &str = "SELECT drop_run_event_months($1)";
const PURGE_MONTHS: &str = "SELECT purge_months($1, $2, $3)";

impl PostgresStore {
    fn platform(&self) -> Platform<PgTransaction> {
        Platform::new(self.across())
    }

    /// Removes the months of a table that were over before this time.
    async fn purge_months(
        &self,
        table: &'static str,
        before: DateTime<Utc>,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let tx = self.across();
        let values = [table.into(), before.into(), limit.into()];
        let purge = Statement::from_sql_and_values(DbBackend::Postgres, PURGE_MONTHS, values);
        let gone = tx.query_one_raw(purge).await.map_err(store_error(table))?;
        let gone = gone.map_or(Ok(0), |row| row.try_get_by_index::<i64>(0)).map_err(store_error(table))?;
        Transaction::commit(tx).await.map_err(store_error(table))?;
        Ok(gone.unsigned_abs())
    }
}

#[async_trait]
impl PlatformStore for PostgresStore {
    async fn provision(
        &self,
        tenant: &Tenant,
        owner: &User,
        membership: &Membership,
        password_hash: &str,
    ) -> Result<(), StoreError> {
        self.platform().provision(tenant, owner, membership, password_hash).await
    }

    async fn credentials(&self, tenant: &Slug, email: &Email) -> Result<Option<Credentials>, StoreError> {
        self.platform().credentials(tenant, email).await
    }

    async fn open_session(
        &self,
        principal: &Principal,
        digest: &RefreshDigest,
        now: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.platform().open_session(principal, digest, now, expires_at).await
    }

    async fn rotate(
        &self,
        presented: &RefreshDigest,
        next: &RefreshDigest,
        now: DateTime<Utc>,
    ) -> Result<Rotation, StoreError> {
        self.platform().rotate(presented, next, now).await
    }

    async fn end_session(&self, session: SessionId, now: DateTime<Utc>) -> Result<(), StoreError> {
        self.platform().end_session(session, now).await
    }

    async fn purge_sessions(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        self.platform().purge_sessions(before, limit).await
    }

    async fn make_room(&self) -> Result<(), StoreError> {
        // Each in a transaction of its own: none waits for a lock while it has another's.
        for add in ADD_MONTHS {
            let tx = self.across();
            tx.execute_unprepared(add).await.map_err(store_error("month"))?;
            Transaction::commit(tx).await.map_err(store_error("month"))?;
        }
        Ok(())
    }

    async fn purge_runs(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        let tx = self.across();
        let drop_months = Statement::from_sql_and_values(DbBackend::Postgres, DROP_MONTHS, [before.into()]);
        tx.execute_raw(drop_months).await.map_err(store_error("event"))?;
        Platform::new(tx).purge_runs(before, limit).await
    }

    async fn purge_usage(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        self.purge_months("usage", before, limit).await
    }

    async fn purge_audit(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        self.purge_months("audit_records", before, limit).await
    }

    async fn session(
        &self,
        scope: &TenantScope,
        session: SessionId,
    ) -> Result<Option<OpenSession>, StoreError> {
        platform::session(&self.statement().await?, scope.tenant_id(), session).await
    }

    async fn standing(&self, scope: &TenantScope, user: UserId) -> Result<Option<Standing>, StoreError> {
        platform::standing(&self.statement().await?, scope.tenant_id(), user).await
    }

    async fn claim(&self, room: Room, now: DateTime<Utc>, lease: Duration) -> Result<Vec<Lease>, StoreError> {
        crate::queue::claim(&self.platform, room, now, lease).await
    }

    async fn extend(&self, lease: &Lease, expires_at: DateTime<Utc>) -> Result<(), StoreError> {
        self.platform().extend(lease, expires_at).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.platform().release(lease).await
    }

    async fn claim_schedules(
        &self,
        limit: u32,
        now: DateTime<Utc>,
        claim: Duration,
    ) -> Result<Vec<DueSchedule>, StoreError> {
        self.platform().claim_schedules(CLAIM_SCHEDULES, limit, now, claim).await
    }

    async fn claim_deliveries(
        &self,
        limit: u32,
        now: DateTime<Utc>,
        claim: Duration,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        self.platform().claim_deliveries(CLAIM_DELIVERIES, limit, now, claim).await
    }

    async fn purge_deliveries(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        self.platform().purge_deliveries(before, limit).await
    }

    async fn purge_idempotency_keys(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        self.platform().purge_idempotency_keys(before, limit).await
    }

    async fn data_keys(
        &self,
        after: Option<(TenantId, DataKeyId)>,
        limit: u32,
    ) -> Result<Vec<TenantDataKey>, StoreError> {
        self.platform().data_keys(after, limit).await
    }

    async fn rewrap(
        &self,
        before: &TenantDataKey,
        now_wrapped: &WrappedKey,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        self.platform().rewrap(before, now_wrapped, now).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        platform::ping(&self.statement().await?).await
    }
}
