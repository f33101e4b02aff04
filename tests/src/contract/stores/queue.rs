//! The queue.

use std::collections::HashSet;
use std::time::Duration;

use powerhouse_domain::agents::Agent;
use powerhouse_domain::effects::EffectOutcome;
use powerhouse_domain::runs::{EventBody, Lease, Placement, Priority, Room};
use powerhouse_domain::tenants::{Plan, SuspensionReason};
use powerhouse_domain::tools::ToolOutput;
use powerhouse_ports::store::{NewEvent, StoreError};

use super::Stores;
use crate::contract::sample::{Office, agent, at, office, run};

const LEASE: Duration = Duration::from_secs(30);

async fn enqueue(stores: &Stores, office: &Office, count: i64, first_second: i64) {
    let helper = agent("helper");
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    for number in 0..count {
        tx.runs().add(&run(office.owner.id(), &helper, first_second + number)).await.expect("add");
    }
    tx.commit().await.expect("commit");
}

async fn claim(stores: &Stores, limit: u32, second: i64) -> Vec<Lease> {
    stores.platform.claim(Room::for_anyone(limit), at(second), LEASE).await.expect("claim")
}

/// However many claim at the same time, each run goes to one of them.
pub async fn no_run_is_granted_twice(stores: &Stores) {
    for _ in 0..3 {
        let office = office(&*stores.platform, Plan::Team).await;
        enqueue(stores, &office, 10, 0).await;
    }
    let claims = (0..10).map(|_| {
        let stores = stores.clone();
        tokio::spawn(async move { claim(&stores, 4, 100).await })
    });
    let mut granted = Vec::new();
    for claim in claims.collect::<Vec<_>>() {
        granted.extend(claim.await.expect("the claim ends"));
    }
    assert_eq!(granted.len(), 30);
    assert_eq!(granted.iter().map(Lease::run).collect::<HashSet<_>>().len(), 30);
}

/// However many claim at the same time, a plan's limit holds.
pub async fn concurrent_claims_keep_a_plans_limit(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Free).await;
    enqueue(stores, &office, 20, 0).await;
    let claims = (0..10).map(|_| {
        let stores = stores.clone();
        tokio::spawn(async move { claim(&stores, 3, 100).await.len() })
    });
    let mut granted = 0;
    for claim in claims.collect::<Vec<_>>() {
        granted += claim.await.expect("the claim ends");
    }
    assert_eq!(granted, usize::try_from(Plan::Free.limits().concurrent_runs).expect("a small number"));
}

/// A worker that is silent for longer than its lease loses the run, and the next has a higher token.
pub async fn an_expired_lease_is_granted_anew_with_a_higher_token(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    enqueue(stores, &office, 1, 0).await;
    let first = claim(stores, 1, 100).await.remove(0);
    assert!(claim(stores, 1, 129).await.is_empty(), "the lease still holds");
    stores.platform.extend(&first, at(160)).await.expect("extend");
    assert!(claim(stores, 1, 140).await.is_empty(), "the lease was extended");
    let second = claim(stores, 1, 161).await.remove(0);
    assert_eq!(second.run(), first.run());
    assert!(second.token() > first.token());
    assert_eq!(second.scope(), office.principal.scope());
}

/// A tenant with one run does not wait behind another's hundred.
pub async fn tenants_take_turns(stores: &Stores) {
    let busy = office(&*stores.platform, Plan::Enterprise).await;
    enqueue(stores, &busy, 50, 0).await;
    let small = office(&*stores.platform, Plan::Free).await;
    enqueue(stores, &small, 1, 90).await;
    let granted = claim(stores, 2, 100).await;
    let tenants: HashSet<_> = granted.iter().map(|lease| lease.scope().tenant_id()).collect();
    assert_eq!(tenants, HashSet::from([busy.tenant.id(), small.tenant.id()]));
}

/// The room for newcomers is for first runs of tenants; however long another's backlog is, it takes none of it.
pub async fn a_backlog_leaves_the_room_for_newcomers(stores: &Stores) {
    let busy = office(&*stores.platform, Plan::Enterprise).await;
    enqueue(stores, &busy, 20, 0).await;
    let claim_room = async |anyone, newcomers, second| {
        let room = Room { anyone, newcomers };
        let granted = stores.platform.claim(room, at(second), LEASE).await.expect("claim");
        granted.iter().map(|lease| lease.scope().tenant_id()).collect::<Vec<_>>()
    };
    // Nothing of it was under way.
    assert_eq!(claim_room(0, 3, 100).await, [busy.tenant.id()]);
    assert_eq!(claim_room(0, 3, 101).await, []);
    assert_eq!(claim_room(2, 3, 102).await.len(), 2);
    let (first, second) =
        (office(&*stores.platform, Plan::Free).await, office(&*stores.platform, Plan::Free).await);
    enqueue(stores, &first, 2, 90).await;
    enqueue(stores, &second, 1, 91).await;
    let granted: HashSet<_> = claim_room(0, 3, 103).await.into_iter().collect();
    assert_eq!(granted, HashSet::from([first.tenant.id(), second.tenant.id()]));
    // Its second run is a newcomer's no more.
    assert_eq!(claim_room(0, 3, 104).await, []);
}

