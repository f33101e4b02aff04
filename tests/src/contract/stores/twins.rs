//! Two tenants with the same ids, names and addresses for everything: any statement that forgets the tenant shows.

use std::time::Duration;

use powerhouse_domain::access::{Principal, Role, TenantScope};
use powerhouse_domain::agents::{Agent, PublishedVersion};
use powerhouse_domain::ids::{AgentId, BudgetId, RunId, SessionId, TenantId, UserId};
use powerhouse_domain::money::{
    Budget, BudgetScope, BudgetWindow, Caps, Grouping, Period, PriceEntry, Spending, UsageGroup, UsageKey,
};
use powerhouse_domain::runs::{EventBody, Feedback, Lease, Room, Run, RunEvent, Task, Verdict};
use powerhouse_domain::selection;
use powerhouse_domain::tenants::{Plan, Tenant};
use powerhouse_domain::users::{Membership, User};
use powerhouse_ports::store::{Limit, NewEvent, TenantTx, Work};
use uuid::Uuid;

use super::Stores;
use super::money::{price, used};
use crate::contract::sample::{at, definition, limits, next_id};

/// The ids that both twins use.
struct Shared {
    user: UserId,
    agent: AgentId,
    run: RunId,
    budget: BudgetId,
}

impl Shared {
    const fn new() -> Self {
        let id = Uuid::from_u128(u128::MAX);
        Self {
            user: UserId::from_uuid(id),
            agent: AgentId::from_uuid(id),
            run: RunId::from_uuid(id),
            budget: BudgetId::from_uuid(id),
        }
    }
}

const SHARED: Shared = Shared::new();

/// One of the twins: their texts alone differ.
struct Twin {
    scope: TenantScope,
    tenant: Tenant,
    membership: Membership,
    label: &'static str,
}

async fn twin(stores: &Stores, label: &'static str) -> Twin {
    let id = TenantId::from_uuid(next_id());
    let slug = format!("twin-{label}").parse().expect("a slug");
    let tenant = Tenant::found(id, slug, label.parse().expect("a name"), Plan::Free, at(0));
    let email = "owner@example.org".parse().expect("an address");
    let owner = User::register(SHARED.user, email, label.parse().expect("a name"), at(0));
    let membership = Membership::new(id, SHARED.user, Role::Owner, at(0));
    stores.platform.provision(&tenant, &owner, &membership, label).await.expect("the tenant is new");
    let principal = Principal::verified(id, SHARED.user, SessionId::from_uuid(next_id()), Role::Owner);
    let twin = Twin { scope: principal.scope(), tenant, membership, label };

    let name = "helper".parse().expect("a name");
    let agent = Agent::draft(SHARED.agent, name, definition(label), at(1)).expect("a definition");
    let task = Task::new(label).expect("a task");
    let selection = selection::named(SHARED.agent, 1);
    let run = Run::accept(SHARED.run, SHARED.user, task, selection, limits(), at(5));
    let mut tx = stores.tenants.begin(&twin.scope).await.expect("begin");
    tx.agents().add(&agent.publish(at(2)).expect("publish")).await.expect("add");
    tx.runs().add(&run).await.expect("add");
    tx.runs().put_feedback(SHARED.run, &word(label)).await.expect("feedback");
    let caps = Caps::new(Some(100), None).expect("caps");
    let budget = Budget::new(SHARED.budget, BudgetScope::Tenant, Period::Day, caps, at(1));
    tx.budgets().add(&budget).await.expect("add");
    spend(&mut *tx, &budget, 5).await;
    tx.commit().await.expect("commit");
    twin
}

/// Uses every method that writes what money is about.
async fn spend(tx: &mut dyn TenantTx, budget: &Budget, amount: u64) {
    let window = budget.window(at(5));
    tx.budgets().hold(window).await.expect("hold");
    assert!(tx.budgets().reserve(budget, window, used(amount + 1)).await.expect("reserve"));
    tx.budgets().settle(window, used(amount), used(amount + 3)).await.expect("settle");
    tx.budgets().give_back(window, used(3)).await.expect("give back");
    tx.usage().add(&key(), 1, used(amount)).await.expect("add");
    tx.prices().replace(&[price("m", 1, amount)]).await.expect("replace");
}

fn key() -> UsageKey {
    UsageKey { day: at(5).date_naive(), agent: Some(SHARED.agent), user: SHARED.user, model: "m".into() }
}

fn word(comment: &str) -> Feedback {
    Feedback::new(SHARED.user, Verdict::Good, comment.into(), at(9)).expect("feedback")
}

