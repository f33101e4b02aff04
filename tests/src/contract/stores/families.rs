//! Runs that are begun by runs.

use std::time::Duration;

use powerhouse_domain::runs::{EventBody, Lease, Room, Run};
use powerhouse_domain::tenants::Plan;
use powerhouse_ports::store::NewEvent;

use super::Stores;
use crate::contract::sample::{Office, agent, at, office, run};

const LEASE: Duration = Duration::from_secs(30);

async fn claim(stores: &Stores, second: i64) -> Vec<Lease> {
    stores.platform.claim(Room::for_anyone(9), at(second), LEASE).await.expect("claim")
}

async fn find(stores: &Stores, lease: &Lease) -> Run {
    let mut view = stores.tenants.read(&lease.scope()).await.expect("read");
    view.runs().find(lease.run()).await.expect("find").expect("the run")
}

async fn record(stores: &Stores, lease: &Lease, run: &Run, second: i64, body: EventBody) {
    let mut tx = stores.tenants.begin(&lease.scope()).await.expect("begin");
    tx.runs().record(lease, run, &[NewEvent { at: at(second), body }]).await.expect("record");
    tx.commit().await.expect("commit");
}

/// The worker that has a run stores it as waiting.
async fn wait(stores: &Stores, lease: &Lease, second: i64) {
    let run = find(stores, lease).await;
    let waiting = run.start(at(second)).and_then(|run| run.wait("other runs", None)).expect("wait");
    record(stores, lease, &waiting, second, EventBody::Waiting { reason: "other runs".into() }).await;
}

async fn succeed(stores: &Stores, lease: &Lease, second: i64) {
    let run = find(stores, lease).await;
    let ended = run.start(at(second)).and_then(|run| run.succeed("Done.", at(second))).expect("succeed");
    record(stores, lease, &ended, second, EventBody::Succeeded { answer: "Done.".into() }).await;
}

/// A run that waits for two that it has begun, and the leases of these.
async fn family(stores: &Stores) -> (Office, Run, Vec<Lease>) {
    let office = office(&*stores.platform, Plan::Team).await;
    let helper = agent("helper");
    let parent = run(office.owner.id(), &helper, 5);
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    tx.runs().add(&parent).await.expect("add");
    tx.commit().await.expect("commit");
    let lease = claim(stores, 6).await.remove(0);
    let lineage = parent.next_lineage().expect("it is not deep");
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    for _ in 0..2 {
        tx.runs().add(&run(office.owner.id(), &helper, 7).begun_by(lineage)).await.expect("add");
    }
    tx.commit().await.expect("commit");
    wait(stores, &lease, 8).await;
    let begun = claim(stores, 9).await;
    assert_eq!(begun.len(), 2, "the one that waits is nobody's to claim");
    (office, parent, begun)
}

/// The end of each lets the one that began it go on; by whomever it was ended.
pub async fn a_run_goes_on_when_one_ends_that_it_has_begun(stores: &Stores) {
    let (_, parent, begun) = family(stores).await;
    succeed(stores, &begun[0], 10).await;
    let goes_on = claim(stores, 11).await;
    assert_eq!(goes_on.iter().map(Lease::run).collect::<Vec<_>>(), [parent.id()]);
    assert_eq!(goes_on[0].unproductive(), 0, "to wait is no failure");
    wait(stores, &goes_on[0], 12).await;
    let second = find(stores, &begun[1]).await;
    let cancelled = second.cancel(parent.requested_by(), at(13)).expect("cancel");
    let mut tx = stores.tenants.begin(&begun[1].scope()).await.expect("begin");
    let event = NewEvent { at: at(13), body: EventBody::Cancelled };
    tx.runs().update(&cancelled, &[event]).await.expect("update");
    tx.commit().await.expect("commit");
    assert_eq!(claim(stores, 14).await.len(), 1);
}

/// One that a worker has is granted to no other, whatever ends; and not twice when that worker is lost.
pub async fn a_run_that_a_worker_has_is_not_granted_again_when_one_ends(stores: &Stores) {
    let (_, parent, begun) = family(stores).await;
    succeed(stores, &begun[0], 10).await;
    assert_eq!(claim(stores, 11).await.len(), 1);
    // It was claimed, and is still stored as waiting.
    succeed(stores, &begun[1], 12).await;
    assert!(claim(stores, 13).await.is_empty());
    let after = claim(stores, 99).await;
    assert_eq!(after.iter().map(Lease::run).collect::<Vec<_>>(), [parent.id()]);
}

/// A tree is read from its top, with what has ended of it; by its tenant alone.
pub async fn trees_are_their_tenants_own(stores: &Stores) {
    let (office_of_it, parent, begun) = family(stores).await;
    succeed(stores, &begun[0], 10).await;
    let ids: Vec<_> = begun.iter().map(Lease::run).collect();
    let mut view = stores.tenants.read(&office_of_it.principal.scope()).await.expect("read");
    let tree = view.runs().tree(parent.id(), 10).await.expect("tree");
    assert_eq!(tree[0].id(), parent.id());
    let below: Vec<_> = tree[1..].iter().map(|run| run.lineage().expect("it was begun").parent).collect();
    assert_eq!(below, [parent.id(), parent.id()]);
    assert_eq!(view.runs().tree(parent.id(), 2).await.expect("tree").len(), 2);
    let ended = view.runs().ended_among(&ids).await.expect("ended");
    assert_eq!(ended.iter().map(Run::id).collect::<Vec<_>>(), [ids[0]]);
    drop(view);
    let other = office(&*stores.platform, Plan::Team).await;
    let mut view = stores.tenants.read(&other.principal.scope()).await.expect("read");
    assert!(view.runs().tree(parent.id(), 10).await.expect("tree").is_empty());
    assert!(view.runs().ended_among(&ids).await.expect("ended").is_empty());
}