/// A worker that takes one run at a time serves each tenant in turn, though one's backlog is older than the other's.
pub async fn a_backlog_holds_nobody_up(stores: &Stores) {
    let busy = office(&*stores.platform, Plan::Team).await;
    enqueue(stores, &busy, 50, 0).await;
    let small = office(&*stores.platform, Plan::Team).await;
    enqueue(stores, &small, 2, 90).await;
    let mut served = Vec::new();
    for second in 100..104 {
        let lease = claim(stores, 1, second).await.remove(0);
        served.push(lease.scope().tenant_id());
        // The run ends at once, so that nothing but the order of service tells the tenants apart.
        let owner = if served.last() == Some(&busy.tenant.id()) { &busy } else { &small };
        let mut tx = stores.tenants.begin(&lease.scope()).await.expect("begin");
        let run = tx.runs().find(lease.run()).await.expect("find").expect("the run");
        let ended = run.cancel(owner.owner.id(), at(second)).expect("cancel");
        tx.runs().record(&lease, &ended, &[]).await.expect("record");
        tx.commit().await.expect("commit");
    }
    assert_eq!(served.iter().filter(|tenant| **tenant == small.tenant.id()).count(), 2, "{served:?}");
}

/// Tenants at their limit, however many and however old their backlogs, take nobody's place.
pub async fn tenants_at_their_limit_hold_nobody_up(stores: &Stores) {
    for _ in 0..6 {
        let full = office(&*stores.platform, Plan::Free).await;
        enqueue(stores, &full, 9, 0).await;
    }
    assert_eq!(claim(stores, 100, 100).await.len(), 12);
    let idle = office(&*stores.platform, Plan::Free).await;
    enqueue(stores, &idle, 1, 90).await;
    let granted = claim(stores, 1, 101).await;
    let tenants: Vec<_> = granted.iter().map(|lease| lease.scope().tenant_id()).collect();
    assert_eq!(tenants, [idle.tenant.id()]);
}

/// Within a tenant, the oldest run is first, whatever order the ids have.
pub async fn the_oldest_run_is_first(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    for second in [30, 10, 20] {
        enqueue(stores, &office, 1, second).await;
    }
    let mut seconds = Vec::new();
    for lease in claim(stores, 3, 100).await {
        let mut tx = stores.tenants.begin(&lease.scope()).await.expect("begin");
        let run = tx.runs().find(lease.run()).await.expect("find").expect("the run");
        seconds.push((run.created_at() - at(0)).num_seconds());
    }
    assert_eq!(seconds, [10, 20, 30]);
}

/// A run that waits is nobody's, and nobody's to claim, until somebody says that it goes on.
pub async fn a_waiting_run_is_not_granted(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    enqueue(stores, &office, 1, 0).await;
    let lease = claim(stores, 1, 100).await.remove(0);
    let mut tx = stores.tenants.begin(&lease.scope()).await.expect("begin");
    let run = tx.runs().find(lease.run()).await.expect("find").expect("the run");
    let waiting = run.start(at(101)).and_then(|run| run.wait("approval", None)).expect("wait");
    let event = NewEvent { at: at(101), body: EventBody::Waiting { reason: "approval".into() } };
    tx.runs().record(&lease, &waiting, &[event]).await.expect("record");
    tx.commit().await.expect("commit");
    assert!(matches!(stores.platform.extend(&lease, at(140)).await, Err(StoreError::LeaseLost)));
    assert!(matches!(stores.platform.release(&lease).await, Err(StoreError::LeaseLost)));
    assert!(claim(stores, 1, 1_000).await.is_empty());
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    let refused = tx.runs().record(&lease, &waiting, &[]).await;
    assert!(matches!(refused, Err(StoreError::LeaseLost)), "{refused:?}");
    let going_on = waiting.start(at(150)).expect("start");
    tx.runs().update(&going_on, &[]).await.expect("update");
    tx.commit().await.expect("commit");
    let next = claim(stores, 1, 151).await.remove(0);
    assert_eq!((next.run(), next.unproductive()), (lease.run(), 0));
}