/// Everything that a tenant's transaction can read.
#[derive(Clone, Debug, PartialEq)]
struct Everything {
    tenant: Option<Tenant>,
    users: [Vec<(User, Membership)>; 3],
    members_and_owners: (u64, u64),
    agents: [Vec<Agent>; 4],
    in_use: u64,
    versions: [Option<PublishedVersion>; 2],
    runs: [Vec<Run>; 3],
    events: Vec<RunEvent>,
    feedback: Option<Feedback>,
    budgets: [Vec<Budget>; 3],
    budgets_counted: (u64, u64),
    spending: Spending,
    prices: Vec<PriceEntry>,
    usage: Vec<UsageGroup>,
}

async fn everything(stores: &Stores, twin: &Twin) -> Everything {
    let all = Limit::new(100).expect("a limit");
    let email = "owner@example.org".parse().expect("an address");
    let name = "helper".parse().expect("a name");
    let mut tx = stores.tenants.begin(&twin.scope).await.expect("begin");
    Everything {
        tenant: tx.tenant().await.expect("tenant"),
        users: [
            tx.users().find(SHARED.user).await.expect("find").into_iter().collect(),
            tx.users().find_by_email(&email).await.expect("find").into_iter().collect(),
            tx.users().list(None, all).await.expect("list").items,
        ],
        members_and_owners: (
            tx.users().count().await.expect("count"),
            tx.users().owners().await.expect("owners"),
        ),
        agents: [
            tx.agents().find(SHARED.agent).await.expect("find").into_iter().collect(),
            tx.agents().find_by_name(&name).await.expect("find").into_iter().collect(),
            tx.agents().list(None, all).await.expect("list").items,
            tx.agents().runnable(100).await.expect("runnable"),
        ],
        in_use: tx.agents().count_in_use().await.expect("count"),
        versions: [
            tx.agents().version(SHARED.agent, 1).await.expect("version"),
            tx.agents().version(SHARED.agent, 2).await.expect("version"),
        ],
        runs: [
            tx.runs().find(SHARED.run).await.expect("find").into_iter().collect(),
            tx.runs().list(None, None, all).await.expect("list").items,
            tx.runs().list(Some(SHARED.user), None, all).await.expect("list").items,
        ],
        events: tx.runs().events(SHARED.run, 0, 100).await.expect("events"),
        feedback: tx.runs().feedback(SHARED.run, SHARED.user).await.expect("feedback"),
        budgets: [
            tx.budgets().find(SHARED.budget).await.expect("find").into_iter().collect(),
            tx.budgets().list(None, all).await.expect("list").items,
            tx.budgets().applying(SHARED.user, Some(SHARED.agent)).await.expect("applying"),
        ],
        budgets_counted: (
            tx.budgets().count().await.expect("count"),
            tx.budgets().of_scope(BudgetScope::Tenant).await.expect("count"),
        ),
        spending: tx
            .budgets()
            .spending(BudgetWindow { budget: SHARED.budget, start: Period::Day.start(at(5)) })
            .await
            .expect("spending"),
        prices: tx.prices().list().await.expect("list"),
        usage: tx.usage().sums(key().day, key().day, Grouping::default(), 9).await.expect("sums"),
    }
}

/// Uses every method that writes, but for removing the user.
async fn change_everything(stores: &Stores, twin: &Twin, lease: &Lease, to: &str) {
    let mut tx = stores.tenants.begin(&twin.scope).await.expect("begin");
    let tenant = twin.tenant.clone().rename(to.parse().expect("a name"), at(20)).expect("rename");
    tx.update_tenant(&tenant).await.expect("update");
    let (owner, _) = tx.users().find(SHARED.user).await.expect("find").expect("the owner");
    let owner = owner.rename(to.parse().expect("a name"), at(20));
    tx.users().update(&owner, &twin.membership, 1).await.expect("update");
    let agent = tx.agents().find(SHARED.agent).await.expect("find").expect("the agent");
    let agent = agent.edit(definition(to)).expect("edit");
    tx.agents().update(&agent).await.expect("update");
    tx.agents().update(&agent.publish(at(21)).expect("publish")).await.expect("update");
    let budget = tx.budgets().find(SHARED.budget).await.expect("find").expect("the budget");
    let budget = budget.capped(Caps::new(Some(90), None).expect("caps"));
    tx.budgets().update(&budget).await.expect("update");
    spend(&mut *tx, &budget, 7).await;
    let run = tx.runs().find(SHARED.run).await.expect("find").expect("the run");
    let run = run.start(at(22)).expect("start");
    let event = |body| [NewEvent { at: at(22), body }];
    let events = event(EventBody::Started { attempt: 1 }).to_vec();
    let work = Work { lease: *lease, run: run.clone(), events, rules: None };
    let numbers = tx.runs().advance(&[&work]).await.expect("advance").remove(0).expect("it is the worker's");
    assert_eq!((numbers.before, numbers.has_budgets), (1, true));
    tx.runs().journal(&[&work], &[numbers]).await.expect("journal");
    assert_eq!(tx.runs().record(lease, &run, &[]).await.expect("record"), 2);
    let run = run.cancel(SHARED.user, at(23)).expect("cancel");
    assert_eq!(tx.runs().update(&run, &event(EventBody::Cancelled)).await.expect("update"), 3);
    tx.runs().put_feedback(SHARED.run, &word(to)).await.expect("feedback");
    tx.commit().await.expect("commit");
}

