//! Conversations, and the runs that are their turns.

use powerhouse_domain::agents::Agent;
use powerhouse_domain::ids::{RunId, ThreadId};
use powerhouse_domain::runs::{Ending, Run};
use powerhouse_domain::strategies::Answer;
use powerhouse_domain::tenants::Plan;
use powerhouse_domain::threads::{Summary, Thread};
use powerhouse_ports::store::{Limit, NewEvent, StoreError};

use super::Stores;
use crate::contract::sample::{Office, agent, at, next_id, office, run};

fn thread(office: &Office, title: Option<&str>) -> Thread {
    let title = title.map(|title| title.parse().expect("a title"));
    Thread::begin(ThreadId::from_uuid(next_id()), office.owner.id(), title, at(1))
}

async fn stored(stores: &Stores, office: &Office, title: Option<&str>) -> Thread {
    let thread = thread(office, title);
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    tx.threads().add(&thread).await.expect("add");
    tx.commit().await.expect("commit");
    thread
}

/// What is stored is found as it was, and one more run of an older version is refused.
pub async fn threads_survive(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let (first, second) = (stored(stores, &office, Some("Tea")).await, stored(stores, &office, None).await);
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    assert_eq!(tx.threads().find(first.id).await.expect("find").as_ref(), Some(&first));
    let (longer, _) = first.clone().continued(RunId::from_uuid(next_id()), at(5)).expect("there is room");
    tx.threads().update(&longer).await.expect("update");
    let stale = tx.threads().update(&longer).await;
    assert!(matches!(stale, Err(StoreError::Conflict { .. })), "{stale:?}");
    assert_eq!(tx.threads().find(first.id).await.expect("find").as_ref(), Some(&longer));
    assert_eq!(tx.threads().count().await.expect("count"), 2);
    let one = Limit::new(1).expect("a limit");
    let page = tx.threads().list(Some(office.owner.id()), None, one).await.expect("list");
    assert_eq!((page.items, page.next), (vec![second.clone()], Some(second.id)));
    let page = tx.threads().list(None, Some(second.id), one).await.expect("list");
    assert_eq!((page.items, page.next), (vec![longer], None));
    let nobody = powerhouse_domain::ids::UserId::from_uuid(next_id());
    assert!(tx.threads().list(Some(nobody), None, one).await.expect("list").items.is_empty());
    assert!(tx.threads().remove(first.id).await.expect("remove"));
    assert!(!tx.threads().remove(first.id).await.expect("remove"));
    assert_eq!(tx.threads().remove_of(nobody).await.expect("remove"), 0);
    assert_eq!(tx.threads().remove_of(office.owner.id()).await.expect("remove"), 1);
}

/// A turn is there from the end of its run on, and never without an answer.
pub async fn turns_are_the_runs_that_have_succeeded(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let helper = agent("helper");
    let mut thread = stored(stores, &office, None).await;
    let other = stored(stores, &office, None).await;
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    tx.agents().add(&helper).await.expect("add");
    tx.commit().await.expect("commit");
    let answers = [Some("four"), None, Some("six")];
    let mut runs = Vec::new();
    for answer in answers {
        let (longer, ended) = turn(stores, &office, &helper, thread, answer).await;
        thread = longer;
        runs.push(ended);
    }
    let mut view = stores.tenants.read(&office.principal.scope()).await.expect("read");
    let turns = view.threads().turns(thread.id, 0, 9).await.expect("turns");
    let told: Vec<_> = turns.iter().map(|one| (one.turn.number, one.run, one.turn.answer.as_str())).collect();
    assert_eq!(told, [(1, runs[0], "four"), (3, runs[2], "six")]);
    assert_eq!((turns[0].turn.task.as_str(), turns[0].answered_at), ("2 + 2", at(8)));
    assert_eq!(view.threads().turns(thread.id, 1, 9).await.expect("turns").len(), 1);
    assert_eq!(view.threads().turns(thread.id, 0, 1).await.expect("turns").len(), 1);
    assert!(view.threads().turns(other.id, 0, 9).await.expect("turns").is_empty());
    let found = view.runs().find(runs[2]).await.expect("find").expect("it is there");
    assert_eq!(found.place_in_thread().map(|place| (place.thread, place.turn)), Some((thread.id, 3)));
}

