//! The unit of work: the only way to a tenant's data is a transaction opened for its scope (ADR 0002, ADR 0003).
//!
//! No repository method takes a tenant's id, so none can be handed the wrong one.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use powerhouse_domain::access::TenantScope;
use powerhouse_domain::agents::{Agent, AgentName, PublishedVersion};
use powerhouse_domain::ids::{AgentId, ApprovalId, RunId, UserId};
use powerhouse_domain::runs::{Approval, ApprovalRules, EventBody, Feedback, Lease, Run, RunEvent};
use powerhouse_domain::tenants::Tenant;
use powerhouse_domain::users::{Email, Membership, User};

mod audit;
mod catalogue;
mod idempotency;
mod knowledge;
mod memories;
mod money;
mod page;
mod schedules;
mod secrets;
mod selection;
mod threads;
mod tools;
mod webhooks;
mod work;

pub use audit::{AuditFilter, AuditRepository};
pub use catalogue::ModelProviderRepository;
pub use idempotency::IdempotencyRepository;
pub use knowledge::{FoundChunk, KnowledgeRepository};
pub use memories::MemoryRepository;
pub use money::{BudgetRepository, PriceRepository, UsageRepository};
pub use page::{Limit, LimitOutOfBounds, Page};
pub use schedules::ScheduleRepository;
pub use secrets::{SealedValue, SecretRepository, StoredDataKey};
pub use selection::{Decided, SelectionRepository};
pub use threads::ThreadRepository;
pub use tools::ToolRepository;
pub use webhooks::{SealedSecrets, WebhookRepository};
pub use work::{ClaimedRun, Numbers, Plain, Work};
#[cfg(feature = "mock")]
pub use {
    catalogue::MockModelProviderRepository, idempotency::MockIdempotencyRepository,
    knowledge::MockKnowledgeRepository, memories::MockMemoryRepository, schedules::MockScheduleRepository,
    secrets::MockSecretRepository, selection::MockSelectionRepository, threads::MockThreadRepository,
    tools::MockToolRepository, webhooks::MockWebhookRepository,
};

/// A failure of a store. Absence is `Ok(None)`, not an error.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The row changed since it was read, or a unique key is taken.
    #[error("the {entity} was changed or exists already")]
    Conflict {
        /// What kind of row.
        entity: &'static str,
    },
    /// Another worker has the run, or nobody has.
    #[error("the run is no longer this worker's")]
    LeaseLost,
    /// Calls were let begin by approval rules that are not the tenant's any more. Nothing was stored.
    #[error("the tenant's approval rules have changed")]
    RulesChanged,
    /// A stored row is no valid domain value.
    #[error("{table}.{column} holds a value that the domain refuses")]
    CorruptRow {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
    /// The store cannot be reached or is overloaded; trying again may help.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Anything else.
    #[error("the store failed")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Opens units of work. That may cost nothing before their first use.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait TenantStore: Send + Sync {
    /// Opens a transaction that sees and writes this tenant's rows only.
    async fn begin(&self, scope: &TenantScope) -> Result<Box<dyn TenantTx>, StoreError>;
    /// Opens a transaction that sees one state of this tenant's rows, that of its first read. It waits for no writer and
    /// holds none up; the store refuses whatever would write.
    async fn read(&self, scope: &TenantScope) -> Result<Box<dyn TenantView>, StoreError>;
    /// Stores what workers did to runs of any tenants, each for its lease's, in as few transactions and round trips as the
    /// store can; some of it may be stored when it fails. For each the newest sequence number, as by [`RunRepository::record`] and [`UsageRepository::add`];
    /// or nothing, when nothing of it was stored: the case is not plain, the run not the worker's, or the store has no
    /// such way. A transaction of the tenant's tells. In the order of the tenants, so that no two wait for each other.
    async fn record_plain<'a>(&self, work: &[Plain<'a>]) -> Result<Vec<Option<u64>>, StoreError>;
    /// Reads runs of any tenants, each as its lease's tenant sees it, in as few round trips as the store can. Nothing for
    /// those that are not there, and for those that are to be read alone: the journal is long, a row is corrupt, or the
    /// store has no such way.
    async fn read_claimed(&self, leases: &[Lease]) -> Result<Vec<Option<ClaimedRun>>, StoreError> {
        Ok(vec![None; leases.len()])
    }
}

