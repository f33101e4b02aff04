//! Webhooks: what is announced to whom, in the transaction of the change, and who sends it.

use std::collections::HashSet;
use std::time::Duration;

use powerhouse_domain::ids::{MessageId, WebhookId};
use powerhouse_domain::runs::{EventBody, Room, Run};
use powerhouse_domain::tenants::{Plan, SuspensionReason};
use powerhouse_domain::webhooks::{
    Announced, Announcement, Attempt, Delivery, DeliveryState, DisabledReason, DueDelivery, Endpoint,
    EndpointState, Filter, Retries,
};
use powerhouse_ports::store::{Limit, NewEvent, SealedSecrets, StoreError};

use super::Stores;
use crate::contract::sample::{Office, agent, at, next_id, office, run};

const CLAIM: Duration = Duration::from_mins(1);

pub(super) fn endpoint(office: &Office, events: &[Announced]) -> Endpoint {
    Endpoint {
        id: WebhookId::from_uuid(next_id()),
        url: "https://example.org/hook".parse().expect("an address"),
        filter: Filter::new(events.to_vec()).expect("a filter"),
        state: EndpointState::Enabled,
        created_by: office.owner.id(),
        created_at: at(0),
        version: 1,
    }
}

pub(super) fn secrets() -> SealedSecrets {
    SealedSecrets { current: vec![1, 2, 3], previous: None }
}

async fn stored(stores: &Stores, office: &Office, events: &[Announced]) -> Endpoint {
    let endpoint = endpoint(office, events);
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    tx.webhooks().add(&endpoint, &secrets()).await.expect("add");
    tx.commit().await.expect("commit");
    endpoint
}

async fn deliveries(stores: &Stores, office: &Office, id: WebhookId) -> Vec<Delivery> {
    let mut view = stores.tenants.read(&office.principal.scope()).await.expect("read");
    let limit = Limit::new(100).expect("a limit");
    view.webhooks().deliveries(id, None, limit).await.expect("deliveries").items
}

/// What was announced to an endpoint, in the order in which it happened.
async fn announced(stores: &Stores, office: &Office, id: WebhookId) -> Vec<&'static str> {
    let mut deliveries = deliveries(stores, office, id).await;
    deliveries.sort_by_key(|delivery| delivery.parts().created_at);
    deliveries.iter().map(|delivery| delivery.parts().event.as_str()).collect()
}

async fn claim(stores: &Stores, limit: u32, second: i64) -> Vec<DueDelivery> {
    stores.platform.claim_deliveries(limit, at(second), CLAIM).await.expect("claim")
}

/// Stores a run, which is announced.
async fn accepted(stores: &Stores, office: &Office) -> Run {
    let queued = run(office.owner.id(), &agent("helper"), 1);
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    tx.runs().add(&queued).await.expect("add");
    tx.commit().await.expect("commit");
    queued
}

async fn record(stores: &Stores, due: &DueDelivery, delivery: &Delivery) -> bool {
    let mut tx = stores.tenants.begin(&due.scope()).await.expect("begin");
    let is_stored = tx.webhooks().record(due, delivery).await.expect("record");
    tx.commit().await.expect("commit");
    is_stored
}

fn answered(status: u16, second: i64) -> Attempt {
    Attempt { at: at(second), status: Some(status), note: "so".into() }
}

fn retries() -> Retries {
    Retries::new(vec![Duration::from_secs(100)]).expect("pauses")
}

/// What starts, stops or ends a run is announced to those who want to hear of it, with the change or not at all.
pub async fn a_change_and_its_announcement_do_not_part(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let all = stored(stores, &office, &[]).await;
    let ends = stored(stores, &office, &[Announced::Succeeded, Announced::Failed, Announced::TimedOut]).await;
    let off = stored(stores, &office, &[]).await;
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    let disabled = off.clone().change(off.url.clone(), Filter::default(), false, at(0));
    tx.webhooks().update(&disabled).await.expect("update");
    tx.commit().await.expect("commit");

    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    tx.runs().add(&run(office.owner.id(), &agent("helper"), 1)).await.expect("add");
    drop(tx);
    assert!(announced(stores, &office, all.id).await.is_empty(), "what was taken back is not announced");

    let queued = accepted(stores, &office).await;
    let lease =
        stores.platform.claim(Room::for_anyone(1), at(10), Duration::from_mins(1)).await.expect("claim")[0];
    let started = queued.start(at(10)).expect("start");
    let event = |second, body| NewEvent { at: at(second), body };
    let mut tx = stores.tenants.begin(&lease.scope()).await.expect("begin");
    tx.runs()
        .record(&lease, &started, &[event(10, EventBody::Started { attempt: 1 })])
        .await
        .expect("record");
    tx.commit().await.expect("commit");
    let ended = started.succeed("42", at(20)).expect("succeed");
    let mut tx = stores.tenants.begin(&lease.scope()).await.expect("begin");
    let end = [event(20, EventBody::Succeeded { answer: "42".into() })];
    tx.runs().record(&lease, &ended, &end).await.expect("record");
    tx.commit().await.expect("commit");
    let late = ended.clone();
    let mut tx = stores.tenants.begin(&lease.scope()).await.expect("begin");
    assert!(tx.runs().record(&lease, &late, &end).await.is_err(), "it has ended");
    drop(tx);

    assert_eq!(announced(stores, &office, all.id).await, ["run.queued", "run.started", "run.succeeded"]);
    assert_eq!(announced(stores, &office, ends.id).await, ["run.succeeded"]);
    assert!(announced(stores, &office, off.id).await.is_empty());
    let one = deliveries(stores, &office, ends.id).await.remove(0);
    let expected = Announcement::of_run(Announced::Succeeded, &ended, 3, at(20));
    assert_eq!((one.parts().message, &one.parts().payload), (expected.message, &expected.payload));
    assert_eq!(
        (one.parts().run, one.parts().state),
        (Some(ended.id()), DeliveryState::Pending { next_at: at(20) })
    );
    assert!(
        deliveries(stores, &office, all.id)
            .await
            .iter()
            .any(|other| other.parts().message == expected.message)
    );
}

