//! The audit trail: who changed what, each record chained to the one before by its hash, so that whoever has a copy can tell
//! whether anything in it was changed, taken out or put in (ADR 0026).
//!
//! Start reading at [`Head::next`], which makes a record, and at [`Verifier`], which checks them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};

use crate::access::{Principal, UnknownName, named_enum};
use crate::ids::{IdError, SessionId, TenantId, UserId};

mod chain;
mod hash;
#[cfg(test)]
mod tests;

pub use chain::{Broken, Fault, Head, Verified, Verifier};
pub use hash::{AuditHash, NotAHash};

named_enum! {
    /// What was done. The names are stored, exported and hashed: they are added to, and never changed.
    AuditAction as "audit action" {
        /// A tenant signed up, with its owner and the agents to start with.
        TenantFounded = "tenant.founded",
        /// Somebody signed in.
        SessionOpened = "session.opened",
        /// Somebody signed out.
        SessionEnded = "session.ended",
        /// A refresh token came again after it had been replaced: somebody has a copy. Its session was ended.
        RefreshReused = "session.refresh_reused",
        /// A member was added.
        UserAdded = "user.added",
        /// A member's name, role or standing was changed.
        UserChanged = "user.changed",
        /// A member was removed.
        UserRemoved = "user.removed",
        /// An agent was drafted.
        AgentCreated = "agent.created",
        /// An agent's draft was replaced.
        AgentEdited = "agent.edited",
        /// A draft became what runs use.
        AgentPublished = "agent.published",
        /// An agent was retired.
        AgentArchived = "agent.archived",
        /// A run was cancelled.
        RunCancelled = "run.cancelled",
        /// A run was asked to stand still.
        RunPaused = "run.paused",
        /// A run that stood still was let go on.
        RunResumed = "run.resumed",
        /// A run was made from another one's steps.
        RunForked = "run.forked",
        /// Somebody said what a run was worth.
        RunJudged = "run.judged",
        /// What a run had asked was answered.
        ApprovalAnswered = "approval.answered",
        /// A schedule was made.
        ScheduleCreated = "schedule.created",
        /// A schedule was replaced by another plan.
        ScheduleChanged = "schedule.changed",
        /// A schedule was stopped from firing, by somebody or because its runs are refused.
        SchedulePaused = "schedule.paused",
        /// A schedule may fire again.
        ScheduleResumed = "schedule.resumed",
        /// A schedule was removed.
        ScheduleRemoved = "schedule.removed",
        /// A webhook was made.
        WebhookCreated = "webhook.created",
        /// A webhook's address, filter or state was changed.
        WebhookChanged = "webhook.changed",
        /// A webhook said that it is gone, and was disabled.
        WebhookDisabled = "webhook.disabled",
        /// A webhook got another secret.
        WebhookSecretRotated = "webhook.secret_rotated",
        /// A webhook was tried.
        WebhookTested = "webhook.tested",
        /// A delivery was sent again.
        DeliveryReplayed = "webhook.delivery_replayed",
        /// A webhook was removed.
        WebhookRemoved = "webhook.removed",
        /// A provider of models was named.
        ModelProviderCreated = "model_provider.created",
        /// A provider's address, models or key were changed.
        ModelProviderChanged = "model_provider.changed",
        /// A provider of models was removed.
        ModelProviderRemoved = "model_provider.removed",
        /// What is masked in what is sent to models was replaced.
        MaskingRulesReplaced = "masking_rules.replaced",
        /// A secret was put in.
        SecretCreated = "secret.created",
        /// A secret got another value.
        SecretChanged = "secret.changed",
        /// A secret was removed.
        SecretRemoved = "secret.removed",
        /// A tool was declared.
        ToolCreated = "tool.created",
        /// A tool was changed.
        ToolChanged = "tool.changed",
        /// A tool was removed.
        ToolRemoved = "tool.removed",
        /// An MCP server was declared.
        McpServerCreated = "mcp_server.created",
        /// An MCP server was changed.
        McpServerChanged = "mcp_server.changed",
        /// An MCP server was asked for its tools.
        McpServerRefreshed = "mcp_server.refreshed",
        /// An MCP server was removed.
        McpServerRemoved = "mcp_server.removed",
        /// A database was declared.
        DatabaseCreated = "database.created",
        /// A database was changed.
        DatabaseChanged = "database.changed",
        /// A database was removed.
        DatabaseRemoved = "database.removed",
        /// The list of hosts that the tenant's tools may reach was replaced.
        EgressRulesReplaced = "egress_rules.replaced",
        /// The key of the tenant's secrets was wrapped by another master key.
        DataKeyRewrapped = "data_key.rewrapped",
        /// A collection of documents was made.
        CollectionCreated = "collection.created",
        /// A collection was removed, with its documents.
        CollectionRemoved = "collection.removed",
        /// A document was put into a collection.
        DocumentAdded = "document.added",
        /// A document was removed.
        DocumentRemoved = "document.removed",
        /// An agent was told something to remember.
        MemoryAdded = "memory.added",
        /// An agent was made to forget something.
        MemoryRemoved = "memory.removed",
        /// An agent was made to forget all that it remembered of somebody.
        MemoriesErased = "memory.erased",
        /// A conversation was begun.
        ThreadCreated = "thread.created",
        /// A conversation was removed.
        ThreadRemoved = "thread.removed",
        /// A budget was made.
        BudgetCreated = "budget.created",
        /// A budget got other caps.
        BudgetChanged = "budget.changed",
        /// A budget was removed.
        BudgetRemoved = "budget.removed",
        /// The tenant's rules on approvals were replaced.
        ApprovalRulesReplaced = "approval_rules.replaced",
        /// The tenant's price list was replaced.
        PricesReplaced = "prices.replaced",
        /// Somebody said which agent does what fits nobody.
        SelectionChanged = "selection.changed",
        /// What the selection of agents had learnt was forgotten.
        SelectionReset = "selection.reset",
    }
}

