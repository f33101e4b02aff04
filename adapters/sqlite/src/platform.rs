//! The platform's side: each call in a transaction of its own, or in a single statement.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use powerhouse_domain::access::{Principal, TenantScope};
use powerhouse_domain::ids::{SessionId, UserId};
use powerhouse_domain::runs::{Lease, Room};
use powerhouse_domain::schedules::DueSchedule;
use powerhouse_domain::tenants::{Slug, Tenant};
use powerhouse_domain::users::{Email, Membership, User};
use powerhouse_domain::webhooks::DueDelivery;
use powerhouse_ports::platform::{
    Credentials, OpenSession, PlatformStore, RefreshDigest, Rotation, Standing,
};
use powerhouse_ports::store::StoreError;
use powerhouse_rows::platform::{self, Platform};
use sea_orm::DatabaseTransaction;

use crate::SqliteStore;
use crate::due::{CLAIM_DELIVERIES, CLAIM_SCHEDULES};
use crate::queue::CANDIDATES;

impl SqliteStore {
    async fn writing(&self) -> Result<Platform<DatabaseTransaction>, StoreError> {
        self.transaction().await.map(Platform::new)
    }
}

#[async_trait]
impl PlatformStore for SqliteStore {
    async fn provision(
        &self,
        tenant: &Tenant,
        owner: &User,
        membership: &Membership,
        password_hash: &str,
    ) -> Result<(), StoreError> {
        self.writing().await?.provision(tenant, owner, membership, password_hash).await
    }

    async fn credentials(&self, tenant: &Slug, email: &Email) -> Result<Option<Credentials>, StoreError> {
        Platform::new(self.snapshot().await?).credentials(tenant, email).await
    }

    async fn open_session(
        &self,
        principal: &Principal,
        digest: &RefreshDigest,
        now: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.writing().await?.open_session(principal, digest, now, expires_at).await
    }

    async fn rotate(
        &self,
        presented: &RefreshDigest,
        next: &RefreshDigest,
        now: DateTime<Utc>,
    ) -> Result<Rotation, StoreError> {
        self.writing().await?.rotate(presented, next, now).await
    }

    async fn end_session(&self, session: SessionId, now: DateTime<Utc>) -> Result<(), StoreError> {
        self.writing().await?.end_session(session, now).await
    }

    async fn purge_sessions(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        self.writing().await?.purge_sessions(before, limit).await
    }

    async fn make_room(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn purge_runs(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        self.writing().await?.purge_runs(before, limit).await
    }

    async fn purge_usage(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        self.writing().await?.purge_usage(before, limit).await
    }

    async fn purge_audit(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        self.writing().await?.purge_audit(before, limit).await
    }

    async fn session(
        &self,
        scope: &TenantScope,
        session: SessionId,
    ) -> Result<Option<OpenSession>, StoreError> {
        platform::session(&self.readers, scope.tenant_id(), session).await
    }

    async fn standing(&self, scope: &TenantScope, user: UserId) -> Result<Option<Standing>, StoreError> {
        platform::standing(&self.readers, scope.tenant_id(), user).await
    }

    async fn claim(&self, room: Room, now: DateTime<Utc>, lease: Duration) -> Result<Vec<Lease>, StoreError> {
        self.writing().await?.claim(CANDIDATES, room, now, lease).await
    }

    async fn extend(&self, lease: &Lease, expires_at: DateTime<Utc>) -> Result<(), StoreError> {
        self.writing().await?.extend(lease, expires_at).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.writing().await?.release(lease).await
    }

    async fn claim_schedules(
        &self,
        limit: u32,
        now: DateTime<Utc>,
        claim: Duration,
    ) -> Result<Vec<DueSchedule>, StoreError> {
        self.writing().await?.claim_schedules(CLAIM_SCHEDULES, limit, now, claim).await
    }

    async fn claim_deliveries(
        &self,
        limit: u32,
        now: DateTime<Utc>,
        claim: Duration,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        self.writing().await?.claim_deliveries(CLAIM_DELIVERIES, limit, now, claim).await
    }

    async fn purge_deliveries(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        self.writing().await?.purge_deliveries(before, limit).await
    }

    async fn purge_idempotency_keys(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        self.writing().await?.purge_idempotency_keys(before, limit).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        platform::ping(&self.readers).await
    }
}
