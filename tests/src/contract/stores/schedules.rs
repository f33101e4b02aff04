//! Schedules: their rows, and who may fire them.

use std::collections::HashSet;
use std::time::Duration;

use powerhouse_domain::ids::{AgentId, ScheduleId};
use powerhouse_domain::runs::{Priority, Task};
use powerhouse_domain::schedules::{
    CatchUp, DueSchedule, Missed, Order, PauseReason, Plan, Schedule, ScheduleState, Timing,
};
use powerhouse_domain::selection::{Target, Wish};
use powerhouse_domain::tenants::{Plan as TenantPlan, SuspensionReason};
use powerhouse_ports::store::{Limit, StoreError};

use super::Stores;
use crate::contract::sample::{Office, at, next_id, office};

const CLAIM: Duration = Duration::from_secs(30);

fn plan(missed: Missed) -> Plan {
    Plan {
        name: "nightly".parse().expect("a name"),
        timing: Timing::new("* * * * *", "Europe/Berlin").expect("a timing"),
        missed,
        order: Order {
            task: Task::new("Report").expect("a task"),
            target: Target::Auto(Wish {
                candidates: vec![AgentId::from_uuid(next_id())],
                capabilities: vec!["numbers".into()],
            }),
            priority: Priority::new(3).expect("a priority"),
            within: Some(Duration::from_hours(1)),
        },
    }
}

/// A stored schedule, made at second 0; it is due from second 60 on.
async fn stored(stores: &Stores, office: &Office) -> Schedule {
    let id = ScheduleId::from_uuid(next_id());
    let schedule = Schedule::new(id, office.owner.id(), plan(Missed::Once), at(0)).expect("it fires");
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    tx.schedules().add(&schedule).await.expect("add");
    tx.commit().await.expect("commit");
    schedule
}

async fn update(stores: &Stores, office: &Office, schedule: &Schedule) -> Result<(), StoreError> {
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    tx.schedules().update(schedule).await?;
    tx.commit().await
}

async fn claim(stores: &Stores, limit: u32, second: i64) -> Vec<ScheduleId> {
    let due = stores.platform.claim_schedules(limit, at(second), CLAIM).await.expect("claim");
    due.iter().map(DueSchedule::schedule).collect()
}

/// What is stored is found as it was, whatever state it is in; a change of an older version is refused.
pub async fn schedules_survive(stores: &Stores) {
    let office = office(&*stores.platform, TenantPlan::Team).await;
    let mut schedule = stored(stores, &office).await;
    let agent = AgentId::from_uuid(next_id());
    let mut named = plan(Missed::CatchUp(CatchUp::new(7).expect("a number")));
    named.order = Order { target: Target::Agent(agent), within: None, ..named.order };
    let changes: [&dyn Fn(Schedule) -> Schedule; 6] = [
        &|schedule| schedule.fired(Some(at(60)), at(61)),
        &|schedule| schedule.pause(PauseReason::Refused("no agent".into()), at(62)),
        &|schedule| schedule.resume(at(63)).expect("it fires"),
        &|schedule| schedule.change(office.owner.id(), named.clone(), at(64)).expect("it fires"),
        &|schedule| schedule.pause(PauseReason::RequesterGone, at(65)),
        &|schedule| schedule.change(office.owner.id(), plan(Missed::Skip), at(66)).expect("it fires"),
    ];
    for change in changes {
        let before = schedule.clone();
        schedule = change(schedule);
        update(stores, &office, &schedule).await.expect("update");
        let stale = update(stores, &office, &change(before)).await;
        assert!(matches!(stale, Err(StoreError::Conflict { .. })), "{stale:?}");
        let mut view = stores.tenants.read(&office.principal.scope()).await.expect("read");
        assert_eq!(view.schedules().find(schedule.id()).await.expect("find").as_ref(), Some(&schedule));
        let page = view.schedules().list(None, Limit::default()).await.expect("list");
        assert_eq!((page.items, page.next), (vec![schedule.clone()], None));
        assert_eq!(view.schedules().count().await.expect("count"), 1);
    }
    assert!(matches!(schedule.state(), ScheduleState::Paused { reason: PauseReason::RequesterGone, .. }));
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    assert!(tx.schedules().remove(schedule.id()).await.expect("remove"));
    assert!(!tx.schedules().remove(schedule.id()).await.expect("remove"));
}

