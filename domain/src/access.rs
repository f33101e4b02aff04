//! Who may do what: roles, actions, the matrix between them, and the permits that prove a decision.
//!
//! This is the first of two stages. The matrix of [`allows`] decides alone here; a tenant's own Cedar policies are
//! to come as a second stage that can only narrow what the matrix grants.

mod permit;

pub use permit::Permit;

use crate::ids::{
    AgentId, ApprovalId, BudgetId, ModelProviderId, RunId, ScheduleId, SessionId, TenantId, ThreadId, UserId,
    WebhookId,
};
use crate::knowledge::CollectionName;
use crate::secrets::SecretName;
use crate::tools::ToolName;

mod denied;
mod names;

pub use denied::Denied;
pub use names::UnknownName;
pub(crate) use names::named_enum;

named_enum! {
    /// What a member is in a tenant. Each role may do all that the roles declared after it may.
    Role as "role" {
        /// Answers for the tenant, and alone may close it.
        Owner = "owner",
        /// Manages users, policies and what is published.
        Admin = "admin",
        /// Drafts agents and looks after everyone's runs.
        Operator = "operator",
        /// Starts runs and sees their own.
        Member = "member",
        /// Looks, and changes nothing.
        Viewer = "viewer",
    }
}

impl Role {
    /// Whether a member with this role may give, change or take away `other`.
    ///
    /// Nobody reaches above themselves: without this, `users.update` would let an admin become the owner.
    /// A change of role has to pass for both the old role and the new one.
    pub const fn may_assign(self, other: Self) -> bool {
        self.rank() >= other.rank()
    }

    const fn rank(self) -> u8 {
        match self {
            Self::Owner => 4,
            Self::Admin => 3,
            Self::Operator => 2,
            Self::Member => 1,
            Self::Viewer => 0,
        }
    }
}

named_enum! {
    /// Something that a principal may want to do.
    Action as "action" {
        /// See the tenant.
        TenantRead = "tenant.read",
        /// Rename the tenant.
        TenantUpdate = "tenant.update",
        /// Close the tenant for good.
        TenantClose = "tenant.close",
        /// See the tenant's users.
        UsersRead = "users.read",
        /// Add a user to the tenant.
        UsersCreate = "users.create",
        /// Change a user or a membership.
        UsersUpdate = "users.update",
        /// Remove a user from the tenant.
        UsersDelete = "users.delete",
        /// See agents.
        AgentsRead = "agents.read",
        /// Draft a new agent.
        AgentsCreate = "agents.create",
        /// Change an agent's draft.
        AgentsUpdate = "agents.update",
        /// Make a draft the version that runs use.
        AgentsPublish = "agents.publish",
        /// Retire an agent.
        AgentsArchive = "agents.archive",
        /// See the tenant's policies.
        PoliciesRead = "policies.read",
        /// Change the tenant's policies.
        PoliciesUpdate = "policies.update",
        /// Start a run.
        RunsCreate = "runs.create",
        /// See one's own runs.
        RunsRead = "runs.read",
        /// See everyone's runs.
        RunsReadAny = "runs.read_any",
        /// Cancel one's own run.
        RunsCancel = "runs.cancel",
        /// Cancel anyone's run.
        RunsCancelAny = "runs.cancel_any",
        /// Judge the result of one's own run.
        RunsFeedback = "runs.feedback",
        /// See what runs have asked people.
        ApprovalsRead = "approvals.read",
        /// Answer what runs have asked.
        ApprovalsAnswer = "approvals.answer",
        /// See the tenant's usage and the state of its queue.
        OpsRead = "ops.read",
        /// See schedules, with what they submit.
        SchedulesRead = "schedules.read",
        /// Make, change, pause and remove schedules.
        SchedulesUpdate = "schedules.update",
        /// See webhooks and what was sent to them.
        WebhooksRead = "webhooks.read",
        /// Make, change, try and remove webhooks, and send again what did not arrive.
        WebhooksUpdate = "webhooks.update",
        /// See which models agents may name.
        ModelsRead = "models.read",
        /// See the tenant's own providers of models.
        ModelProvidersRead = "providers.read",
        /// Make, change and remove providers of models, and give them their keys.
        ModelProvidersUpdate = "providers.update",
        /// See which secrets there are; their values nobody sees.
        SecretsRead = "secrets.read",
        /// Put secrets in, change and remove them.
        SecretsUpdate = "secrets.update",
        /// See which tools and MCP servers the tenant has declared, and where they may reach.
        ToolsRead = "tools.read",
        /// Declare, change and remove tools and MCP servers, and say where they may reach.
        ToolsUpdate = "tools.update",
        /// See collections and their documents, and search them.
        KnowledgeRead = "knowledge.read",
        /// Make and remove collections, and put and remove documents.
        KnowledgeUpdate = "knowledge.update",
        /// See what agents remember of oneself.
        MemoriesRead = "memories.read",
        /// See what agents remember of anyone.
        MemoriesReadAny = "memories.read_any",
        /// Say what agents are to remember of oneself, and have them forget.
        MemoriesUpdate = "memories.update",
        /// Say what agents are to remember of anyone and of all, and have them forget.
        MemoriesUpdateAny = "memories.update_any",
        /// See budgets, and what is left of them.
        BudgetsRead = "budgets.read",
        /// Make, change and remove budgets.
        BudgetsUpdate = "budgets.update",
        /// See what models cost.
        PricesRead = "prices.read",
        /// Say what models cost.
        PricesUpdate = "prices.update",
        /// See what was used, by whom.
        UsageRead = "usage.read",
        /// See what the selection of agents knows.
        SelectionRead = "selection.read",
        /// Say who does what fits nobody, and make the selection forget.
        SelectionUpdate = "selection.update",
        /// See who changed what.
        AuditRead = "audit.read",
    }
}