/// A tenant's rows, as a transaction sees them. Dropping it ends it, and nobody waits for that.
#[async_trait]
pub trait TenantView: Send {
    /// The tenant itself.
    async fn tenant(&mut self) -> Result<Option<Tenant>, StoreError>;
    /// The tenant's users.
    fn users(&mut self) -> &mut dyn UserRepository;
    /// The tenant's agents.
    fn agents(&mut self) -> &mut dyn AgentRepository;
    /// The tenant's runs.
    fn runs(&mut self) -> &mut dyn RunRepository;
    /// What the tenant's runs have asked people.
    fn approvals(&mut self) -> &mut dyn ApprovalRepository;
    /// The tenant's rules on what people have to approve.
    fn approval_rules(&mut self) -> &mut dyn ApprovalRuleRepository;
    /// The tenant's schedules.
    fn schedules(&mut self) -> &mut dyn ScheduleRepository;
    /// The tenant's webhooks.
    fn webhooks(&mut self) -> &mut dyn WebhookRepository;
    /// The tenant's own providers of models.
    fn model_providers(&mut self) -> &mut dyn ModelProviderRepository;
    /// The tenant's secrets, sealed.
    fn secrets(&mut self) -> &mut dyn SecretRepository;
    /// The tenant's tools.
    fn tools(&mut self) -> &mut dyn ToolRepository;
    /// The tenant's documents.
    fn knowledge(&mut self) -> &mut dyn KnowledgeRepository;
    /// What models cost the tenant.
    fn prices(&mut self) -> &mut dyn PriceRepository;
    /// What the tenant may spend.
    fn budgets(&mut self) -> &mut dyn BudgetRepository;
    /// What the tenant used.
    fn usage(&mut self) -> &mut dyn UsageRepository;
    /// What the tenant's selection knows.
    fn selection(&mut self) -> &mut dyn SelectionRepository;
    /// What the tenant's agents remember.
    fn memories(&mut self) -> &mut dyn MemoryRepository;
    /// The tenant's conversations.
    fn threads(&mut self) -> &mut dyn ThreadRepository;
    /// Who changed what.
    fn audit(&mut self) -> &mut dyn AuditRepository;
}

/// A transaction that may write. Committing consumes it; dropping it rolls back.
#[async_trait]
pub trait TenantTx: TenantView {
    /// Keys of requests, which are answered once.
    fn idempotency(&mut self) -> &mut dyn IdempotencyRepository;
    /// Stores a change of the tenant; `Conflict` unless the stored version is the one before.
    async fn update_tenant(&mut self, tenant: &Tenant) -> Result<(), StoreError>;
    /// Makes the changes last.
    async fn commit(self: Box<Self>) -> Result<(), StoreError>;
}

/// A tenant's users: people with a membership in it.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait UserRepository: Send {
    /// A member by id.
    async fn find(&mut self, id: UserId) -> Result<Option<(User, Membership)>, StoreError>;
    /// A member by address.
    async fn find_by_email(&mut self, email: &Email) -> Result<Option<(User, Membership)>, StoreError>;
    /// Members in the order of their ids.
    async fn list(
        &mut self,
        after: Option<UserId>,
        limit: Limit,
    ) -> Result<Page<(User, Membership), UserId>, StoreError>;
    /// Stores a new member with the hash of a password; `Conflict` when the address is taken in this tenant.
    async fn add(&mut self, user: &User, membership: &Membership, password: &str) -> Result<(), StoreError>;
    /// Removes a member, with every session. Whether there was one.
    async fn remove(&mut self, id: UserId) -> Result<bool, StoreError>;
    /// Stores a change; `Conflict` unless the stored version is `read`. A role changed or a user disabled shows in
    /// [`PlatformStore::standing`](crate::platform::PlatformStore::standing) from the commit on.
    async fn update(&mut self, user: &User, membership: &Membership, read: u64) -> Result<(), StoreError>;
    /// How many members the tenant has.
    async fn count(&mut self) -> Result<u64, StoreError>;
    /// How many owners who may sign in the tenant has; their rows are locked until the transaction ends.
    async fn owners(&mut self) -> Result<u64, StoreError>;
}

/// A tenant's agents.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait AgentRepository: Send {
    /// An agent by id.
    async fn find(&mut self, id: AgentId) -> Result<Option<Agent>, StoreError>;
    /// An agent by name.
    async fn find_by_name(&mut self, name: &AgentName) -> Result<Option<Agent>, StoreError>;
    /// Agents in the order of their ids.
    async fn list(
        &mut self,
        after: Option<AgentId>,
        limit: Limit,
    ) -> Result<Page<Agent, AgentId>, StoreError>;
    /// Agents that are not archived.
    async fn count_in_use(&mut self) -> Result<u64, StoreError>;
    /// A published version, of an archived agent too.
    async fn version(&mut self, id: AgentId, number: u32) -> Result<Option<PublishedVersion>, StoreError>;
    /// Every agent that has a published version and is not archived, in the order of their ids; at most `limit`.
    async fn runnable(&mut self, limit: u32) -> Result<Vec<Agent>, StoreError>;
    /// Stores a new agent.
    async fn add(&mut self, agent: &Agent) -> Result<(), StoreError>;
    /// Stores a change; `Conflict` unless the stored revision is the one before.
    async fn update(&mut self, agent: &Agent) -> Result<(), StoreError>;
}

