//! A process that is killed at a given moment: its stores, its model and its tools stop there, in the middle of
//! whatever they do, and whoever waits for them waits for ever.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
use powerhouse_ports::store::{
    AgentRepository, ApprovalRepository, ApprovalRuleRepository, AuditRepository, BudgetRepository,
    ClaimedRun, IdempotencyRepository, KnowledgeRepository, MemoryRepository, ModelProviderRepository, Plain,
    PriceRepository, RunRepository, ScheduleRepository, SecretRepository, SelectionRepository, StoreError,
    TenantStore, TenantTx, TenantView, ThreadRepository, ToolRepository, UsageRepository, UserRepository,
    WebhookRepository,
};
use powerhouse_tests::contract::stores::Stores;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

/// When a process dies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Death {
    /// Never.
    Never,
    /// At this moment of its life.
    At(usize),
    /// As soon as it has made so many changes that outlive it, and no more.
    After(usize),
    /// As soon as it is to make this change, by its number.
    Before(usize),
}

/// The life of one process, and its death.
pub(crate) struct Life {
    death: Death,
    moments: AtomicUsize,
    /// Changes that were begun and outlive it: in its stores, and downstream.
    changes: AtomicUsize,
    /// Those that are under way.
    claims: TaskTracker,
    died: Notify,
}

impl Life {
    /// A life that ends so.
    pub(crate) fn until(death: Death) -> Arc<Self> {
        Arc::new(Self {
            death,
            moments: AtomicUsize::new(0),
            changes: AtomicUsize::new(0),
            claims: TaskTracker::new(),
            died: Notify::new(),
        })
    }

    /// A moment at which the process may be killed. It does not return when it is, nor ever after.
    pub(crate) async fn moment(&self) {
        let moment = self.moments.fetch_add(1, Ordering::SeqCst) + 1;
        if matches!(self.death, Death::At(last) if moment >= last) {
            self.die().await;
        }
    }

    /// Makes a change that outlives the process, with a moment before it and one after.
    pub(crate) async fn change<T>(&self, work: impl Future<Output = T>) -> T {
        self.moment().await;
        let number = self.changes.fetch_add(1, Ordering::SeqCst) + 1;
        match self.death {
            Death::Before(first) if number >= first => self.die().await,
            // Whoever makes the last one is still about it.
            Death::After(last) if number > last => pending().await,
            _ => {}
        }
        let done = work.await;
        if self.death == Death::After(number) {
            self.die().await;
        }
        self.moment().await;
        done
    }

    async fn die(&self) {
        self.died.notify_one();
        pending::<()>().await;
    }

    /// Returns when no claim is under way any more.
    pub(crate) async fn settled(&self) {
        self.claims.close();
        self.claims.wait().await;
    }

    /// Returns when the process was killed.
    pub(crate) async fn end(&self) {
        self.died.notified().await;
    }

    /// How many moments have passed, and how many changes it has made.
    pub(crate) fn passed(&self) -> (usize, usize) {
        (self.moments.load(Ordering::SeqCst), self.changes.load(Ordering::SeqCst))
    }
}

/// Stores as a process has them: each commit, claim and hand-back is a change, and each beginning has a moment before it.
#[derive(Clone)]
pub(crate) struct MortalStores {
    pub(crate) stores: Stores,
    pub(crate) life: Arc<Life>,
}

#[async_trait]
impl TenantStore for MortalStores {
    async fn begin(&self, scope: &TenantScope) -> Result<Box<dyn TenantTx>, StoreError> {
        self.life.moment().await;
        let tx = self.stores.tenants.begin(scope).await?;
        Ok(Box::new(MortalTx { tx, life: Arc::clone(&self.life) }))
    }

    async fn read(&self, scope: &TenantScope) -> Result<Box<dyn TenantView>, StoreError> {
        self.life.moment().await;
        self.stores.tenants.read(scope).await
    }

    async fn record_plain<'a>(&self, work: &[Plain<'a>]) -> Result<Vec<Option<u64>>, StoreError> {
        self.life.change(self.stores.tenants.record_plain(work)).await
    }

    async fn read_claimed(&self, leases: &[Lease]) -> Result<Vec<Option<ClaimedRun>>, StoreError> {
        self.life.moment().await;
        self.stores.tenants.read_claimed(leases).await
    }
}

struct MortalTx {
    tx: Box<dyn TenantTx>,
    life: Arc<Life>,
}

#[async_trait]
impl TenantView for MortalTx {
    async fn tenant(&mut self) -> Result<Option<Tenant>, StoreError> {
        self.tx.tenant().await
    }

    fn users(&mut self) -> &mut dyn UserRepository {
        self.tx.users()
    }

    fn agents(&mut self) -> &mut dyn AgentRepository {
        self.tx.agents()
    }

    fn runs(&mut self) -> &mut dyn RunRepository {
        self.tx.runs()
    }

    fn approvals(&mut self) -> &mut dyn ApprovalRepository {
        self.tx.approvals()
    }

    fn approval_rules(&mut self) -> &mut dyn ApprovalRuleRepository {
        self.tx.approval_rules()
    }

    fn schedules(&mut self) -> &mut dyn ScheduleRepository {
        self.tx.schedules()
    }

    fn webhooks(&mut self) -> &mut dyn WebhookRepository {
        self.tx.webhooks()
    }

    fn model_providers(&mut self) -> &mut dyn ModelProviderRepository {
        self.tx.model_providers()
    }