/// A delivery goes to one caller at a time; each claim counts, and an older one writes nothing.
pub async fn a_due_delivery_is_claimed_once(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let hook = stored(stores, &office, &[]).await;
    for _ in 0..10 {
        accepted(stores, &office).await;
    }
    assert!(claim(stores, 99, 0).await.is_empty());
    let claims = (0..6).map(|_| {
        let stores = stores.clone();
        tokio::spawn(async move { claim(&stores, 4, 5).await })
    });
    let mut claimed = Vec::new();
    for claim in claims.collect::<Vec<_>>() {
        claimed.extend(claim.await.expect("the claim ends"));
    }
    claimed.extend(claim(stores, 99, 5).await);
    let distinct: HashSet<MessageId> = claimed.iter().map(DueDelivery::message).collect();
    assert_eq!((claimed.len(), distinct.len()), (10, 10));
    assert!(claimed.iter().all(|due| due.attempt() == 1 && due.scope() == office.principal.scope()));

    let old = claimed[0];
    let again = claim(stores, 99, 66).await;
    let new = *again.iter().find(|due| due.message() == old.message()).expect("the claim was over");
    assert_eq!(new.attempt(), 2);
    let all = deliveries(stores, &office, hook.id).await;
    let delivery =
        all.into_iter().find(|found| found.parts().message == old.message()).expect("the delivery");
    let delivered = delivery.clone().attempted(answered(204, 70), &retries());
    assert!(!record(stores, &old, &delivered).await, "a claim that is over");
    assert!(record(stores, &new, &delivered).await);
    assert!(!record(stores, &new, &delivered).await, "it has arrived");
    let mut view = stores.tenants.read(&office.principal.scope()).await.expect("read");
    let found = view.webhooks().delivery(hook.id, old.message()).await.expect("find").expect("the delivery");
    assert_eq!(found, delivered);
}

/// What failed comes again in its time, what is over stays over until it is replayed, and then goes after a while.
pub async fn deliveries_end_and_are_replayed(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let hook = stored(stores, &office, &[]).await;
    accepted(stores, &office).await;
    let found = async || deliveries(stores, &office, hook.id).await.remove(0);
    let due = claim(stores, 1, 5).await.remove(0);
    assert!(record(stores, &due, &found().await.attempted(answered(500, 6), &retries())).await);
    let DeliveryState::Pending { next_at } = found().await.parts().state else { panic!("it is tried again") };
    let second = (next_at - at(0)).num_seconds() + 1;
    assert!(claim(stores, 1, 90).await.is_empty());
    let due = claim(stores, 1, second).await.remove(0);
    assert!(record(stores, &due, &found().await.attempted(answered(500, second), &retries())).await);
    let dead = found().await;
    assert_eq!((dead.parts().state, dead.parts().attempts), (DeliveryState::Dead { at: at(second) }, 2));
    assert!(claim(stores, 1, 9_999).await.is_empty());

    let replayed = dead.replay(at(300)).expect("it is dead");
    for is_first in [true, false] {
        let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
        let done = tx.webhooks().replay(&replayed).await;
        assert_eq!(done.is_ok(), is_first, "{done:?}");
        if is_first {
            tx.commit().await.expect("commit");
        }
    }
    assert_eq!(stores.platform.purge_deliveries(at(9_999), 9).await.expect("purge"), 0, "it is on its way");
    let due = claim(stores, 1, 301).await.remove(0);
    assert_eq!(due.attempt(), 3);
    assert!(record(stores, &due, &found().await.attempted(answered(200, 302), &retries())).await);
    assert_eq!(stores.platform.purge_deliveries(at(302), 9).await.expect("purge"), 0);
    assert_eq!(stores.platform.purge_deliveries(at(303), 9).await.expect("purge"), 1);
    assert!(deliveries(stores, &office, hook.id).await.is_empty());
}