/// A tenant's runs and their journals. What starts, stops or ends a run is announced to the tenant's webhooks in the
/// transaction that journals it. The end of a run that another one began lets that one go on, if it waits, in the same
/// transaction, which holds the other one's row from then on.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait RunRepository: Send {
    /// A run by id.
    async fn find(&mut self, id: RunId) -> Result<Option<Run>, StoreError>;
    /// Runs, newest first; only those that `owner` asked for, when given.
    async fn list(
        &mut self,
        owner: Option<UserId>,
        before: Option<RunId>,
        limit: Limit,
    ) -> Result<Page<Run, RunId>, StoreError>;
    /// Stores a run that was just accepted, with its first event; from the commit on, a worker may claim it.
    async fn add(&mut self, run: &Run) -> Result<(), StoreError>;
    /// Stores a change that is not a worker's, with its events; `Conflict` unless the stored version is the one
    /// before. Takes the run from its worker when it has ended.
    async fn update(&mut self, run: &Run, events: &[NewEvent]) -> Result<u64, StoreError>;
    /// Stores what a worker did, with its events; `LeaseLost` unless the lease's token is the newest, `Conflict`
    /// unless the stored version is at most the run's. Returns the newest sequence number.
    async fn record(&mut self, lease: &Lease, run: &Run, events: &[NewEvent]) -> Result<u64, StoreError>;
    /// Appends what somebody said to the journal of a run that stays as it is; `Conflict` unless its stored version is
    /// this one. Returns the newest sequence number.
    async fn append(&mut self, run: &Run, events: &[NewEvent]) -> Result<u64, StoreError>;
    /// Stores what workers did to their runs, but for the events: it takes numbers for these, and nobody else writes to the
    /// runs before the transaction ends. For each its numbers, or why it was refused, as by [`record`](Self::record); the
    /// others are stored all the same. [`journal`](Self::journal) must follow in the same transaction.
    async fn advance<'a>(
        &mut self,
        work: &[&'a Work],
    ) -> Result<Vec<Result<Numbers, StoreError>>, StoreError>;
    /// Appends the events of runs that were advanced, each with its numbers.
    async fn journal<'a>(&mut self, work: &[&'a Work], numbers: &[Numbers]) -> Result<(), StoreError>;
    /// Those of these runs that have ended, in the order of their ids.
    async fn ended_among(&mut self, ids: &[RunId]) -> Result<Vec<Run>, StoreError>;
    /// A run that somebody asked for, and every run that was begun for it, in the order of their ids; at most `limit`.
    async fn tree(&mut self, root: RunId, limit: u32) -> Result<Vec<Run>, StoreError>;
    /// The journal after a sequence number, at most `limit` events.
    async fn events(&mut self, id: RunId, after: u64, limit: u32) -> Result<Vec<RunEvent>, StoreError>;
    /// Keeps what somebody thought of a run; a second word replaces the first.
    async fn put_feedback(&mut self, id: RunId, feedback: &Feedback) -> Result<(), StoreError>;
    /// What somebody thought of a run.
    async fn feedback(&mut self, id: RunId, by: UserId) -> Result<Option<Feedback>, StoreError>;
}

/// What a tenant's runs have asked people.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait ApprovalRepository: Send {
    /// A question by id.
    async fn find(&mut self, id: ApprovalId) -> Result<Option<Approval>, StoreError>;
    /// Questions, newest first; only those without an answer, when asked.
    async fn list(
        &mut self,
        only_open: bool,
        before: Option<ApprovalId>,
        limit: Limit,
    ) -> Result<Page<Approval, ApprovalId>, StoreError>;
    /// Stores a question.
    async fn add(&mut self, approval: &Approval) -> Result<(), StoreError>;
    /// Stores its answer; `Conflict` when it has one.
    async fn answer(&mut self, approval: &Approval) -> Result<(), StoreError>;
}

/// A tenant's rules on which calls of tools a person has to approve.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait ApprovalRuleRepository: Send {
    /// All of them; none at version 0 where nobody has made any.
    async fn read(&mut self) -> Result<ApprovalRules, StoreError>;
    /// Puts these in their place; `Conflict` unless the stored version is the one before.
    async fn replace(&mut self, rules: &ApprovalRules) -> Result<(), StoreError>;
}

/// An event that has no place in the journal yet.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What happened.
    pub body: EventBody,
}

#[cfg(feature = "mock")]
mod mock;

#[cfg(feature = "mock")]
pub use audit::MockAuditRepository;
#[cfg(feature = "mock")]
pub use mock::MockTenantTx;
#[cfg(feature = "mock")]
pub use money::{MockBudgetRepository, MockPriceRepository, MockUsageRepository};