/// Who did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Actor {
    /// A member.
    User {
        /// Who.
        user: UserId,
        /// Signed in as; nothing for who signs up.
        session: Option<SessionId>,
    },
    /// The platform by itself: its scheduler, or what delivers to webhooks.
    Platform,
}

impl Actor {
    /// The platform's name, in the place of an id.
    const PLATFORM: &'static str = "platform";

    /// The session, where there is one.
    pub const fn session(&self) -> Option<SessionId> {
        match self {
            Self::User { session, .. } => *session,
            Self::Platform => None,
        }
    }

    /// The actor of this name, in this session.
    pub fn named(name: &str, session: Option<SessionId>) -> Result<Self, IdError> {
        if name == Self::PLATFORM && session.is_none() {
            return Ok(Self::Platform);
        }
        Ok(Self::User { user: name.parse()?, session })
    }
}

/// The name by which an actor is stored and looked for: `user_…`, or `platform`.
impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User { user, .. } => user.fmt(f),
            Self::Platform => f.write_str(Self::PLATFORM),
        }
    }
}

/// What is to be written down: something that is being done. It has no secrets, and nothing of what tasks, prompts and
/// answers say: ids, names of what changed, and numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When, by the clock of who does it; to the microsecond.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: Actor,
    /// What.
    pub action: AuditAction,
    /// To what: an id, whose prefix says what kind of thing it is.
    pub resource: String,
    /// The request that asked for it, as its answer and its log lines name it.
    pub correlation_id: Option<String>,
    /// What else is worth knowing, by names in alphabetical order.
    pub details: BTreeMap<String, String>,
}

impl Entry {
    /// Something that an actor does.
    pub fn new(actor: Actor, action: AuditAction, resource: impl fmt::Display, at: DateTime<Utc>) -> Self {
        let (resource, details) = (resource.to_string(), BTreeMap::new());
        Self { at: to_the_microsecond(at), actor, action, resource, correlation_id: None, details }
    }

    /// Something that a member does.
    pub fn by(
        principal: &Principal,
        action: AuditAction,
        resource: impl fmt::Display,
        at: DateTime<Utc>,
    ) -> Self {
        let actor = Actor::User { user: principal.user_id(), session: Some(principal.session_id()) };
        Self::new(actor, action, resource, at)
    }

    /// With something else that is worth knowing.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.details.insert(name.to_owned(), value.to_string());
        self
    }

    /// With the names of what was changed.
    #[must_use]
    pub fn changing(self, names: &[&str]) -> Self {
        self.with("changed", names.join(", "))
    }

    /// Asked for by this request.
    #[must_use]
    pub fn asked_by(mut self, correlation_id: Option<String>) -> Self {
        self.correlation_id = correlation_id;
        self
    }
}

/// As precise as every store is.
fn to_the_microsecond(at: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(at.timestamp_micros()).unwrap_or(at)
}

/// An entry in its place in the trail, as it was stored or exported: whether it is right is for [`Verifier`] to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Whose trail.
    pub tenant: TenantId,
    /// Its number in the trail, from 1 on without a gap.
    pub seq: u64,
    /// What was done.
    pub entry: Entry,
    /// The hash of the record before; of the first one, what follows from the tenant's id.
    pub previous: AuditHash,
    /// The hash of all the above.
    pub hash: AuditHash,
}

impl AuditRecord {
    /// Where it is in the trail.
    pub const fn place(&self) -> AuditPlace {
        AuditPlace { at: self.entry.at, seq: self.seq }
    }
}

/// A place in a trail, in whose order times and numbers both grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditPlace {
    /// The time.
    pub at: DateTime<Utc>,
    /// The number.
    pub seq: u64,
}

/// Microseconds and number, with a dot between.
impl fmt::Display for AuditPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.at.timestamp_micros(), self.seq)
    }
}

impl FromStr for AuditPlace {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let read = || {
            let (at, seq) = text.split_once('.')?;
            let at = DateTime::from_timestamp_micros(at.parse().ok()?)?;
            Some(Self { at, seq: seq.parse().ok().filter(|seq| i64::try_from(*seq).is_ok())? })
        };
        read().ok_or(UnknownName { kind: "place" })
    }
}