/// The role × action matrix. What is not written here is denied.
pub const fn allows(role: Role, action: Action) -> bool {
    use Action::{
        AgentsArchive, AgentsCreate, AgentsPublish, AgentsRead, AgentsUpdate, ApprovalsAnswer, ApprovalsRead,
        AuditRead, BudgetsRead, BudgetsUpdate, KnowledgeRead, KnowledgeUpdate, MemoriesRead, MemoriesReadAny,
        MemoriesUpdate, MemoriesUpdateAny, ModelProvidersRead, ModelProvidersUpdate, ModelsRead, OpsRead,
        PoliciesRead, PoliciesUpdate, PricesRead, PricesUpdate, RunsCancel, RunsCancelAny, RunsCreate,
        RunsFeedback, RunsRead, RunsReadAny, SchedulesRead, SchedulesUpdate, SecretsRead, SecretsUpdate,
        SelectionRead, SelectionUpdate, TenantClose, TenantRead, TenantUpdate, ToolsRead, ToolsUpdate,
        UsageRead, UsersCreate, UsersDelete, UsersRead, UsersUpdate, WebhooksRead, WebhooksUpdate,
    };
    use Role::{Admin, Member, Operator, Owner, Viewer};

    matches!(
        (role, action),
        (Owner, TenantClose)
            | (
                Owner | Admin,
                TenantUpdate
                    | UsersCreate
                    | UsersUpdate
                    | UsersDelete
                    | AgentsPublish
                    | AgentsArchive
                    | PoliciesUpdate
                    | WebhooksUpdate
                    | ModelProvidersUpdate
                    | SecretsUpdate
                    | ToolsUpdate
                    | BudgetsUpdate
                    | PricesUpdate
                    | AuditRead
                    | SelectionUpdate
                    | MemoriesReadAny
                    | MemoriesUpdateAny
            )
            | (
                Owner | Admin | Operator,
                UsersRead
                    | AgentsCreate
                    | AgentsUpdate
                    | PoliciesRead
                    | RunsReadAny
                    | RunsCancelAny
                    | ApprovalsRead
                    | ApprovalsAnswer
                    | OpsRead
                    | SchedulesRead
                    | SchedulesUpdate
                    | WebhooksRead
                    | ModelProvidersRead
                    | SecretsRead
                    | ToolsRead
                    | BudgetsRead
                    | PricesRead
                    | UsageRead
                    | SelectionRead
                    | KnowledgeUpdate
            )
            | (Owner | Admin | Operator | Member, RunsCreate | RunsCancel | RunsFeedback | MemoriesUpdate)
            | (
                Owner | Admin | Operator | Member | Viewer,
                TenantRead | AgentsRead | RunsRead | ModelsRead | KnowledgeRead | MemoriesRead
            )
    )
}

/// Who is calling, as verified: which user, in which tenant and session, with which role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Principal {
    tenant_id: TenantId,
    user_id: UserId,
    session_id: SessionId,
    role: Role,
}

