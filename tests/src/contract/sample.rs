//! Sample tenants, users, agents and runs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use powerhouse_domain::access::{Principal, Role, TenantScope};
use powerhouse_domain::agents::{Agent, Definition};
use powerhouse_domain::ids::{AgentId, RunId, SessionId, TenantId, UserId, earliest_uuid};
use powerhouse_domain::runs::{Formation, Run, RunLimits, Task};
use powerhouse_domain::selection;
use powerhouse_domain::strategies::Strategy;
use powerhouse_domain::tenants::{Plan, Tenant};
use powerhouse_domain::users::{Membership, User};
use powerhouse_ports::platform::PlatformStore;
use uuid::Uuid;

/// A new id, later than every one before.
pub fn next_id() -> Uuid {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    Uuid::from_u128(u128::from(NEXT.fetch_add(1, Ordering::Relaxed)))
}

/// A fixed day, so many seconds after its beginning.
pub fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::seconds(second)
}

/// A tenant that is stored, with its owner.
#[derive(Clone, Debug)]
pub struct Office {
    /// The tenant.
    pub tenant: Tenant,
    /// Its owner.
    pub owner: User,
    /// The owner's membership.
    pub membership: Membership,
    /// The owner, signed in to a session that is not stored.
    pub principal: Principal,
}

/// A tenant that is not stored.
pub fn unstored_tenant() -> Tenant {
    let id = next_id();
    let slug = format!("office-{}", id.as_u128()).parse().expect("a slug");
    Tenant::found(TenantId::from_uuid(id), slug, "The Office".parse().expect("a name"), Plan::Team, at(0))
}

/// Stores a tenant. All have the same names; only the slug must differ.
pub async fn office(platform: &dyn PlatformStore, plan: Plan) -> Office {
    let id = next_id();
    let slug = format!("office-{}", id.as_u128()).parse().expect("a slug");
    let tenant =
        Tenant::found(TenantId::from_uuid(id), slug, "The Office".parse().expect("a name"), plan, at(0));
    let email = "owner@example.org".parse().expect("an address");
    let owner =
        User::register(UserId::from_uuid(next_id()), email, "The Owner".parse().expect("a name"), at(0));
    let membership = Membership::new(tenant.id(), owner.id(), Role::Owner, at(0));
    platform.provision(&tenant, &owner, &membership, "hash").await.expect("the tenant is new");
    let principal =
        Principal::verified(tenant.id(), owner.id(), SessionId::from_uuid(next_id()), Role::Owner);
    Office { tenant, owner, membership, principal }
}

/// An office's owner in another session, which is not stored.
pub fn signed_in_again(office: &Office) -> Principal {
    let session = SessionId::from_uuid(next_id());
    Principal::verified(office.tenant.id(), office.owner.id(), session, Role::Owner)
}

/// A new member of an office, with this address; not stored.
pub fn member(office: &Office, email: &str) -> (User, Membership) {
    let email = email.parse().expect("an address");
    let name = "A Member".parse().expect("a name");
    let user = User::register(UserId::from_uuid(next_id()), email, name, at(1));
    let membership = Membership::new(office.tenant.id(), user.id(), Role::Member, at(1));
    (user, membership)
}

/// A definition with this description.
pub fn definition(description: &str) -> Definition {
    Definition {
        description: description.into(),
        strategy: Strategy::direct(),
        instructions: "be brief".into(),
        model: Some("small".into()),
        tools: vec!["calculator".into()],
        capabilities: vec!["numbers".into()],
        approvals: Vec::new(),
        examples: vec!["2 + 2".into()],
        limits: limits(),
        max_concurrent_runs: Some(7),
        formation: Some(Formation::Team(vec!["helper".parse().expect("a name")])),
        agents: Vec::new(),
    }
}

/// Limits that no test meets by chance.
pub fn limits() -> RunLimits {
    RunLimits { steps: 20, tokens: 10_000, cost_micros: 5, wall_clock: Duration::from_mins(5) }
}

/// A published agent that is not stored.
pub fn agent(name: &str) -> Agent {
    let id = AgentId::from_uuid(next_id());
    let draft =
        Agent::draft(id, name.parse().expect("a name"), definition("helps"), at(1)).expect("a definition");
    draft.publish(at(2)).expect("a draft")
}

/// A queued run that is not stored.
pub fn run(requested_by: UserId, agent: &Agent, second: i64) -> Run {
    let task = Task::new("2 + 2").expect("a task");
    let id = RunId::from_uuid(next_id());
    Run::accept(id, requested_by, task, selection::named(agent.id(), 1), limits(), at(second))
        .admitted_as(Role::Member)
}

/// A queued run that is not stored, accepted at this time; its id says so.
pub fn run_of(requested_by: UserId, agent: &Agent, accepted: DateTime<Utc>) -> Run {
    let id = earliest_uuid(accepted).as_u128() | next_id().as_u128();
    let task = Task::new("2 + 2").expect("a task");
    let selection = selection::named(agent.id(), 1);
    Run::accept(RunId::from_uuid(Uuid::from_u128(id)), requested_by, task, selection, limits(), accepted)
}

/// The scope of a tenant with this number, where no store is needed.
pub fn scope(tenant: u128) -> TenantScope {
    let id = Uuid::from_u128(tenant);
    let session = SessionId::from_uuid(id);
    Principal::verified(TenantId::from_uuid(id), UserId::from_uuid(id), session, Role::Owner).scope()
}