async fn turn(
    stores: &Stores,
    office: &Office,
    helper: &Agent,
    thread: Thread,
    answer: Option<&str>,
) -> (Thread, RunId) {
    let run: Run = run(office.owner.id(), helper, 5);
    let (thread, place) = thread.continued(run.id(), at(5)).expect("there is room");
    let run = run.in_thread(place);
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    tx.threads().update(&thread).await.expect("update");
    tx.runs().add(&run).await.expect("add");
    tx.commit().await.expect("commit");
    let mut view = stores.tenants.read(&office.principal.scope()).await.expect("read");
    assert_eq!(view.threads().turns(thread.id, place.turn - 1, 9).await.expect("turns"), []);
    drop(view);
    let started = run.start(at(7)).expect("it starts");
    let ending = match answer {
        Some(answer) => Ending::Answered(Answer { text: answer.to_owned() }),
        None => Ending::TimedOut,
    };
    let (ended, body) = ending.apply(started.clone(), at(8)).expect("it ends");
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    tx.runs().update(&started, &[]).await.expect("update");
    tx.runs().update(&ended, &[NewEvent { at: at(8), body }]).await.expect("update");
    tx.commit().await.expect("commit");
    (thread, ended.id())
}

/// However late a summary comes, what is kept tells of the most turns.
pub async fn a_summary_is_replaced_by_one_of_more(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let thread = stored(stores, &office, None).await;
    let summary = |text: &str, through| Summary { text: text.to_owned(), through };
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    for (offered, is_kept) in
        [(summary("a", 4), true), (summary("b", 4), false), (summary("c", 9), true), (summary("d", 8), false)]
    {
        assert_eq!(tx.threads().summarise(thread.id, &offered).await.expect("summarise"), is_kept);
    }
    let kept = tx.threads().find(thread.id).await.expect("find").and_then(|thread| thread.summary);
    assert_eq!(kept, Some(summary("c", 9)));
    let nobodys = ThreadId::from_uuid(next_id());
    assert!(!tx.threads().summarise(nobodys, &summary("e", 99)).await.expect("summarise"));
}

/// With the id of another tenant's thread in hand, nothing is found and nothing changes.
pub async fn threads_are_their_tenants_own(stores: &Stores) {
    let (ours, theirs) =
        (office(&*stores.platform, Plan::Team).await, office(&*stores.platform, Plan::Team).await);
    let thread = stored(stores, &theirs, Some("Tea")).await;
    let helper = agent("helper");
    let mut tx = stores.tenants.begin(&theirs.principal.scope()).await.expect("begin");
    tx.agents().add(&helper).await.expect("add");
    tx.commit().await.expect("commit");
    let (thread, ended) = turn(stores, &theirs, &helper, thread, Some("four")).await;
    let mut tx = stores.tenants.begin(&ours.principal.scope()).await.expect("begin");
    assert_eq!(tx.threads().find(thread.id).await.expect("find"), None);
    assert!(tx.threads().list(None, None, Limit::default()).await.expect("list").items.is_empty());
    assert!(
        tx.threads()
            .list(Some(theirs.owner.id()), None, Limit::default())
            .await
            .expect("list")
            .items
            .is_empty()
    );
    assert_eq!(tx.threads().count().await.expect("count"), 0);
    assert_eq!(tx.threads().turns(thread.id, 0, 9).await.expect("turns"), []);
    let summary = Summary { text: "they like poison".to_owned(), through: 9 };
    assert!(!tx.threads().summarise(thread.id, &summary).await.expect("summarise"));
    let (longer, _) = thread.clone().continued(ended, at(9)).expect("there is room");
    let refused = tx.threads().update(&longer).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    assert!(!tx.threads().remove(thread.id).await.expect("remove"));
    assert_eq!(tx.threads().remove_of(theirs.owner.id()).await.expect("remove"), 0);
    tx.threads().add(&thread).await.expect("the same id is free here");
    tx.commit().await.expect("commit");
    let mut view = stores.tenants.read(&theirs.principal.scope()).await.expect("read");
    assert_eq!(view.threads().find(thread.id).await.expect("find"), Some(thread));
}