    fn secrets(&mut self) -> &mut dyn SecretRepository {
        self.tx.secrets()
    }

    fn tools(&mut self) -> &mut dyn ToolRepository {
        self.tx.tools()
    }

    fn knowledge(&mut self) -> &mut dyn KnowledgeRepository {
        self.tx.knowledge()
    }

    fn prices(&mut self) -> &mut dyn PriceRepository {
        self.tx.prices()
    }

    fn budgets(&mut self) -> &mut dyn BudgetRepository {
        self.tx.budgets()
    }

    fn usage(&mut self) -> &mut dyn UsageRepository {
        self.tx.usage()
    }

    fn selection(&mut self) -> &mut dyn SelectionRepository {
        self.tx.selection()
    }

    fn memories(&mut self) -> &mut dyn MemoryRepository {
        self.tx.memories()
    }

    fn threads(&mut self) -> &mut dyn ThreadRepository {
        self.tx.threads()
    }

    fn audit(&mut self) -> &mut dyn AuditRepository {
        self.tx.audit()
    }
}

#[async_trait]
impl TenantTx for MortalTx {
    fn idempotency(&mut self) -> &mut dyn IdempotencyRepository {
        self.tx.idempotency()
    }

    async fn update_tenant(&mut self, tenant: &Tenant) -> Result<(), StoreError> {
        self.tx.update_tenant(tenant).await
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        let Self { tx, life } = *self;
        life.change(tx.commit()).await
    }
}

#[async_trait]
impl PlatformStore for MortalStores {
    async fn claim(&self, room: Room, now: DateTime<Utc>, lease: Duration) -> Result<Vec<Lease>, StoreError> {
        // To look for runs where there are none changes nothing: how often that is done is a matter of time. A process that dies
        // meanwhile has sent it: what comes after it waits until that has been done, or it would be granted to the dead.
        let platform = Arc::clone(&self.stores.platform);
        let claim = self.life.claims.spawn(async move { platform.claim(room, now, lease).await });
        let claimed = claim.await.map_err(|gone| StoreError::Internal(Box::new(gone)))??;
        if claimed.is_empty() { Ok(claimed) } else { self.life.change(async { Ok(claimed) }).await }
    }

    async fn extend(&self, lease: &Lease, expires_at: DateTime<Utc>) -> Result<(), StoreError> {
        self.life.change(self.stores.platform.extend(lease, expires_at)).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.life.change(self.stores.platform.release(lease)).await
    }

    // What follows is nothing that a worker does.

    async fn provision(
        &self,
        tenant: &Tenant,
        owner: &User,
        membership: &Membership,
        password_hash: &str,
    ) -> Result<(), StoreError> {
        self.stores.platform.provision(tenant, owner, membership, password_hash).await
    }

    async fn credentials(&self, tenant: &Slug, email: &Email) -> Result<Option<Credentials>, StoreError> {
        self.stores.platform.credentials(tenant, email).await
    }

    async fn open_session(
        &self,
        principal: &Principal,
        digest: &RefreshDigest,
        now: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.stores.platform.open_session(principal, digest, now, expires_at).await
    }

    async fn rotate(
        &self,
        presented: &RefreshDigest,
        next: &RefreshDigest,
        now: DateTime<Utc>,
    ) -> Result<Rotation, StoreError> {
        self.stores.platform.rotate(presented, next, now).await
    }

    async fn end_session(&self, session: SessionId, now: DateTime<Utc>) -> Result<(), StoreError> {
        self.stores.platform.end_session(session, now).await
    }

    async fn purge_sessions(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        self.stores.platform.purge_sessions(before, limit).await
    }

    async fn claim_schedules(
        &self,
        limit: u32,
        now: DateTime<Utc>,
        lease: Duration,
    ) -> Result<Vec<DueSchedule>, StoreError> {
        self.stores.platform.claim_schedules(limit, now, lease).await
    }

    async fn claim_deliveries(
        &self,
        limit: u32,
        now: DateTime<Utc>,
        lease: Duration,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        self.stores.platform.claim_deliveries(limit, now, lease).await
    }

    async fn purge_deliveries(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        self.stores.platform.purge_deliveries(before, limit).await
    }

    async fn make_room(&self) -> Result<(), StoreError> {
        self.stores.platform.make_room().await
    }

    async fn purge_runs(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        self.stores.platform.purge_runs(before, limit).await
    }

    async fn purge_usage(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        self.stores.platform.purge_usage(before, limit).await
    }

    async fn purge_audit(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        self.stores.platform.purge_audit(before, limit).await
    }

    async fn session(
        &self,
        scope: &TenantScope,
        session: SessionId,
    ) -> Result<Option<OpenSession>, StoreError> {
        self.stores.platform.session(scope, session).await
    }

    async fn standing(&self, scope: &TenantScope, user: UserId) -> Result<Option<Standing>, StoreError> {
        self.stores.platform.standing(scope, user).await
    }

    async fn purge_idempotency_keys(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        self.stores.platform.purge_idempotency_keys(before, limit).await
    }

    async fn data_keys(
        &self,
        after: Option<(TenantId, DataKeyId)>,
        limit: u32,
    ) -> Result<Vec<TenantDataKey>, StoreError> {
        self.stores.platform.data_keys(after, limit).await
    }

    async fn rewrap(
        &self,
        before: &TenantDataKey,
        now_wrapped: &WrappedKey,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        self.stores.platform.rewrap(before, now_wrapped, now).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.stores.platform.ping().await
    }
}
