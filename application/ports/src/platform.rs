//! Work across tenants: provisioning, signing in, and the queue. It has no way to a tenant's content (ADR 0002).

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use powerhouse_domain::access::{Principal, Role, TenantScope};
use powerhouse_domain::ids::{SessionId, TenantId, UserId};
use powerhouse_domain::runs::{Lease, Room};
use powerhouse_domain::schedules::DueSchedule;
use powerhouse_domain::tenants::{Plan, Slug, Tenant};
use powerhouse_domain::users::{Email, Membership, User};
use powerhouse_domain::webhooks::DueDelivery;

use crate::store::StoreError;

/// What signing in needs to know of somebody.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The tenant.
    pub tenant_id: TenantId,
    /// The user.
    pub user_id: UserId,
    /// The user's role.
    pub role: Role,
    /// Whether tenant and user both may sign in.
    pub is_active: bool,
    /// The password's hash in PHC string form.
    pub password_hash: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("tenant_id", &self.tenant_id)
            .field("user_id", &self.user_id)
            .finish_non_exhaustive()
    }
}

/// SHA-256 of a refresh token: all that is kept of it.
pub type RefreshDigest = [u8; 32];

/// What came of presenting a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The token was the newest, or the one before it whose answer may have been lost: the new one is stored.
    Rotated(Principal),
    /// An older one: somebody has a copy. This session has been ended.
    Reused(Principal),
    /// There is no such token, or its session, user or tenant has ended.
    Unknown,
}

/// A session that has not been ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// Whose it is.
    pub user_id: UserId,
    /// When it ends by itself.
    pub expires_at: DateTime<Utc>,
}

/// What a user who may sign in to a tenant that is active is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The user's role.
    pub role: Role,
    /// What the tenant has signed up for.
    pub plan: Plan,
}

/// The store's side that belongs to no tenant.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait PlatformStore: Send + Sync {
    /// Stores a new tenant with its owner; `Conflict` when the slug is taken.
    async fn provision(
        &self,
        tenant: &Tenant,
        owner: &User,
        membership: &Membership,
        password_hash: &str,
    ) -> Result<(), StoreError>;

    /// Who signs in with this address to the tenant with this slug.
    async fn credentials(&self, tenant: &Slug, email: &Email) -> Result<Option<Credentials>, StoreError>;

    /// Opens a session with its first refresh token.
    async fn open_session(
        &self,
        principal: &Principal,
        digest: &RefreshDigest,
        now: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Result<(), StoreError>;

    /// Replaces a refresh token by the next one, in one step.
    async fn rotate(
        &self,
        presented: &RefreshDigest,
        next: &RefreshDigest,
        now: DateTime<Utc>,
    ) -> Result<Rotation, StoreError>;

    /// Ends a session. Ending an ended one is no error.
    async fn end_session(&self, session: SessionId, now: DateTime<Utc>) -> Result<(), StoreError>;

    /// Removes sessions that expired before this time, with their tokens: at most `limit`, and how many.
    async fn purge_sessions(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError>;

    /// Makes room for what comes in the next months, where the store keeps them by month.
    async fn make_room(&self) -> Result<(), StoreError>;

    /// Removes runs that have ended, of months (UTC) that were over before this time, with their journals and what
    /// people thought of them: at most `limit` runs, and how many.
    async fn purge_runs(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError>;

    /// Removes usage of months (UTC) that were over before this time. What does not go by whole months goes at most
    /// `limit` rows at a time, and how many did is returned.
    async fn purge_usage(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError>;

    /// Removes audit records in the same way. What is left of a trail still says what it follows.
    async fn purge_audit(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError>;

    /// A session of this tenant, unless it was ended.
    async fn session(
        &self,
        scope: &TenantScope,
        session: SessionId,
    ) -> Result<Option<OpenSession>, StoreError>;

    /// A user of this tenant, if user and tenant are both active.
    async fn standing(&self, scope: &TenantScope, user: UserId) -> Result<Option<Standing>, StoreError>;

    /// Grants leases on as many runs as there is room for, of those that are queued or whose lease has expired; tenants in
    /// turn, and within a tenant the oldest first.
    async fn claim(&self, room: Room, now: DateTime<Utc>, lease: Duration) -> Result<Vec<Lease>, StoreError>;

    /// Extends a lease; `LeaseLost` when another worker has it, or the run has ended.
    async fn extend(&self, lease: &Lease, expires_at: DateTime<Utc>) -> Result<(), StoreError>;

    /// Hands a lease back, so that any worker may claim the run at once.
    async fn release(&self, lease: &Lease) -> Result<(), StoreError>;

    /// Claims up to `limit` schedules of active tenants whose time has come, each for one caller alone until `claim` is
    /// over or the schedule is changed.
    async fn claim_schedules(
        &self,
        limit: u32,
        now: DateTime<Utc>,
        claim: Duration,
    ) -> Result<Vec<DueSchedule>, StoreError>;

    /// Claims up to `limit` deliveries of active tenants whose time has come, tenants in turn, each for one caller alone
    /// until `claim` is over. Each claim counts as an attempt.
    async fn claim_deliveries(
        &self,
        limit: u32,
        now: DateTime<Utc>,
        claim: Duration,
    ) -> Result<Vec<DueDelivery>, StoreError>;

    /// Removes deliveries that ended before this time: at most `limit`, and how many.
    async fn purge_deliveries(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError>;

    /// Removes answers to requests with a key that expired before this time: at most `limit`, and how many.
    async fn purge_idempotency_keys(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError>;

    /// Whether the store answers.
    async fn ping(&self) -> Result<(), StoreError>;
}