/// A run that waits for a time is claimed then, and one with a deadline then at the latest.
pub async fn a_run_that_waits_for_a_time_is_granted_then(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    for (until, deadline, due) in [(300, None, 300), (300, Some(200), 200), (300, Some(400), 300)] {
        let placement = Placement { deadline: deadline.map(at), ..Placement::default() };
        let queued = run(office.owner.id(), &agent("helper"), 0).placed(placement);
        let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
        tx.runs().add(&queued).await.expect("add");
        tx.commit().await.expect("commit");
        let lease = claim(stores, 1, 100).await.remove(0);
        let waiting = queued.start(at(101)).and_then(|run| run.wait("time", Some(at(until)))).expect("wait");
        let mut tx = stores.tenants.begin(&lease.scope()).await.expect("begin");
        tx.runs().record(&lease, &waiting, &[]).await.expect("record");
        tx.commit().await.expect("commit");
        assert!(claim(stores, 1, due - 1).await.is_empty());
        let lease = claim(stores, 1, due).await.remove(0);
        let mut tx = stores.tenants.begin(&lease.scope()).await.expect("begin");
        let found = tx.runs().find(lease.run()).await.expect("find").expect("the run");
        assert_eq!(found, waiting, "with its placement");
        let ended = found.time_out(at(due)).expect("time out");
        tx.runs().record(&lease, &ended, &[]).await.expect("record");
        tx.commit().await.expect("commit");
    }
}

/// A run is not granted before its time, and neither deadline nor delay of one holds another up.
pub async fn a_delayed_run_is_granted_in_time(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let delayed = Placement { not_before: Some(at(200)), ..Placement::default() };
    let queued = run(office.owner.id(), &agent("helper"), 0).placed(delayed);
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    tx.runs().add(&queued).await.expect("add");
    tx.commit().await.expect("commit");
    enqueue(stores, &office, 1, 10).await;
    assert_ne!(claim(stores, 9, 199).await.iter().map(Lease::run).collect::<Vec<_>>(), [queued.id()]);
    assert_eq!(claim(stores, 9, 200).await.iter().map(Lease::run).collect::<Vec<_>>(), [queued.id()]);
}

/// Within a tenant the most urgent is first, whichever agent it is for; between tenants urgency counts for nothing.
pub async fn priorities_count_inside_a_tenant_only(stores: &Stores) {
    let one = office(&*stores.platform, Plan::Team).await;
    let other = office(&*stores.platform, Plan::Team).await;
    let add = async |office: &Office, priority: u8, second: i64| {
        let placement =
            Placement { priority: Priority::new(priority).expect("a priority"), ..Placement::default() };
        let run = run(office.owner.id(), &agent("helper"), second).placed(placement);
        let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
        tx.runs().add(&run).await.expect("add");
        tx.commit().await.expect("commit");
        run.id()
    };
    let usual = add(&one, 0, 1).await;
    let urgent = add(&one, 9, 3).await;
    let soon = add(&one, 4, 2).await;
    let patient = add(&other, 0, 9).await;
    let order: Vec<_> = claim(stores, 9, 100).await.iter().map(Lease::run).collect();
    assert_eq!(order, [urgent, patient, soon, usual]);
}

/// Within a tenant, agents take turns, and none has more runs under way than it allows.
pub async fn agents_take_turns_within_their_limits(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let (busy, other) = (agent("busy"), agent("other"));
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    let mut add = async |agent: &Agent, second: i64, agent_limit: Option<u32>| {
        let placement = Placement { agent_limit, ..Placement::default() };
        let run = run(office.owner.id(), agent, second).placed(placement);
        tx.runs().add(&run).await.expect("add");
        run.id()
    };
    let first = add(&busy, 1, Some(2)).await;
    for second in 2..9 {
        add(&busy, second, Some(2)).await;
    }
    let late = [add(&other, 50, None).await, add(&other, 51, None).await, add(&other, 52, None).await];
    tx.commit().await.expect("commit");
    let two: Vec<_> = claim(stores, 2, 100).await.iter().map(Lease::run).collect();
    assert_eq!(two, [first, late[0]]);
    let rest = claim(stores, 20, 101).await;
    assert_eq!(rest.len(), 3, "one more of the busy agent, and two of the other");
    assert!(claim(stores, 20, 102).await.is_empty());
}

