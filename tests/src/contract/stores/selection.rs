//! What a tenant's selection knows is kept, and what it learns from is found.

use chrono::{DateTime, TimeDelta, Utc};
use powerhouse_domain::agents::Agent;
use powerhouse_domain::ids::UserId;
use powerhouse_domain::runs::{Feedback, Run, RunFailure, Selection, Verdict};
use powerhouse_domain::selection::{AgentRecord, Learnt, Selector};
use powerhouse_domain::tenants::Plan;
use powerhouse_ports::store::StoreError;

use super::Stores;
use crate::contract::sample::{Office, agent, at, next_id, office, run_of};

fn knowing(agent: &Agent) -> Learnt {
    let record = AgentRecord {
        runs: 3,
        succeeded: 2,
        good: 1,
        bad: 1,
        mean_millis: 1_500,
        mean_cost_micros: 70,
        reward: 4.25,
        weight: 9.0,
        failures_in_a_row: 1,
        last_failed_at: Some(at(8)),
        learnt_examples: 1,
    };
    Learnt {
        at: Some(at(9)),
        record: [(agent.id(), record)].into(),
        lesson: "00c0ffee".into(),
        threshold: Some(-0.125),
    }
}

/// What is known is read as it was written, and replaced only at the revision that was read.
pub async fn what_is_known_is_kept(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let scope = office.principal.scope();
    let helper = agent("helper");
    let mut tx = stores.tenants.begin(&scope).await.expect("begin");
    assert_eq!(tx.selection().read().await.expect("read"), Selector::default());
    tx.agents().add(&helper).await.expect("add");
    let first = Selector::default().with_default(Some(helper.id()));
    tx.selection().replace(&first).await.expect("replace");
    let second = first.learn(knowing(&helper)).expect("news");
    let third = second.clone().forget(at(10));
    for stale in [&first, &third] {
        let refused = tx.selection().replace(stale).await;
        assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    }
    tx.selection().replace(&second).await.expect("replace");
    tx.commit().await.expect("commit");
    let mut tx = stores.tenants.begin(&scope).await.expect("begin");
    assert_eq!(tx.selection().read().await.expect("read"), second);
    tx.selection().replace(&third).await.expect("replace");
    assert_eq!(tx.selection().read().await.expect("read"), third);
}

/// What one tenant's selection knows and learns from is nobody else's.
pub async fn knowledge_is_its_tenants_own(stores: &Stores) {
    let (ours, theirs) =
        (office(&*stores.platform, Plan::Team).await, office(&*stores.platform, Plan::Team).await);
    let put = async |office: &Office, selector: &Selector| {
        let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
        tx.selection().replace(selector).await.expect("replace");
        tx.commit().await.expect("commit");
    };
    let read = async |office: &Office| {
        let mut view = stores.tenants.read(&office.principal.scope()).await.expect("read");
        view.selection().read().await.expect("read")
    };
    let one = Selector::default().learn(knowing(&agent("helper"))).expect("news");
    put(&theirs, &one).await;
    assert_eq!(read(&ours).await, Selector::default());
    let other = Selector::default().forget(at(5));
    put(&ours, &other).await;
    put(&ours, &other.forget(at(6))).await;
    assert_eq!(read(&theirs).await, one);

    let done = succeeded(&theirs, &agent("helper"), 1);
    store(stores, &theirs, std::slice::from_ref(&done)).await;
    judge(stores, &theirs, &done, theirs.owner.id(), Verdict::Good, 20).await;
    let mut view = stores.tenants.read(&ours.principal.scope()).await.expect("read");
    assert!(view.selection().outcomes(None, 9).await.expect("outcomes").is_empty());
    assert!(view.selection().praised(None, 9, 9).await.expect("praised").is_empty());
    drop(view);
    let mut view = stores.tenants.read(&theirs.principal.scope()).await.expect("read");
    assert_eq!(view.selection().outcomes(None, 9).await.expect("outcomes").len(), 1);
    assert_eq!(view.selection().praised(None, 9, 9).await.expect("praised").len(), 1);
}

fn minute(number: i64) -> DateTime<Utc> {
    at(0) + TimeDelta::minutes(number)
}

/// A run that was accepted at this minute, and took 1.5 seconds.
fn succeeded(office: &Office, agent: &Agent, accepted: i64) -> Run {
    let begun = minute(accepted) + TimeDelta::seconds(1);
    let run = run_of(office.owner.id(), agent, minute(accepted)).start(begun).expect("start");
    run.succeed("4", begun + TimeDelta::milliseconds(1_500)).expect("succeed")
}

/// Stores runs that are at an end.
async fn store(stores: &Stores, office: &Office, runs: &[Run]) {
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    for run in runs {
        tx.runs().add(run).await.expect("add");
    }
    tx.commit().await.expect("commit");
}

async fn judge(stores: &Stores, office: &Office, run: &Run, by: UserId, verdict: Verdict, when: i64) {
    let word = Feedback::new(by, verdict, String::new(), minute(when)).expect("feedback");
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    tx.runs().put_feedback(run.id(), &word).await.expect("feedback");
    tx.commit().await.expect("commit");
}

