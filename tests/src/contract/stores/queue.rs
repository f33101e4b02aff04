//! The queue.

use std::collections::HashSet;
use std::time::Duration;

use powerhouse_domain::runs::Lease;
use powerhouse_domain::tenants::{Plan, SuspensionReason};

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
    stores.platform.claim(limit, at(second), LEASE).await.expect("claim")
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
