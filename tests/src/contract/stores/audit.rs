//! The audit trail: who changed what, chained.

use chrono::{DateTime, TimeDelta, Utc};
use powerhouse_domain::audit::{Actor, AuditAction, AuditRecord, Entry, Fault, Head, Verified, Verifier};
use powerhouse_domain::ids::AgentId;
use powerhouse_domain::tenants::Plan;
use powerhouse_ports::platform::Rotation;
use powerhouse_ports::request;
use powerhouse_ports::store::{AuditFilter, Limit, TenantTx};

use super::Stores;
use super::sessions::digest;
use crate::contract::sample::{Office, at, next_id, office};

fn entry(office: &Office, action: AuditAction, resource: &str, at: DateTime<Utc>) -> Entry {
    Entry::by(&office.principal, action, resource, at)
}

async fn append(stores: &Stores, office: &Office, entry: Entry) {
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    tx.audit().append(entry).await.expect("append");
    tx.commit().await.expect("commit");
}

/// The whole trail, read in small pieces, and the head that the store knows.
async fn trail(stores: &Stores, office: &Office) -> (Vec<AuditRecord>, Option<Head>) {
    let mut view = stores.tenants.read(&office.principal.scope()).await.expect("read");
    let mut records: Vec<AuditRecord> = Vec::new();
    loop {
        let after = records.last().map(AuditRecord::place);
        let next = view.audit().records(&AuditFilter::default(), after, 2).await.expect("records");
        if next.is_empty() {
            return (records, view.audit().head().await.expect("head"));
        }
        records.extend(next);
    }
}

fn verified(records: &[AuditRecord]) -> Verified {
    let mut verifier = Verifier::default();
    for record in records {
        verifier.add(record).expect("the trail is whole");
    }
    verifier.verified().expect("a record")
}

fn actions(records: &[AuditRecord]) -> Vec<&'static str> {
    records.iter().map(|record| record.entry.action.as_str()).collect()
}

