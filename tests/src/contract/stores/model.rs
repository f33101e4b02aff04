//! The stores against a simple model: several tenants at once, each with a random sequence of operations, and after
//! each operation every tenant has exactly what its own operations left.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use powerhouse_domain::agents::Agent;
use powerhouse_domain::ids::{RunId, UserId};
use powerhouse_domain::runs::Run;
use powerhouse_domain::tenants::Plan;
use powerhouse_ports::store::{Limit, StoreError, TenantTx};
use proptest::prelude::{BoxedStrategy, Strategy as _, any, prop, prop_oneof};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::Stores;
use crate::contract::sample::{Office, agent, at, member, office, run};

/// Random scenarios in a test.
const SCENARIOS: usize = 10;
const TENANTS: usize = 3;
const OPERATIONS: usize = 25;

/// What a tenant does. Numbers choose among few names, so that they meet.
#[derive(Clone, Copy, Debug)]
enum Operation {
    AddUser(u8),
    RemoveUser(u8),
    AddAgent(u8),
    ArchiveAgent(u8),
    AddRun,
    CancelRun(u8),
    /// Changes what belongs to another tenant.
    Reach,
}

/// An operation, and whether its transaction is committed.
type Step = (Operation, bool);

fn steps() -> BoxedStrategy<Vec<Vec<Step>>> {
    use Operation::{AddAgent, AddRun, AddUser, ArchiveAgent, CancelRun, Reach, RemoveUser};
    let name = 0_u8..4;
    let operation = prop_oneof![
        name.clone().prop_map(AddUser),
        name.clone().prop_map(RemoveUser),
        name.clone().prop_map(AddAgent),
        name.clone().prop_map(ArchiveAgent),
        prop::strategy::Just(AddRun),
        name.prop_map(CancelRun),
        prop::strategy::Just(Reach),
    ];
    // Most transactions are committed.
    let step = (operation, any::<u8>().prop_map(|byte| byte > 50));
    prop::collection::vec(prop::collection::vec(step, 1..OPERATIONS), TENANTS).boxed()
}

/// What a tenant should have.
#[derive(Clone, Debug, Default)]
struct Model {
    users: BTreeMap<String, UserId>,
    agents: BTreeMap<String, Agent>,
    runs: BTreeMap<RunId, Run>,
}

/// Every tenant has its own rows and no others, whatever goes on beside it.
pub async fn every_tenant_has_exactly_what_it_did(stores: &Stores) {
    let mut runner = TestRunner::default();
    for _ in 0..SCENARIOS {
        let scenario = steps().new_tree(&mut runner).expect("a scenario").current();
        let mut offices = Vec::new();
        for _ in &scenario {
            offices.push(office(&*stores.platform, Plan::Team).await);
        }
        let tenants = scenario.iter().enumerate().map(|(own, steps)| {
            let (office, other) = (&offices[own], &offices[(own + 1) % offices.len()]);
            live(stores, office, other, steps)
        });
        futures::future::join_all(tenants).await;
    }
}

async fn live(stores: &Stores, own: &Office, other: &Office, steps: &[Step]) {
    let mut model = Model::default();
    model.users.insert(own.owner.email().to_string(), own.owner.id());
    for (number, (operation, is_committed)) in steps.iter().enumerate() {
        let mut next = model.clone();
        let mut tx = stores.tenants.begin(&own.principal.scope()).await.expect("begin");
        apply(&mut *tx, own, other, *operation, &mut next).await;
        if *is_committed {
            tx.commit().await.expect("commit");
            model = next;
        } else {
            drop(tx);
        }
        let told = format!("after step {number} of {steps:?}");
        compare(stores, own, &model, &told).await;
    }
}

async fn apply(tx: &mut dyn TenantTx, own: &Office, other: &Office, operation: Operation, model: &mut Model) {
    match operation {
        Operation::AddUser(name) => {
            let address = format!("user-{name}@example.org");
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
            let user = model.users.remove(&format!("user-{name}@example.org"));
            if let Some(user) = user {
                assert!(tx.users().remove(user).await.expect("remove"));
            }
        }
        Operation::AddAgent(name) => {
            let name = format!("agent-{name}");
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
            let Some(agent) = model.agents.get_mut(&format!("agent-{name}")) else { return };
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
        Operation::Reach => {
            assert!(!tx.users().remove(other.owner.id()).await.expect("remove"));
            assert!(tx.users().find(other.owner.id()).await.expect("find").is_none());
            let theirs = other.tenant.clone().change_plan(Plan::Free, at(7)).expect("a plan");
            let refused = tx.update_tenant(&theirs).await;
            assert!(matches!(refused, Err(StoreError::Conflict { .. })));
        }
    }
}

async fn compare(stores: &Stores, own: &Office, model: &Model, told: &str) {
    let everything = Limit::new(Limit::MAX).expect("a limit");
    let mut tx = stores.tenants.begin(&own.principal.scope()).await.expect("begin");
    let users = tx.users().list(None, everything).await.expect("users").items;
    let users: BTreeMap<_, _> =
        users.into_iter().map(|(user, _)| (user.email().to_string(), user.id())).collect();
    assert_eq!(users, model.users, "{told}");
    let agents = tx.agents().list(None, everything).await.expect("agents").items;
    let agents: BTreeMap<_, _> =
        agents.into_iter().map(|agent| (agent.name().as_str().to_owned(), agent)).collect();
    assert_eq!(agents, model.agents, "{told}");
    let runs = tx.runs().list(None, None, everything).await.expect("runs").items;
    let runs: BTreeMap<_, _> = runs.into_iter().map(|run| (run.id(), run)).collect();
    assert_eq!(runs, model.runs, "{told}");
}
