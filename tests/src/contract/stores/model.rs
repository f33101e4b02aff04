//! The stores against a simple model: several tenants, each with several transactions that are open at the same time, their
//! steps interleaved at random. After each step every open transaction sees what was committed and its own writes, and
//! nothing else; and every tenant has exactly what it committed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use powerhouse_domain::agents::Agent;
use powerhouse_domain::ids::{RunId, UserId};
use powerhouse_domain::runs::Run;
use powerhouse_domain::tenants::{Plan, Tenant};
use powerhouse_ports::store::{Limit, StoreError, TenantTx};
use proptest::prelude::{BoxedStrategy, Strategy as _, prop, prop_oneof};
use proptest::strategy::Just;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Handle;

use super::Stores;
use crate::contract::sample::{Office, agent, at, member, office, run};

/// Random scenarios in a test.
const SCENARIOS: u32 = 10;
const TENANTS: usize = 3;
/// Transactions of a tenant that may be open at the same time.
const HANDS: usize = 2;
const STEPS: usize = 40;

/// What a transaction does. Numbers choose among few names, so that they meet.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Rename(u8),
    AddUser(u8),
    RemoveUser(u8),
    AddAgent(u8),
    ArchiveAgent(u8),
    AddRun,
    CancelRun(u8),
    /// Changes what belongs to another tenant.
    Reach,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    /// In the transaction that is open, or in a new one.
    Do(Operation),
    Commit,
    RollBack,
}

/// What one hand of a tenant does next.
#[derive(Clone, Copy, Debug)]
struct Step {
    tenant: usize,
    hand: usize,
    action: Action,
}

fn steps() -> BoxedStrategy<Vec<Step>> {
    use Operation::{AddAgent, AddRun, AddUser, ArchiveAgent, CancelRun, Reach, RemoveUser, Rename};
    let name = 0_u8..3;
    let operation = prop_oneof![
        name.clone().prop_map(Rename),
        name.clone().prop_map(AddUser),
        name.clone().prop_map(RemoveUser),
        name.clone().prop_map(AddAgent),
        name.clone().prop_map(ArchiveAgent),
        Just(AddRun),
        name.prop_map(CancelRun),
        Just(Reach),
    ];
    let action = prop_oneof![
        6 => operation.prop_map(Action::Do),
        2 => Just(Action::Commit),
        1 => Just(Action::RollBack),
    ];
    let step =
        (0..TENANTS, 0..HANDS, action).prop_map(|(tenant, hand, action)| Step { tenant, hand, action });
    prop::collection::vec(step, 1..STEPS).boxed()
}

/// What a tenant should have; or one hand's part of it. Hands of one tenant never write the same rows: the second would
/// wait for the first.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    tenant: Option<Tenant>,
    users: BTreeMap<String, UserId>,
    agents: BTreeMap<String, Agent>,
    runs: BTreeMap<RunId, Run>,
}

impl Model {
    fn extend(&mut self, part: Self) {
        self.tenant = self.tenant.take().or(part.tenant);
        self.users.extend(part.users);
        self.agents.extend(part.agents);
        self.runs.extend(part.runs);
    }
}

/// An open transaction, and what its hand will have if it is committed.
struct Open {
    tenant: usize,
    hand: usize,
    tx: Box<dyn TenantTx>,
    part: Model,
}

struct World<'a> {
    stores: &'a Stores,
    offices: Vec<Office>,
    /// What each hand of each tenant has committed.
    committed: Vec<[Model; HANDS]>,
    /// In the order in which they began.
    open: Vec<Open>,
}