/// Tenants take turns, and those that are suspended wait.
pub async fn deliveries_of_tenants_take_turns(stores: &Stores) {
    let (busy, small) =
        (office(&*stores.platform, Plan::Team).await, office(&*stores.platform, Plan::Team).await);
    let suspended = office(&*stores.platform, Plan::Team).await;
    for (office, count) in [(&busy, 20), (&suspended, 1), (&small, 1)] {
        stored(stores, office, &[]).await;
        for _ in 0..count {
            accepted(stores, office).await;
        }
    }
    let mut tx = stores.tenants.begin(&suspended.principal.scope()).await.expect("begin");
    let tenant = suspended.tenant.clone().suspend(SuspensionReason::Payment, at(1)).expect("suspend");
    tx.update_tenant(&tenant).await.expect("update");
    tx.commit().await.expect("commit");
    let scopes: HashSet<_> = claim(stores, 2, 5).await.iter().map(DueDelivery::scope).collect();
    assert_eq!(scopes, HashSet::from([busy.principal.scope(), small.principal.scope()]));
}

/// What is stored of an endpoint is found as it was; a change of an older version is refused, and all goes with it.
pub async fn webhooks_survive(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let hook = stored(stores, &office, &[Announced::Failed, Announced::TimedOut]).await;
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    let hooks = tx.webhooks();
    assert_eq!(hooks.find(hook.id).await.expect("find").as_ref(), Some(&hook));
    assert_eq!(hooks.secrets(hook.id).await.expect("secrets"), Some(secrets()));
    let rotated = SealedSecrets { current: vec![4], previous: Some((vec![1, 2, 3], at(99))) };
    hooks.put_secrets(hook.id, &rotated).await.expect("put");
    assert_eq!(hooks.secrets(hook.id).await.expect("secrets"), Some(rotated));
    let gone = hook.clone().gone(at(5));
    hooks.update(&gone).await.expect("update");
    assert!(matches!(hooks.update(&gone).await, Err(StoreError::Conflict { .. })));
    assert_eq!(gone.state, EndpointState::Disabled { reason: DisabledReason::Gone, since: at(5) });
    let test = Announcement::test(MessageId::from_uuid(next_id()), at(6));
    hooks.announce(hook.id, &test).await.expect("announce");
    let page = hooks.list(None, Limit::default()).await.expect("list");
    assert_eq!((page.items, page.next, hooks.count().await.expect("count")), (vec![gone], None, 1));
    tx.commit().await.expect("commit");
    let sent = deliveries(stores, &office, hook.id).await;
    assert_eq!((sent.len(), &sent[0].parts().payload), (1, &test.payload));
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    assert!(tx.webhooks().remove(hook.id).await.expect("remove"));
    tx.commit().await.expect("commit");
    assert!(deliveries(stores, &office, hook.id).await.is_empty());
    assert!(claim(stores, 9, 99).await.is_empty());
}

/// With every id of another tenant in hand, nothing is found, announced, sent or changed.
pub async fn webhooks_are_their_tenants_own(stores: &Stores) {
    let (ours, theirs) =
        (office(&*stores.platform, Plan::Team).await, office(&*stores.platform, Plan::Team).await);
    let hook = stored(stores, &theirs, &[]).await;
    accepted(stores, &ours).await;
    assert!(deliveries(stores, &theirs, hook.id).await.is_empty(), "another tenant's run was announced");
    accepted(stores, &theirs).await;
    let due = claim(stores, 9, 5).await;
    assert_eq!(due.iter().map(DueDelivery::scope).collect::<Vec<_>>(), [theirs.principal.scope()]);
    let delivery = deliveries(stores, &theirs, hook.id).await.remove(0);
    assert!(deliveries(stores, &ours, hook.id).await.is_empty());

    let dead = delivery.clone().given_up("no", at(6));
    let mut tx = stores.tenants.begin(&ours.principal.scope()).await.expect("begin");
    let hooks = tx.webhooks();
    assert_eq!(hooks.find(hook.id).await.expect("find"), None);
    assert_eq!(hooks.secrets(hook.id).await.expect("secrets"), None);
    assert_eq!(hooks.delivery(hook.id, due[0].message()).await.expect("find"), None);
    assert!(hooks.list(None, Limit::default()).await.expect("list").items.is_empty());
    assert_eq!(hooks.count().await.expect("count"), 0);
    assert!(hooks.update(&hook.clone().gone(at(5))).await.is_err());
    assert!(hooks.put_secrets(hook.id, &secrets()).await.is_err());
    assert!(!hooks.remove(hook.id).await.expect("remove"));
    assert!(!hooks.record(&due[0], &dead).await.expect("record"));
    assert!(hooks.replay(&dead).await.is_err());
    let test = Announcement::test(MessageId::from_uuid(next_id()), at(6));
    assert!(hooks.announce(hook.id, &test).await.is_err(), "another tenant's endpoint was told");
    drop(tx);
    assert_eq!(deliveries(stores, &theirs, hook.id).await, [delivery]);
}
