//! What is kept, and what goes.

use chrono::{DateTime, NaiveDate, Utc};
use powerhouse_domain::audit::{AuditAction, Entry, Verifier};
use powerhouse_domain::ids::AgentId;
use powerhouse_domain::model::Usage;
use powerhouse_domain::money::{Grouping, UsageKey};
use powerhouse_domain::runs::{EventBody, Feedback, Run, Verdict};
use powerhouse_domain::tenants::Plan;
use powerhouse_ports::store::{AuditFilter, NewEvent};

use super::Stores;
use crate::contract::sample::{Office, agent, office, run_of};

/// The middle of a month.
fn day(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

async fn stored(stores: &Stores, office: &Office, accepted: DateTime<Utc>, is_over: bool) -> Run {
    let mut run = run_of(office.owner.id(), &agent("helper"), accepted);
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    tx.runs().add(&run).await.expect("add");
    let word = Feedback::new(office.owner.id(), Verdict::Good, String::new(), accepted).expect("feedback");
    tx.runs().put_feedback(run.id(), &word).await.expect("feedback");
    if is_over {
        run = run.cancel(office.owner.id(), accepted).expect("cancel");
        let event = NewEvent { at: accepted, body: EventBody::Cancelled };
        tx.runs().update(&run, &[event]).await.expect("update");
    }
    tx.commit().await.expect("commit");
    run
}

/// Whether a run is there: with its journal and its feedback, or without anything.
async fn is_there(stores: &Stores, office: &Office, run: &Run) -> bool {
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    let found = tx.runs().find(run.id()).await.expect("find").is_some();
    let events = tx.runs().events(run.id(), 0, 10).await.expect("events");
    let feedback = tx.runs().feedback(run.id(), office.owner.id()).await.expect("feedback");
    assert_eq!((!events.is_empty(), feedback.is_some()), (found, found));
    found
}

/// A run goes when its whole month was over before the time that is given, of whichever tenant it is; one that has not
/// ended stays, however old. It goes with its journal and what people thought of it, the oldest first.
pub async fn old_runs_are_purged_with_all_that_is_theirs_and_no_others(stores: &Stores) {
    let one = office(&*stores.platform, Plan::Team).await;
    let other = office(&*stores.platform, Plan::Team).await;
    stores.platform.make_room().await.expect("room");
    let oldest = stored(stores, &other, day("2024-03-01T00:00:00Z"), true).await;
    let old = stored(stores, &one, day("2024-09-30T23:59:59.999Z"), true).await;
    let under_way = stored(stores, &one, day("2024-09-02T12:00:00Z"), false).await;
    let young = stored(stores, &one, day("2024-10-01T00:00:00Z"), true).await;
    let purge =
        async |before: &str, limit: u32| stores.platform.purge_runs(day(before), limit).await.expect("purge");
    assert_eq!(purge("2024-03-31T23:59:59Z", 9).await, 0, "March is not over");
    assert_eq!(purge("2024-10-31T00:00:00Z", 1).await, 1);
    assert!(!is_there(stores, &other, &oldest).await && is_there(stores, &one, &old).await);
    assert_eq!(purge("2024-10-31T00:00:00Z", 9).await, 1);
    assert_eq!(purge("2024-10-31T00:00:00Z", 9).await, 0);
    assert!(!is_there(stores, &one, &old).await);
    assert!(is_there(stores, &one, &under_way).await && is_there(stores, &one, &young).await);
}

/// Usage goes when its whole month was over before the time that is given, of whichever tenant it is.
pub async fn usage_of_old_months_is_purged_and_no_other(stores: &Stores) {
    let one = office(&*stores.platform, Plan::Team).await;
    let other = office(&*stores.platform, Plan::Team).await;
    stores.platform.make_room().await.expect("room");
    let days = ["2024-03-01", "2024-09-30", "2024-10-01"].map(|day| day.parse::<NaiveDate>().expect("a day"));
    for office in [&one, &other] {
        let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
        for day in days {
            let agent = AgentId::from_uuid(office.owner.id().as_uuid());
            let key = UsageKey { day, agent: Some(agent), user: office.owner.id(), model: "m".to_owned() };
            tx.usage().add(&key, 1, Usage::default()).await.expect("add");
        }
        tx.commit().await.expect("commit");
    }
    let purge = async |before: &str, limit: u32| {
        stores.platform.purge_usage(day(before), limit).await.expect("purge")
    };
    assert_eq!(purge("2024-03-31T23:59:59Z", 9).await, 0, "March is not over");
    assert_eq!(purge("2024-04-01T00:00:00Z", 9).await, 2);
    assert_eq!(purge("2024-10-31T00:00:00Z", 1).await, 1, "no more than asked for");
    assert_eq!(purge("2024-10-31T00:00:00Z", 9).await, 1);
    assert_eq!(purge("2024-10-31T00:00:00Z", 9).await, 0);
    for office in [&one, &other] {
        let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
        let by = Grouping { day: true, ..Grouping::default() };
        let left = tx.usage().sums(days[0], days[2], by, 9).await.expect("sums");
        assert_eq!(left.iter().map(|sum| sum.day).collect::<Vec<_>>(), [Some(days[2])]);
    }
}

/// Audit records go in the same way. What is left is whole, and says what it follows.
pub async fn audit_records_of_old_months_are_purged_and_the_rest_is_whole(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    stores.platform.make_room().await.expect("room");
    // The tenant was founded in October.
    for time in ["2024-11-01T00:00:00Z", "2024-11-30T23:59:59.999999Z", "2024-12-01T00:00:00Z"] {
        let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
        let entry = Entry::by(&office.principal, AuditAction::UserAdded, office.owner.id(), day(time));
        tx.audit().append(entry).await.expect("append");
        tx.commit().await.expect("commit");
    }
    let purge = async |before: &str, limit: u32| {
        stores.platform.purge_audit(day(before), limit).await.expect("purge")
    };
    assert_eq!(purge("2024-10-31T23:59:59Z", 9).await, 0, "October is not over");
    assert_eq!(purge("2024-12-31T00:00:00Z", 2).await, 2, "no more than asked for");
    assert_eq!(purge("2024-12-31T00:00:00Z", 9).await, 1);
    assert_eq!(purge("2024-12-31T00:00:00Z", 9).await, 0);
    let mut view = stores.tenants.read(&office.principal.scope()).await.expect("read");
    let left = view.audit().records(&AuditFilter::default(), None, 9).await.expect("records");
    let mut verifier = Verifier::default();
    left.iter().try_for_each(|record| verifier.add(record)).expect("whole");
    let whole = verifier.verified().expect("a record");
    assert_eq!((whole.first, whole.anchor), (4, left[0].previous));
    assert_eq!(view.audit().head().await.expect("head"), Some(whole.head));
}