/// Whoever writes at the same time, numbers have no gap, times do not go back, and each record follows the one before.
pub async fn records_are_chained_in_the_order_of_their_commits(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let writers = (0..8).map(|number| {
        let (stores, office) = (stores.clone(), office.clone());
        // Their clocks differ.
        let entry = entry(&office, AuditAction::UserChanged, "user_x", at(100 - number));
        tokio::spawn(request::serving(format!("request-{number}"), async move {
            append(&stores, &office, entry.with("role", "admin")).await;
        }))
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("no panic");
    }
    let (records, head) = trail(stores, &office).await;
    let whole = verified(&records);
    assert_eq!((whole.first, whole.head.seq, whole.tenant), (1, 9, office.tenant.id()));
    assert_eq!(head, Some(whole.head));
    let first = &records[0].entry;
    assert_eq!(
        (first.action, first.resource.as_str()),
        (AuditAction::TenantFounded, &*office.tenant.id().to_string())
    );
    assert_eq!(first.actor, Actor::User { user: office.owner.id(), session: None });
    assert_eq!(first.correlation_id, None);
    let mut requests: Vec<_> =
        records[1..].iter().filter_map(|record| record.entry.correlation_id.clone()).collect();
    requests.sort();
    assert_eq!(requests, (0..8).map(|number| format!("request-{number}")).collect::<Vec<_>>());
    assert!(records[1..].iter().all(|record| record.entry.details["role"] == "admin"));
}

/// A record lasts with its transaction, or not at all, and then leaves no gap.
pub async fn a_record_lasts_with_its_change_or_not_at_all(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    for _ in 0..2 {
        tx.audit().append(entry(&office, AuditAction::UserAdded, "user_x", at(1))).await.expect("append");
    }
    drop(tx);
    append(stores, &office, entry(&office, AuditAction::UserRemoved, "user_x", at(2))).await;
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    for second in [3, 4] {
        let entry = entry(&office, AuditAction::UserAdded, "user_x", at(second));
        tx.audit().append(entry).await.expect("several in one transaction");
    }
    tx.commit().await.expect("commit");
    let (records, _) = trail(stores, &office).await;
    assert_eq!(verified(&records).head.seq, 4);
    assert_eq!(actions(&records), ["tenant.founded", "user.removed", "user.added", "user.added"]);
}

/// Records survive to the microsecond, and any that was changed behind our back is told.
pub async fn records_survive(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let precise = at(5) + TimeDelta::nanoseconds(123_456_789);
    let written = Entry::new(Actor::Platform, AuditAction::SchedulePaused, "schedule_x", precise)
        .with("reason", "é \" \\ \n")
        .with("a", "")
        .asked_by(None);
    append(stores, &office, written.clone()).await;
    let (mut records, _) = trail(stores, &office).await;
    assert_eq!(records[1].entry, written);
    assert_eq!(records[1].entry.at, at(5) + TimeDelta::microseconds(123_456));
    records[1].entry.details.insert("a".to_owned(), "x".to_owned());
    let mut verifier = Verifier::default();
    verifier.add(&records[0]).expect("the first is as it was");
    assert_eq!(verifier.add(&records[1]).expect_err("changed").fault, Fault::Content);
}

/// Pages, the newest first, of what was asked for only.
pub async fn records_are_listed_by_what_is_asked_for(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let agent = AgentId::from_uuid(next_id()).to_string();
    for second in 1..=6 {
        let action = if second % 2 == 0 { AuditAction::AgentEdited } else { AuditAction::AgentPublished };
        // Two at the same time.
        append(stores, &office, entry(&office, action, &agent, at(second / 2))).await;
    }
    let mut view = stores.tenants.read(&office.principal.scope()).await.expect("read");
    let two = Limit::new(2).expect("a limit");
    let mut found: Vec<u64> = Vec::new();
    let mut before = None;
    loop {
        let page = view.audit().list(&AuditFilter::default(), before, two).await.expect("list");
        found.extend(page.items.iter().map(|record| record.seq));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(found, [7, 6, 5, 4, 3, 2, 1]);
    let all = AuditFilter::default;
    let owner = office.owner.id().to_string();
    for (filter, numbers) in [
        (AuditFilter { from: Some(at(2)), ..all() }, &[7, 6, 5][..]),
        (AuditFilter { until: Some(at(1)), ..all() }, &[2, 1]),
        (AuditFilter { from: Some(at(1)), until: Some(at(2)), ..all() }, &[4, 3]),
        (AuditFilter { action: Some(AuditAction::AgentEdited), ..all() }, &[7, 5, 3]),
        (AuditFilter { actor: Some(owner), ..all() }, &[7, 6, 5, 4, 3, 2, 1]),
        (AuditFilter { actor: Some("platform".to_owned()), ..all() }, &[]),
        (AuditFilter { resource: Some(agent.clone()), until: Some(at(1)), ..all() }, &[2]),
        (AuditFilter { resource: Some(office.tenant.id().to_string()), ..all() }, &[1]),
    ] {
        let page = view.audit().list(&filter, None, Limit::default()).await.expect("list");
        assert_eq!(page.items.iter().map(|record| record.seq).collect::<Vec<_>>(), numbers, "{filter:?}");
        let mut in_order = view.audit().records(&filter, None, 9).await.expect("records");
        in_order.reverse();
        assert_eq!(in_order, page.items, "{filter:?}");
    }
}

/// Each tenant has a trail of its own: nobody sees another's, or adds to it.
pub async fn trails_are_their_tenants_own(stores: &Stores) {
    let ours = office(&*stores.platform, Plan::Team).await;
    let theirs = office(&*stores.platform, Plan::Team).await;
    append(stores, &theirs, entry(&theirs, AuditAction::AgentCreated, "agent_x", at(1))).await;
    append(stores, &ours, entry(&ours, AuditAction::UserAdded, "user_x", at(2))).await;
    append(stores, &theirs, entry(&theirs, AuditAction::AgentEdited, "agent_x", at(3))).await;
    for (office, expected) in [
        (&ours, &["tenant.founded", "user.added"][..]),
        (&theirs, &["tenant.founded", "agent.created", "agent.edited"]),
    ] {
        let (records, head) = trail(stores, office).await;
        assert_eq!(actions(&records), expected);
        assert_eq!(head, Some(verified(&records).head));
        let mut view = stores.tenants.read(&office.principal.scope()).await.expect("read");
        let listed =
            view.audit().list(&AuditFilter::default(), None, Limit::default()).await.expect("list").items;
        assert_eq!(listed.len(), expected.len());
    }
    let mut tx = stores.tenants.begin(&ours.principal.scope()).await.expect("begin");
    their_records_are_not_seen(&mut *tx, &theirs).await;
}

async fn their_records_are_not_seen(tx: &mut dyn TenantTx, theirs: &Office) {
    let filter = AuditFilter { actor: Some(theirs.owner.id().to_string()), ..AuditFilter::default() };
    assert!(tx.audit().list(&filter, None, Limit::default()).await.expect("list").items.is_empty());
    assert!(tx.audit().records(&filter, None, 9).await.expect("records").is_empty());
}

/// Signing in, signing out, and a refresh token that comes back leave records; what changes nothing leaves none (S12).
pub async fn what_becomes_of_sessions_is_written_down(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let (first, second, third) = (digest(), digest(), digest());
    let principal = &office.principal;
    request::serving("sign-in".to_owned(), async {
        stores.platform.open_session(principal, &first, at(1), at(1_000)).await.expect("session");
    })
    .await;
    stores.platform.rotate(&first, &second, at(2)).await.expect("rotate");
    stores.platform.rotate(&second, &third, at(3)).await.expect("rotate");
    let reused = stores.platform.rotate(&first, &digest(), at(4)).await.expect("rotate");
    assert_eq!(reused, Rotation::Reused(*principal));
    stores.platform.rotate(&first, &digest(), at(5)).await.expect("it has ended");
    let other = crate::contract::sample::signed_in_again(&office);
    stores.platform.open_session(&other, &digest(), at(6), at(1_000)).await.expect("session");
    for second in [7, 8] {
        stores.platform.end_session(other.session_id(), at(second)).await.expect("end");
    }
    let (records, head) = trail(stores, &office).await;
    assert_eq!(head, Some(verified(&records).head));
    assert_eq!(
        actions(&records),
        ["tenant.founded", "session.opened", "session.refresh_reused", "session.opened", "session.ended"]
    );
    for (record, session) in records[1..].iter().zip([
        principal.session_id(),
        principal.session_id(),
        other.session_id(),
        other.session_id(),
    ]) {
        assert_eq!(record.entry.actor, Actor::User { user: office.owner.id(), session: Some(session) });
        assert_eq!(record.entry.resource, session.to_string());
    }
    assert_eq!(records[1].entry.correlation_id.as_deref(), Some("sign-in"));
}
