//! Runs and their journals.

use std::sync::Arc;
use std::time::Duration;

use powerhouse_domain::ids::{RunId, UserId};
use powerhouse_domain::model::{Channel, Usage};
use powerhouse_domain::runs::{ApprovalRules, EventBody, Feedback, Lease, Room, Run, Verdict};
use powerhouse_domain::tenants::Plan;
use powerhouse_ports::store::{Limit, NewEvent, Numbers, StoreError, Work};

use super::Stores;
use crate::contract::sample::{Office, agent, at, next_id, office, run};

fn delta(text: &str) -> NewEvent {
    let body = EventBody::TextDelta {
        key: "0".parse().expect("a key"),
        channel: Channel::Answer,
        text: text.into(),
    };
    NewEvent { at: at(10), body }
}

async fn accepted(stores: &Stores) -> (Office, Run) {
    let office = office(&*stores.platform, Plan::Team).await;
    let run = run(office.owner.id(), &agent("helper"), 5);
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    tx.runs().add(&run).await.expect("add");
    tx.commit().await.expect("commit");
    (office, run)
}

async fn claimed(stores: &Stores, second: i64) -> Lease {
    stores
        .platform
        .claim(Room::for_anyone(1), at(second), Duration::from_secs(30))
        .await
        .expect("claim")
        .remove(0)
}

async fn record(stores: &Stores, lease: &Lease, run: &Run, events: &[NewEvent]) -> Result<u64, StoreError> {
    let mut tx = stores.tenants.begin(&lease.scope()).await?;
    let seq = tx.runs().record(lease, run, events).await?;
    tx.commit().await?;
    Ok(seq)
}

async fn sequence(stores: &Stores, office: &Office, id: RunId) -> Vec<u64> {
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    let events = tx.runs().events(id, 0, 10_000).await.expect("events");
    events.iter().map(|event| event.seq).collect()
}