/// Runs that ended by themselves are told with their time, their cost and what people said, the newest first, from a time on.
pub async fn outcomes_are_those_of_runs_that_ended_by_themselves(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let (helper, other) = (agent("helper"), agent("other"));
    let owner = office.owner.id();
    let fine = succeeded(&office, &helper, 1);
    let failure = RunFailure { code: "model_unavailable".into(), message: "away".into() };
    let failed = run_of(owner, &other, minute(2)).start(minute(3)).expect("start");
    let failed = failed.fail(failure.clone(), minute(4)).expect("fail");
    let never_begun = run_of(owner, &other, minute(5)).fail(failure, minute(6)).expect("fail");
    let cancelled = run_of(owner, &helper, minute(7)).cancel(owner, minute(8)).expect("cancel");
    let waits = run_of(owner, &helper, minute(9));
    let late = succeeded(&office, &helper, 10);
    store(stores, &office, &[fine.clone(), failed.clone(), never_begun, cancelled, waits, late.clone()])
        .await;
    let (one, two) = (UserId::from_uuid(next_id()), UserId::from_uuid(next_id()));
    judge(stores, &office, &fine, one, Verdict::Good, 11).await;
    judge(stores, &office, &fine, two, Verdict::Good, 11).await;
    judge(stores, &office, &failed, one, Verdict::Bad, 11).await;

    let mut view = stores.tenants.read(&office.principal.scope()).await.expect("read");
    let outcomes = view.selection().outcomes(None, 9).await.expect("outcomes");
    let told: Vec<_> = outcomes
        .iter()
        .map(|one| (one.agent, one.succeeded, one.took.num_milliseconds(), one.good, one.bad))
        .collect();
    assert_eq!(
        told,
        [
            (helper.id(), true, 1_500, 0, 0),
            (other.id(), false, 60_000, 0, 1),
            (helper.id(), true, 1_500, 2, 0)
        ]
    );
    assert_eq!(outcomes[1].ended_at, minute(4));
    assert_eq!(view.selection().outcomes(None, 1).await.expect("outcomes"), outcomes[..1]);
    assert_eq!(view.selection().outcomes(Some(minute(2)), 9).await.expect("outcomes"), outcomes[..2]);
    assert!(view.selection().outcomes(Some(minute(11)), 9).await.expect("outcomes").is_empty());
    assert!(view.selection().decisions(None, 9).await.expect("decisions").is_empty(), "all were named");
    drop(view);

    let one = succeeded(&office, &helper, 20);
    let propensities = vec![(other.id(), 0.75), (helper.id(), 0.25)];
    let selection =
        Selection { propensities: propensities.clone(), revision: Some(3), ..one.selection().clone() };
    let chosen = Run::accept(one.id(), owner, one.task().clone(), selection, *one.limits(), minute(20));
    let chosen = chosen.start(minute(21)).expect("start").succeed("4", minute(22)).expect("succeed");
    store(stores, &office, std::slice::from_ref(&chosen)).await;
    judge(stores, &office, &chosen, two, Verdict::Bad, 23).await;
    let mut view = stores.tenants.read(&office.principal.scope()).await.expect("read");
    let decisions = view.selection().decisions(None, 9).await.expect("decisions");
    let told: Vec<_> =
        decisions.iter().map(|(outcome, shares)| (outcome.agent, outcome.bad, shares.clone())).collect();
    assert_eq!(told, [(helper.id(), 1, propensities)]);
    assert!(view.selection().decisions(Some(minute(30)), 9).await.expect("decisions").is_empty());
}

/// Tasks of runs that were called good come by when that was said, each once, to a bound of their length.
pub async fn praised_tasks_are_told_by_when_they_were_praised(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let (helper, other) = (agent("helper"), agent("other"));
    let [early, late, bad] =
        [(&helper, 1), (&other, 2), (&helper, 3)].map(|(agent, minute)| succeeded(&office, agent, minute));
    store(stores, &office, &[early.clone(), late.clone(), bad.clone()]).await;
    let (one, two) = (UserId::from_uuid(next_id()), UserId::from_uuid(next_id()));
    judge(stores, &office, &late, one, Verdict::Good, 10).await;
    judge(stores, &office, &early, one, Verdict::Good, 11).await;
    judge(stores, &office, &late, two, Verdict::Good, 9).await;
    judge(stores, &office, &bad, one, Verdict::Bad, 12).await;
    let mut view = stores.tenants.read(&office.principal.scope()).await.expect("read");
    let praised = view.selection().praised(None, 9, 3).await.expect("praised");
    let told: Vec<_> = praised.iter().map(|one| (one.agent, &*one.task)).collect();
    assert_eq!(told, [(helper.id(), "2 +"), (other.id(), "2 +")]);
    assert_eq!(view.selection().praised(None, 1, 3).await.expect("praised"), praised[..1]);
    assert_eq!(view.selection().praised(Some(minute(10)), 9, 3).await.expect("praised"), praised[..1]);
}