/// Every tenant has its own rows and no others, whatever goes on beside it.
#[expect(clippy::unused_async, reason = "a suite's promises are async; proptest's runner is not")]
pub async fn every_tenant_has_exactly_what_it_did(stores: &Stores) {
    let config =
        Config { cases: SCENARIOS, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    // One step at a time, in the order of the scenario: so what fails once fails again, and can be made smaller.
    let tested = tokio::task::block_in_place(|| {
        TestRunner::new(config).run(&steps(), |steps| {
            Handle::current().block_on(live(stores, &steps));
            Ok(())
        })
    });
    if let Err(error) = tested {
        panic!("{error}");
    }
}

async fn live(stores: &Stores, steps: &[Step]) {
    let mut world = World { stores, offices: Vec::new(), committed: Vec::new(), open: Vec::new() };
    for _ in 0..TENANTS {
        let office = office(&*stores.platform, Plan::Team).await;
        let mut first = Model { tenant: Some(office.tenant.clone()), ..Model::default() };
        first.users.insert(office.owner.email().to_string(), office.owner.id());
        world.committed.push([first, Model::default()]);
        world.offices.push(office);
    }
    for (number, step) in steps.iter().enumerate() {
        world.take(*step).await;
        world.compare(&format!("after step {number}, {step:?}")).await;
    }
    // What was never committed leaves nothing.
    world.open.clear();
    world.compare("at the end").await;
}

impl World<'_> {
    fn position(&self, step: Step) -> Option<usize> {
        self.open.iter().position(|open| open.tenant == step.tenant && open.hand == step.hand)
    }

    async fn take(&mut self, step: Step) {
        match (step.action, self.position(step)) {
            (Action::Do(operation), Some(position)) => self.act(position, operation).await,
            (Action::Do(operation), None) => {
                let position = self.begin(step).await;
                self.act(position, operation).await;
            }
            (Action::Commit, Some(position)) => self.commit(position).await,
            (Action::RollBack, Some(position)) => drop(self.open.remove(position)),
            (Action::Commit | Action::RollBack, None) => {}
        }
    }

    /// Begins a transaction. Where no more may be open, the oldest is committed before, and one place is kept for looking
    /// on from outside.
    async fn begin(&mut self, step: Step) -> usize {
        if self.open.len() >= self.stores.open_at_once.saturating_sub(1).max(1) {
            self.commit(0).await;
        }
        let scope = self.offices[step.tenant].principal.scope();
        let tx = self.stores.tenants.begin(&scope).await.expect("begin");
        let part = self.committed[step.tenant][step.hand].clone();
        self.open.push(Open { tenant: step.tenant, hand: step.hand, tx, part });
        self.open.len() - 1
    }

    async fn commit(&mut self, position: usize) {
        let open = self.open.remove(position);
        open.tx.commit().await.expect("commit");
        self.committed[open.tenant][open.hand] = open.part;
    }

    async fn act(&mut self, position: usize, operation: Operation) {
        if let Operation::Reach = operation {
            let other = (self.open[position].tenant + 1) % TENANTS;
            let mut theirs = self.seen_by(other, None);
            for open in self.open.iter().filter(|open| open.tenant == other) {
                theirs.extend(open.part.clone());
            }
            reach(&mut *self.open[position].tx, &self.offices[other], theirs).await;
        } else {
            let open = &mut self.open[position];
            apply(&mut *open.tx, &self.offices[open.tenant], open.hand, operation, &mut open.part).await;
        }
    }

    /// What a tenant has, as its open transaction sees it, or as a new one does.
    fn seen_by(&self, tenant: usize, open: Option<&Open>) -> Model {
        let mut seen = Model::default();
        for (hand, committed) in self.committed[tenant].iter().enumerate() {
            let own = open.filter(|open| open.hand == hand);
            seen.extend(own.map_or(committed, |open| &open.part).clone());
        }
        seen
    }

    async fn compare(&mut self, told: &str) {
        for position in 0..self.open.len() {
            let open = &self.open[position];
            let (tenant, hand) = (open.tenant, open.hand);
            let expected = self.seen_by(tenant, Some(open));
            let seen = read(&mut *self.open[position].tx).await;
            assert_eq!(seen, expected, "{told}: in the transaction of tenant {tenant}'s hand {hand}");
        }
        if self.open.len() == self.stores.open_at_once {
            return;
        }
        for (tenant, office) in self.offices.iter().enumerate() {
            let mut tx = self.stores.tenants.begin(&office.principal.scope()).await.expect("begin");
            assert_eq!(read(&mut *tx).await, self.seen_by(tenant, None), "{told}: what tenant {tenant} has");
        }
    }
}