/// However many look at the same time, each schedule that is due goes to one of them; whose claim comes to nothing loses
/// it in time.
pub async fn a_due_schedule_is_claimed_once(stores: &Stores) {
    let office = office(&*stores.platform, TenantPlan::Team).await;
    let mut schedules = Vec::new();
    for _ in 0..10 {
        schedules.push(stored(stores, &office).await);
    }
    assert!(claim(stores, 99, 59).await.is_empty(), "it is not time yet");
    let claims = (0..6).map(|_| {
        let stores = stores.clone();
        tokio::spawn(async move { claim(&stores, 4, 60).await })
    });
    let mut claimed = Vec::new();
    for claim in claims.collect::<Vec<_>>() {
        claimed.extend(claim.await.expect("the claim ends"));
    }
    claimed.extend(claim(stores, 99, 60).await);
    assert_eq!((claimed.len(), claimed.iter().collect::<HashSet<_>>().len()), (10, 10));
    assert!(claim(stores, 99, 89).await.is_empty());
    // One was seen to, and one was paused.
    update(stores, &office, &schedules[0].clone().fired(None, at(70))).await.expect("update");
    update(stores, &office, &schedules[1].clone().pause(PauseReason::Asked, at(70))).await.expect("update");
    assert_eq!(claim(stores, 99, 91).await.len(), 8);
    assert_eq!(claim(stores, 99, 120).await, [schedules[0].id()], "its next time has come");
}

/// Schedules of a tenant that is suspended wait, and each claim is good for the tenant whose schedule it is.
pub async fn schedules_of_a_suspended_tenant_wait(stores: &Stores) {
    let (one, other) = (
        office(&*stores.platform, TenantPlan::Team).await,
        office(&*stores.platform, TenantPlan::Team).await,
    );
    stored(stores, &one).await;
    let theirs = stored(stores, &other).await;
    let mut tx = stores.tenants.begin(&one.principal.scope()).await.expect("begin");
    let suspended = one.tenant.clone().suspend(SuspensionReason::Payment, at(1)).expect("suspend");
    tx.update_tenant(&suspended).await.expect("update");
    tx.commit().await.expect("commit");
    let due = stores.platform.claim_schedules(9, at(60), CLAIM).await.expect("claim");
    assert_eq!(due.iter().map(DueSchedule::schedule).collect::<Vec<_>>(), [theirs.id()]);
    assert_eq!(due[0].scope(), other.principal.scope());
}

/// With the id of another tenant's schedule in hand, nothing is found and nothing changes.
pub async fn schedules_are_their_tenants_own(stores: &Stores) {
    let (ours, theirs) = (
        office(&*stores.platform, TenantPlan::Team).await,
        office(&*stores.platform, TenantPlan::Team).await,
    );
    let schedule = stored(stores, &theirs).await;
    let mut tx = stores.tenants.begin(&ours.principal.scope()).await.expect("begin");
    assert_eq!(tx.schedules().find(schedule.id()).await.expect("find"), None);
    assert!(tx.schedules().list(None, Limit::default()).await.expect("list").items.is_empty());
    assert_eq!(tx.schedules().count().await.expect("count"), 0);
    assert!(!tx.schedules().remove(schedule.id()).await.expect("remove"));
    let refused = tx.schedules().update(&schedule.clone().pause(PauseReason::Asked, at(5))).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    tx.schedules().add(&schedule).await.expect("the same id is free here");
    tx.commit().await.expect("commit");
    assert_eq!(claim(stores, 9, 60).await, [schedule.id(); 2], "each tenant has one of this id");
}