impl Principal {
    /// The principal that a verifier found behind a request's credentials. Nothing else should call this.
    pub const fn verified(tenant_id: TenantId, user_id: UserId, session_id: SessionId, role: Role) -> Self {
        Self { tenant_id, user_id, session_id, role }
    }

    /// The tenant that the credentials are for.
    pub const fn tenant_id(&self) -> TenantId {
        self.tenant_id
    }

    /// The user.
    pub const fn user_id(&self) -> UserId {
        self.user_id
    }

    /// The session that the credentials belong to.
    pub const fn session_id(&self) -> SessionId {
        self.session_id
    }

    /// The user's role in the tenant.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The tenant whose data this principal's requests may touch.
    pub const fn scope(&self) -> TenantScope {
        TenantScope { tenant_id: self.tenant_id }
    }

    /// Decides by role whether this principal may do `A` to `resource`, and proves a yes.
    ///
    /// The resource counts too: one that names another tenant is refused, and so is another user's, unless the
    /// role also has [`Privilege::ACTION_ON_OTHERS`].
    pub fn permit<A: Privilege>(&self, resource: A::Resource) -> Result<Permit<A>, Denied> {
        if resource.tenant().is_some_and(|tenant| tenant != self.tenant_id) {
            return Err(Denied::OtherTenant { action: A::ACTION });
        }
        if !allows(self.role, A::ACTION) {
            return Err(Denied::Role { role: self.role, action: A::ACTION });
        }
        let of_another = resource.owner().is_some_and(|owner| owner != self.user_id);
        if of_another && !A::ACTION_ON_OTHERS.is_some_and(|action| allows(self.role, action)) {
            return Err(Denied::NotOwner { action: A::ACTION });
        }
        Ok(Permit { scope: self.scope(), granted_to: self.user_id, resource })
    }
}

/// One tenant's data. Only [`Principal::scope`] and claims make one ([`Lease::scope`](crate::runs::Lease::scope),
/// [`DueSchedule::scope`](crate::schedules::DueSchedule::scope) and
/// [`DueDelivery::scope`](crate::webhooks::DueDelivery::scope)), so no caller can name a tenant that was not verified.
///
/// ```compile_fail,E0451
/// use powerhouse_domain::access::TenantScope;
/// fn forge(tenant_id: powerhouse_domain::ids::TenantId) -> TenantScope {
///     TenantScope { tenant_id }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TenantScope {
    tenant_id: TenantId,
}

impl TenantScope {
    /// The scope of something that was claimed: a claim stands for its tenant.
    pub(crate) const fn of_lease(tenant_id: TenantId) -> Self {
        Self { tenant_id }
    }

    /// The tenant.
    pub const fn tenant_id(&self) -> TenantId {
        self.tenant_id
    }
}

/// What a permit is for.
pub trait Resource {
    /// The tenant that the resource names, where it names one.
    fn tenant(&self) -> Option<TenantId> {
        None
    }

    /// The user whose own the resource is, where that matters.
    fn owner(&self) -> Option<UserId> {
        None
    }
}

impl Resource for TenantId {
    fn tenant(&self) -> Option<TenantId> {
        Some(*self)
    }
}

impl Resource for UserId {}

impl Resource for AgentId {}

impl Resource for ApprovalId {}

impl Resource for ScheduleId {}

impl Resource for WebhookId {}

impl Resource for ModelProviderId {}

impl Resource for BudgetId {}

impl Resource for SecretName {}

impl Resource for CollectionName {}

impl Resource for ToolName {}

/// A run and who started it, as looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnedRun {
    /// The run.
    pub run: RunId,
    /// Who started it.
    pub owner: UserId,
}

impl Resource for OwnedRun {
    fn owner(&self) -> Option<UserId> {
        Some(self.owner)
    }
}

/// A thread and whose it is, as looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnedThread {
    /// The thread.
    pub thread: ThreadId,
    /// Whose it is.
    pub owner: UserId,
}

impl Resource for OwnedThread {
    fn owner(&self) -> Option<UserId> {
        Some(self.owner)
    }
}

/// What an agent remembers of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoriesOf {
    /// The agent.
    pub agent: AgentId,
    /// The user.
    pub user: UserId,
}

impl Resource for MemoriesOf {
    fn owner(&self) -> Option<UserId> {
        Some(self.user)
    }
}

/// A kind of permit: which action, on which kind of resource.
pub trait Privilege {
    /// What the action is done to. An action on no one thing, such as listing or creating, is done to the tenant.
    type Resource: Resource;