async fn apply(tx: &mut dyn TenantTx, own: &Office, hand: usize, operation: Operation, model: &mut Model) {
    match operation {
        Operation::Rename(name) => {
            // Only the hand that has the tenant's row changes it.
            let Some(tenant) = &mut model.tenant else { return };
            let name = format!("Office {name}").parse().expect("a name");
            let renamed = tenant.clone().rename(name, at(8)).expect("an active tenant");
            tx.update_tenant(&renamed).await.expect("the tenant is ours");
            *tenant = renamed;
        }
        Operation::AddUser(name) => {
            let address = format!("user-{hand}-{name}@example.org");
            let (user, membership) = member(own, &address);
            let added = tx.users().add(&user, &membership, "hash").await;
            match model.users.entry(address) {
                Entry::Occupied(_) => assert!(matches!(added, Err(StoreError::Conflict { .. })), "{added:?}"),
                Entry::Vacant(free) => {
                    added.expect("the address is free");
                    free.insert(user.id());
                }
            }
        }
        Operation::RemoveUser(name) => {
            let user = model.users.remove(&format!("user-{hand}-{name}@example.org"));
            if let Some(user) = user {
                assert!(tx.users().remove(user).await.expect("remove"));
            }
        }
        Operation::AddAgent(name) => {
            let name = format!("agent-{hand}-{name}");
            let agent = agent(&name);
            let added = tx.agents().add(&agent).await;
            match model.agents.entry(name) {
                Entry::Occupied(_) => assert!(matches!(added, Err(StoreError::Conflict { .. })), "{added:?}"),
                Entry::Vacant(free) => {
                    added.expect("the name is free");
                    free.insert(agent);
                }
            }
        }
        Operation::ArchiveAgent(name) => {
            let Some(agent) = model.agents.get_mut(&format!("agent-{hand}-{name}")) else { return };
            let Ok(archived) = agent.clone().archive(at(9)) else { return };
            tx.agents().update(&archived).await.expect("the agent is ours");
            *agent = archived;
        }
        Operation::AddRun => {
            let Some(agent) = model.agents.values().next() else { return };
            let run = run(own.owner.id(), agent, 10);
            tx.runs().add(&run).await.expect("add");
            model.runs.insert(run.id(), run);
        }
        Operation::CancelRun(number) => {
            let Some(run) = model.runs.values_mut().nth(number.into()) else { return };
            let Ok(cancelled) = run.clone().cancel(own.owner.id(), at(11)) else { return };
            tx.runs().update(&cancelled, &[]).await.expect("the run is ours");
            *run = cancelled;
        }
        Operation::Reach => unreachable!("what is reached for is another tenant's model"),
    }
}

/// Tries to get at everything that another tenant has, also what it has not committed: nothing is there, and nobody
/// waits for its transactions.
async fn reach(tx: &mut dyn TenantTx, other: &Office, theirs: Model) {
    let renamed = other.tenant.clone().change_plan(Plan::Free, at(7)).expect("a plan");
    assert!(matches!(tx.update_tenant(&renamed).await, Err(StoreError::Conflict { .. })));
    for user in theirs.users.into_values() {
        assert!(tx.users().find(user).await.expect("find").is_none());
        assert!(!tx.users().remove(user).await.expect("remove"));
    }
    for agent in theirs.agents.into_values() {
        assert!(tx.agents().find(agent.id()).await.expect("find").is_none());
        if let Ok(archived) = agent.archive(at(9)) {
            assert!(matches!(tx.agents().update(&archived).await, Err(StoreError::Conflict { .. })));
        }
    }
    for run in theirs.runs.into_values() {
        assert!(tx.runs().find(run.id()).await.expect("find").is_none());
        assert!(tx.runs().events(run.id(), 0, 10).await.expect("events").is_empty());
        if let Ok(cancelled) = run.cancel(other.owner.id(), at(11)) {
            assert!(matches!(tx.runs().update(&cancelled, &[]).await, Err(StoreError::Conflict { .. })));
        }
    }
}

async fn read(tx: &mut dyn TenantTx) -> Model {
    let everything = Limit::new(Limit::MAX).expect("a limit");
    let users = tx.users().list(None, everything).await.expect("users").items;
    let agents = tx.agents().list(None, everything).await.expect("agents").items;
    let runs = tx.runs().list(None, None, everything).await.expect("runs").items;
    Model {
        tenant: tx.tenant().await.expect("tenant"),
        users: users.into_iter().map(|(user, _)| (user.email().to_string(), user.id())).collect(),
        agents: agents.into_iter().map(|agent| (agent.name().as_str().to_owned(), agent)).collect(),
        runs: runs.into_iter().map(|run| (run.id(), run)).collect(),
    }
}