/// Writers at the same time get sequence numbers without gaps, each its own.
pub async fn events_have_no_gaps_whoever_writes(stores: &Stores) {
    let (office, run) = accepted(stores).await;
    let lease = claimed(stores, 6).await;
    let run = Arc::new(run.start(at(6)).expect("start"));
    let writers = (0..8).map(|_| {
        let (stores, run) = (stores.clone(), Arc::clone(&run));
        tokio::spawn(async move {
            for _ in 0..5 {
                record(&stores, &lease, &run, &[delta("a"), delta("b")]).await.expect("record");
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("the writer ends");
    }
    let expected: Vec<u64> = (1..=81).collect();
    assert_eq!(sequence(stores, &office, run.id()).await, expected);
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    let page = tx.runs().events(run.id(), 40, 3).await.expect("events");
    assert_eq!(page.iter().map(|event| event.seq).collect::<Vec<_>>(), [41, 42, 43]);
    assert_eq!(page[0].body, delta("b").body);
}

/// A worker whose run was claimed by another cannot write, not even once.
pub async fn a_stale_lease_cannot_write(stores: &Stores) {
    let (office, run) = accepted(stores).await;
    let stale = claimed(stores, 6).await;
    let newer = claimed(stores, 60).await;
    let run = run.start(at(6)).expect("start");
    let refused = record(stores, &stale, &run, &[delta("stale")]).await;
    assert!(matches!(refused, Err(StoreError::LeaseLost)), "{refused:?}");
    assert_eq!(record(stores, &newer, &run, &[delta("newer")]).await.expect("record"), 2);
    assert!(matches!(stores.platform.extend(&stale, at(99)).await, Err(StoreError::LeaseLost)));
    assert!(matches!(stores.platform.release(&stale).await, Err(StoreError::LeaseLost)));
    assert_eq!(sequence(stores, &office, run.id()).await, [1, 2]);
}

/// What several workers did is stored together as it is one by one, and one that is refused is in nobody's way.
pub async fn runs_are_advanced_together(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let scope = office.principal.scope();
    let helper = agent("helper");
    let runs: Vec<Run> = (0..4).map(|second| run(office.owner.id(), &helper, second)).collect();
    let mut tx = stores.tenants.begin(&scope).await.expect("begin");
    for run in &runs {
        tx.runs().add(run).await.expect("add");
    }
    tx.commit().await.expect("commit");
    let leases =
        stores.platform.claim(Room::for_anyone(4), at(6), Duration::from_secs(30)).await.expect("claim");
    let lease_of = |run: &Run| *leases.iter().find(|lease| lease.run() == run.id()).expect("its lease");
    let usage = Usage::of_tokens(7, 8).at_cost(9);
    let started = |run: &Run| run.clone().start(at(7)).expect("start");
    let events = |texts: &[&str]| texts.iter().map(|text| delta(text)).collect::<Vec<_>>();
    let work = [
        Work {
            lease: lease_of(&runs[0]),
            run: started(&runs[0]).charge(usage).expect("charge"),
            events: events(&["a", "b"]),
            rules: None,
        },
        // Somebody has written meanwhile.
        Work { lease: lease_of(&runs[1]), run: runs[1].clone(), events: events(&["old"]), rules: None },
        Work {
            lease: lease_of(&runs[2]),
            run: started(&runs[2]).succeed("done", at(8)).expect("succeed"),
            events: vec![NewEvent { at: at(8), body: EventBody::Succeeded { answer: "done".into() } }],
            rules: None,
        },
        // Nobody's any more.
        Work { lease: lease_of(&runs[3]), run: started(&runs[3]), events: events(&["late"]), rules: None },
    ];
    record(stores, &work[1].lease, &started(&runs[1]), &[delta("new")]).await.expect("record");
    stores.platform.release(&work[3].lease).await.expect("release");

    let mut tx = stores.tenants.begin(&scope).await.expect("begin");
    let outcomes = tx.runs().advance(&work.each_ref()).await.expect("advance");
    let [Ok(first), Err(StoreError::Conflict { .. }), Ok(third), Err(StoreError::LeaseLost)] =
        outcomes.as_slice()
    else {
        panic!("{outcomes:?}")
    };
    let nothing = Numbers { before: 1, is_told: false, has_budgets: false, has_prices: false };
    assert_eq!((*first, *third), (nothing, nothing));
    assert_eq!((first.after(&work[0].events), third.after(&[])), (3, 1));
    tx.runs().journal(&[&work[0], &work[2]], &[*first, *third]).await.expect("journal");
    tx.commit().await.expect("commit");

    for (work, newest) in [(&work[0], 3), (&work[2], 2)] {
        let mut tx = stores.tenants.begin(&scope).await.expect("begin");
        let read = tx.runs().find(work.run.id()).await.expect("find").expect("the run");
        assert_eq!(read, work.run, "state, usage and version are stored");
        let journal = tx.runs().events(work.run.id(), 1, 9).await.expect("events");
        let told: Vec<_> = journal.iter().map(|event| (event.seq, &event.body)).collect();
        assert_eq!(told, (2..=newest).zip(work.events.iter().map(|event| &event.body)).collect::<Vec<_>>());
    }
    for untouched in [&runs[1], &runs[3]] {
        let seqs = sequence(stores, &office, untouched.id()).await;
        assert_eq!(seqs.len(), if untouched.id() == runs[1].id() { 2 } else { 1 });
    }
    // It goes on with the lease that it has, and the one that has ended goes on with none.
    assert_eq!(record(stores, &work[0].lease, &work[0].run, &[]).await.expect("record"), 3);
    let refused = record(stores, &work[2].lease, &work[2].run, &[]).await;
    assert!(matches!(refused, Err(StoreError::LeaseLost)), "{refused:?}");
}

/// Once a run has been cancelled, its worker can neither write nor keep it, and nobody claims it.
pub async fn a_cancelled_run_takes_no_more(stores: &Stores) {
    let (office, queued) = accepted(stores).await;
    let lease = claimed(stores, 6).await;
    let running = queued.start(at(6)).expect("start");
    let usage = Usage::of_tokens(7, 8).at_cost(9);
    let charged = running.charge(usage).expect("charge");
    record(stores, &lease, &charged, &[delta("before")]).await.expect("record");

    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    let read = tx.runs().find(charged.id()).await.expect("find").expect("the run");
    assert_eq!(read, charged, "state and usage are stored");
    let cancelled = read.cancel(office.owner.id(), at(8)).expect("cancel");
    let event = [NewEvent { at: at(8), body: EventBody::Cancelled }];
    assert_eq!(tx.runs().update(&cancelled, &event).await.expect("update"), 3);
    let again = tx.runs().update(&cancelled, &event).await;
    assert!(matches!(again, Err(StoreError::Conflict { .. })), "{again:?}");
    tx.commit().await.expect("commit");

    let refused = record(stores, &lease, &charged, &[delta("after")]).await;
    assert!(matches!(refused, Err(StoreError::LeaseLost)), "{refused:?}");
    assert!(matches!(stores.platform.extend(&lease, at(99)).await, Err(StoreError::LeaseLost)));
    assert!(
        stores
            .platform
            .claim(Room::for_anyone(9), at(999), Duration::from_secs(1))
            .await
            .expect("claim")
            .is_empty()
    );
    assert_eq!(sequence(stores, &office, cancelled.id()).await, [1, 2, 3]);
}

/// A second word on a run replaces the first; words of others stand beside it.
pub async fn feedback_replaces(stores: &Stores) {
    let (office, run) = accepted(stores).await;
    let (one, other) = (office.owner.id(), UserId::from_uuid(next_id()));
    let word =
        |by, verdict, comment: &str| Feedback::new(by, verdict, comment.into(), at(9)).expect("feedback");
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    for given in
        [word(one, Verdict::Good, "fine"), word(other, Verdict::Good, ""), word(one, Verdict::Bad, "no")]
    {
        tx.runs().put_feedback(run.id(), &given).await.expect("feedback");
    }
    let found = tx.runs().feedback(run.id(), one).await.expect("feedback");
    assert_eq!(found, Some(word(one, Verdict::Bad, "no")));
    assert_eq!(
        tx.runs().feedback(run.id(), other).await.expect("feedback"),
        Some(word(other, Verdict::Good, ""))
    );
}

/// A list may be narrowed to who asked for the runs; it is newest first, page by page.
pub async fn only_an_owners_runs_are_listed_when_asked(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let helper = agent("helper");
    let (one, other) = (office.owner.id(), UserId::from_uuid(next_id()));
    let runs: Vec<Run> = [one, other, one, one].into_iter().map(|user| run(user, &helper, 5)).collect();
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    for run in &runs {
        tx.runs().add(run).await.expect("add");
    }
    let two = Limit::new(2).expect("a limit");
    let page = tx.runs().list(Some(one), None, two).await.expect("list");
    assert_eq!(page.items, [runs[3].clone(), runs[2].clone()]);
    let rest = tx.runs().list(Some(one), page.next, two).await.expect("list");
    assert_eq!((rest.items, rest.next), (vec![runs[0].clone()], None));
    assert_eq!(tx.runs().list(None, None, Limit::default()).await.expect("list").items.len(), 4);
}

/// Work that lets calls of tools begin is stored while the tenant's rules are those that allowed them.
pub async fn work_that_was_decided_by_other_rules_is_refused(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let scope = office.principal.scope();
    let accepted = run(office.owner.id(), &agent("helper"), 0);
    let mut tx = stores.tenants.begin(&scope).await.expect("begin");
    tx.runs().add(&accepted).await.expect("add");
    tx.commit().await.expect("commit");
    let claimed = stores.platform.claim(Room::for_anyone(1), at(6), Duration::from_secs(30)).await;
    let lease = claimed.expect("claim").remove(0);
    let run = accepted.start(at(7)).expect("start");
    let work = |rules| Work { lease, run: run.clone(), events: vec![delta("a")], rules: Some(rules) };

    let mut rules = ApprovalRules::default();
    for version in 0..3 {
        for other in (0..4).filter(|other| *other != version) {
            let mut tx = stores.tenants.begin(&scope).await.expect("begin");
            let outcome = tx.runs().advance(&[&work(other)]).await.expect("advance").remove(0);
            assert!(matches!(outcome, Err(StoreError::RulesChanged)), "{version}, {other}: {outcome:?}");
        }
        let mut tx = stores.tenants.begin(&scope).await.expect("begin");
        let outcome = tx.runs().advance(&[&work(version)]).await.expect("advance").remove(0);
        assert!(outcome.is_ok(), "{version}: {outcome:?}");
        rules = rules.replaced(Vec::new()).expect("rules");
        tx.approval_rules().replace(&rules).await.expect("replace");
        tx.commit().await.expect("commit");
    }
}