    /// What the role must have.
    const ACTION: Action;

    /// What the role must have as well if the resource is somebody else's; with `None`, nothing suffices.
    const ACTION_ON_OTHERS: Option<Action> = None;
}

macro_rules! privileges {
    ($($(#[$doc:meta])* $name:ident($resource:ty) = $action:ident $(, others: $others:ident)?;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub enum $name {}

            impl Privilege for $name {
                type Resource = $resource;
                const ACTION: Action = Action::$action;
                $(const ACTION_ON_OTHERS: Option<Action> = Some(Action::$others);)?
            }
        )*

        #[cfg(test)]
        const PRIVILEGED: &[Action] = &[$(Action::$action, $(Action::$others,)?)*];
    };
}

privileges! {
    /// See the tenant.
    ReadTenant(TenantId) = TenantRead;
    /// Rename the tenant.
    UpdateTenant(TenantId) = TenantUpdate;
    /// Close the tenant for good.
    CloseTenant(TenantId) = TenantClose;
    /// List the tenant's users.
    ListUsers(TenantId) = UsersRead;
    /// See a user.
    ReadUser(UserId) = UsersRead;
    /// Add a user to the tenant.
    CreateUser(TenantId) = UsersCreate;
    /// Change a user or a membership; see [`Role::may_assign`] for which.
    UpdateUser(UserId) = UsersUpdate;
    /// Remove a user from the tenant; see [`Role::may_assign`] for which.
    DeleteUser(UserId) = UsersDelete;
    /// List the tenant's agents.
    ListAgents(TenantId) = AgentsRead;
    /// See an agent.
    ReadAgent(AgentId) = AgentsRead;
    /// Draft a new agent.
    CreateAgent(TenantId) = AgentsCreate;
    /// Change an agent's draft.
    UpdateAgent(AgentId) = AgentsUpdate;
    /// Make an agent's draft the version that runs use.
    PublishAgent(AgentId) = AgentsPublish;
    /// Retire an agent.
    ArchiveAgent(AgentId) = AgentsArchive;
    /// See the tenant's policies.
    ReadPolicies(TenantId) = PoliciesRead;
    /// Change the tenant's policies.
    UpdatePolicies(TenantId) = PoliciesUpdate;
    /// Start a run of an agent.
    CreateRun(AgentId) = RunsCreate;
    /// List one's own runs.
    ListOwnRuns(TenantId) = RunsRead;
    /// List everyone's runs.
    ListAllRuns(TenantId) = RunsReadAny;
    /// See a run.
    ReadRun(OwnedRun) = RunsRead, others: RunsReadAny;
    /// Cancel a run.
    CancelRun(OwnedRun) = RunsCancel, others: RunsCancelAny;
    /// Pause or resume a run.
    PauseRun(OwnedRun) = RunsCancel, others: RunsCancelAny;
    /// Judge the result of a run.
    GiveFeedback(OwnedRun) = RunsFeedback;
    /// Begin a thread.
    CreateThread(TenantId) = RunsCreate;
    /// List one's own threads.
    ListOwnThreads(TenantId) = RunsRead;
    /// List everyone's threads.
    ListAllThreads(TenantId) = RunsReadAny;
    /// See a thread, and what was said in it.
    ReadThread(OwnedThread) = RunsRead, others: RunsReadAny;
    /// Say something in a thread.
    ContinueThread(OwnedThread) = RunsCreate;
    /// Remove a thread.
    DeleteThread(OwnedThread) = RunsCreate, others: RunsCancelAny;
    /// See what an agent remembers of a user.
    ReadMemories(MemoriesOf) = MemoriesRead, others: MemoriesReadAny;
    /// Say what an agent is to remember of a user, or have it forget.
    UpdateMemories(MemoriesOf) = MemoriesUpdate, others: MemoriesUpdateAny;
    /// See what an agent remembers of all users alike.
    ReadSharedMemories(AgentId) = MemoriesRead;
    /// Say what an agent is to remember of all users alike, or have it forget.
    UpdateSharedMemories(AgentId) = MemoriesUpdateAny;
    /// List what runs have asked.
    ListApprovals(TenantId) = ApprovalsRead;
    /// See what a run has asked.
    ReadApproval(ApprovalId) = ApprovalsRead;
    /// Answer what a run has asked.
    AnswerApproval(ApprovalId) = ApprovalsAnswer;
    /// See the tenant's usage and the state of its queue.
    ReadOps(TenantId) = OpsRead;
    /// List the tenant's schedules.
    ListSchedules(TenantId) = SchedulesRead;
    /// See a schedule.
    ReadSchedule(ScheduleId) = SchedulesRead;
    /// Make a schedule.
    CreateSchedule(TenantId) = SchedulesUpdate;
    /// Change, pause, resume or remove a schedule.
    UpdateSchedule(ScheduleId) = SchedulesUpdate;
    /// List the tenant's webhooks.
    ListWebhooks(TenantId) = WebhooksRead;
    /// See a webhook and its deliveries.
    ReadWebhook(WebhookId) = WebhooksRead;
    /// Make a webhook.
    CreateWebhook(TenantId) = WebhooksUpdate;
    /// Change, try or remove a webhook, or send something to it again.
    UpdateWebhook(WebhookId) = WebhooksUpdate;
    /// List the models that agents may name.
    ListModels(TenantId) = ModelsRead;
    /// List the tenant's own providers of models.
    ListModelProviders(TenantId) = ModelProvidersRead;
    /// See a provider of models.
    ReadModelProvider(ModelProviderId) = ModelProvidersRead;
    /// Make a provider of models.
    CreateModelProvider(TenantId) = ModelProvidersUpdate;
    /// Change or remove a provider of models.
    UpdateModelProvider(ModelProviderId) = ModelProvidersUpdate;
    /// See what is masked in what is sent to models.
    ReadMaskingRules(TenantId) = ModelProvidersRead;
    /// Say what is masked in what is sent to models.
    UpdateMaskingRules(TenantId) = ModelProvidersUpdate;
    /// List the tenant's secrets.
    ListSecrets(TenantId) = SecretsRead;
    /// See that a secret is there, and since when.
    ReadSecret(SecretName) = SecretsRead;
    /// Put a secret in.
    CreateSecret(TenantId) = SecretsUpdate;
    /// Give a secret another value, or remove it.
    UpdateSecret(SecretName) = SecretsUpdate;
    /// List the tenant's tools and MCP servers.
    ListTools(TenantId) = ToolsRead;
    /// See a tool or an MCP server.
    ReadTool(ToolName) = ToolsRead;
    /// Declare a tool or an MCP server.
    CreateTool(TenantId) = ToolsUpdate;
    /// Change or remove a tool or an MCP server, or ask a server for its tools.
    UpdateTool(ToolName) = ToolsUpdate;
    /// See where the tenant's tools may reach.
    ReadEgressRules(TenantId) = ToolsRead;
    /// Say where the tenant's tools may reach.
    UpdateEgressRules(TenantId) = ToolsUpdate;
    /// List the tenant's collections.
    ListCollections(TenantId) = KnowledgeRead;
    /// See a collection and its documents, and search in it.
    ReadCollection(CollectionName) = KnowledgeRead;
    /// Make a collection.
    CreateCollection(TenantId) = KnowledgeUpdate;
    /// Remove a collection, or put or remove documents of it.
    UpdateCollection(CollectionName) = KnowledgeUpdate;
    /// List the tenant's budgets.
    ListBudgets(TenantId) = BudgetsRead;
    /// See a budget.
    ReadBudget(BudgetId) = BudgetsRead;
    /// Make a budget.
    CreateBudget(TenantId) = BudgetsUpdate;
    /// Change a budget.
    UpdateBudget(BudgetId) = BudgetsUpdate;
    /// Remove a budget.
    DeleteBudget(BudgetId) = BudgetsUpdate;
    /// See which calls a person has to approve.
    ReadApprovalRules(TenantId) = PoliciesRead;
    /// Say which calls a person has to approve.
    UpdateApprovalRules(TenantId) = PoliciesUpdate;
    /// See the tenant's prices.
    ReadPrices(TenantId) = PricesRead;
    /// Change the tenant's prices.
    UpdatePrices(TenantId) = PricesUpdate;
    /// See what the tenant used.
    ReadUsage(TenantId) = UsageRead;
    /// See what the selection of agents knows.
    ReadSelection(TenantId) = SelectionRead;
    /// Say who does what fits nobody, and make the selection forget.
    UpdateSelection(TenantId) = SelectionUpdate;
    /// See who changed what in the tenant.
    ReadAudit(TenantId) = AuditRead;
}

#[cfg(test)]
mod tests;