/// While all wait, tenants are served in proportion to the weights of their plans.
pub async fn plans_have_their_weight(stores: &Stores) {
    let large = office(&*stores.platform, Plan::Team).await;
    let small = office(&*stores.platform, Plan::Free).await;
    for office in [&large, &small] {
        enqueue(stores, office, 60, 0).await;
    }
    let mut of_large = 0;
    for second in 100..150 {
        let lease = claim(stores, 1, second).await.remove(0);
        let is_large = lease.scope() == large.principal.scope();
        of_large += usize::from(is_large);
        let owner = if is_large { &large.owner } else { &small.owner };
        let mut tx = stores.tenants.begin(&lease.scope()).await.expect("begin");
        let run = tx.runs().find(lease.run()).await.expect("find").expect("the run");
        tx.runs()
            .record(&lease, &run.cancel(owner.id(), at(second)).expect("cancel"), &[])
            .await
            .expect("record");
        tx.commit().await.expect("commit");
    }
    assert_eq!(of_large, 40, "four of five");
}

/// A claim that comes to nothing is counted, until an effect has its outcome or the run is handed back.
pub async fn claims_without_progress_are_counted(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    enqueue(stores, &office, 1, 0).await;
    let mut second = 100;
    for unproductive in 0..3 {
        let lease = claim(stores, 1, second).await.remove(0);
        assert_eq!(lease.unproductive(), unproductive);
        let mut tx = stores.tenants.begin(&lease.scope()).await.expect("begin");
        let run = tx.runs().find(lease.run()).await.expect("find").expect("the run");
        let run =
            if run.state().started_at().is_none() { run.start(at(second)).expect("start") } else { run };
        let started = NewEvent { at: at(second), body: EventBody::Started { attempt: 1 } };
        tx.runs().record(&lease, &run, &[started]).await.expect("record");
        tx.commit().await.expect("commit");
        second += 40;
    }
    let lease = claim(stores, 1, second).await.remove(0);
    assert_eq!(lease.unproductive(), 3);
    let mut tx = stores.tenants.begin(&lease.scope()).await.expect("begin");
    let run = tx.runs().find(lease.run()).await.expect("find").expect("the run");
    let ended = EventBody::StepEnded {
        key: "0".parse().expect("a key"),
        fingerprint: serde_json::from_str("\"0\"").expect("a fingerprint"),
        outcome: EffectOutcome::Tool(ToolOutput::ok("done")),
    };
    tx.runs().record(&lease, &run, &[NewEvent { at: at(second), body: ended }]).await.expect("record");
    tx.commit().await.expect("commit");
    let lease = claim(stores, 1, second + 40).await.remove(0);
    assert_eq!(lease.unproductive(), 0);
    stores.platform.release(&lease).await.expect("release");
    assert_eq!(claim(stores, 1, second + 41).await.remove(0).unproductive(), 0);
}

/// No more of a tenant's runs are worked on at the same time than its plan has.
pub async fn a_plans_concurrency_is_kept(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Free).await;
    enqueue(stores, &office, 5, 0).await;
    let most = usize::try_from(Plan::Free.limits().concurrent_runs).expect("a small number");
    let granted = claim(stores, 10, 100).await;
    assert_eq!(granted.len(), most);
    assert!(claim(stores, 10, 101).await.is_empty());
    stores.platform.release(&granted[0]).await.expect("release");
    assert_eq!(claim(stores, 10, 102).await.len(), 1);
}

/// What a stopping worker hands back need not wait for its lease to expire.
pub async fn a_released_run_is_free_at_once(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    enqueue(stores, &office, 1, 0).await;
    let first = claim(stores, 1, 100).await.remove(0);
    stores.platform.release(&first).await.expect("release");
    let second = claim(stores, 1, 100).await.remove(0);
    assert_eq!(second.run(), first.run());
    assert!(second.token() > first.token());
}

/// A tenant that may not be used does no work; its runs are still there when it is active again.
pub async fn a_suspended_tenants_runs_wait(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    enqueue(stores, &office, 1, 0).await;
    let suspended = office.tenant.clone().suspend(SuspensionReason::Payment, at(1)).expect("suspend");
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    tx.update_tenant(&suspended).await.expect("update");
    tx.commit().await.expect("commit");
    assert!(claim(stores, 1, 100).await.is_empty());
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    tx.update_tenant(&suspended.reactivate(at(2)).expect("reactivate")).await.expect("update");
    tx.commit().await.expect("commit");
    assert_eq!(claim(stores, 1, 100).await.len(), 1);
}