/// Whatever one twin reads and writes, the other is as it was.
pub async fn twins_never_meet(stores: &Stores) {
    let twins = [twin(stores, "one").await, twin(stores, "two").await];
    let minute = Duration::from_mins(1);
    let mut leases = Vec::new();
    for lease in stores.platform.claim(Room::for_anyone(10), at(10), minute).await.expect("claim") {
        assert_eq!(lease.run(), SHARED.run);
        leases.push(lease);
    }
    assert_eq!(leases.len(), 2, "each twin has a run of this id");
    let lease_of = |twin: &Twin, leases: &[Lease]| {
        *leases.iter().find(|lease| lease.scope() == twin.scope).expect("each twin has a lease")
    };

    // A lease is handed back and extended for its own tenant only.
    stores.platform.release(&lease_of(&twins[0], &leases)).await.expect("release");
    let again = stores.platform.claim(Room::for_anyone(10), at(11), minute).await.expect("claim");
    assert_eq!(again.iter().map(Lease::scope).collect::<Vec<_>>(), [twins[0].scope]);
    stores.platform.extend(&again[0], at(1_000)).await.expect("extend");
    let expired = stores.platform.claim(Room::for_anyone(10), at(500), minute).await.expect("claim");
    assert_eq!(expired.iter().map(Lease::scope).collect::<Vec<_>>(), [twins[1].scope]);
    let leases = [again[0], expired[0]];

    let mut before = Vec::new();
    for twin in &twins {
        let seen = everything(stores, twin).await;
        assert_eq!(seen.tenant.as_ref(), Some(&twin.tenant));
        assert_eq!(seen.members_and_owners, (1, 1));
        assert_eq!(seen.in_use, 1);
        for users in &seen.users {
            assert_eq!(users.len(), 1);
            assert_eq!((users[0].0.display_name().as_str(), users[0].1), (twin.label, twin.membership));
        }
        for agents in &seen.agents {
            assert_eq!(agents.len(), 1);
            assert_eq!(agents[0].runnable().expect("published").definition.description, twin.label);
        }
        for runs in &seen.runs {
            assert_eq!(runs.iter().map(|run| run.task().as_str()).collect::<Vec<_>>(), [twin.label]);
        }
        assert_eq!(seen.events.len(), 1);
        assert_eq!(seen.feedback, Some(word(twin.label)));
        assert_eq!(seen.budgets_counted, (1, 1));
        assert!(seen.budgets.iter().all(|budgets| budgets.len() == 1), "{seen:?}");
        assert_eq!((seen.spending.spent.micros, seen.spending.reserved.micros), (5, 1));
        assert_eq!(seen.prices, [price("m", 1, 5)]);
        assert_eq!(seen.usage.iter().map(|sum| sum.calls).collect::<Vec<_>>(), [1]);
        before.push(seen);
    }

    change_everything(stores, &twins[0], &lease_of(&twins[0], &leases), "changed").await;
    assert_eq!(everything(stores, &twins[1]).await, before[1]);
    let changed = everything(stores, &twins[0]).await;
    change_everything(stores, &twins[1], &lease_of(&twins[1], &leases), "changed too").await;
    assert_eq!(everything(stores, &twins[0]).await, changed);

    let kept = everything(stores, &twins[1]).await;
    let mut tx = stores.tenants.begin(&twins[0].scope).await.expect("begin");
    assert!(tx.users().remove(SHARED.user).await.expect("remove"));
    assert!(tx.budgets().remove(SHARED.budget).await.expect("remove"));
    tx.commit().await.expect("commit");
    assert_eq!(everything(stores, &twins[1]).await, kept);
    let email = "owner@example.org".parse().expect("an address");
    for (twin, hash) in twins.iter().zip([None, Some("two".to_owned())]) {
        let found = stores.platform.credentials(twin.tenant.slug(), &email).await.expect("credentials");
        assert_eq!(found.map(|found| found.password_hash), hash);
    }
}
