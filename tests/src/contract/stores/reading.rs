//! What a transaction that only reads promises.

use std::time::Duration;

use powerhouse_domain::money::{BudgetScope, UsageKey};
use powerhouse_domain::runs::{EventBody, Feedback, Room, Verdict};
use powerhouse_domain::tenants::Plan;
use powerhouse_ports::store::{Limit, NewEvent, StoreError, TenantView};

use super::Stores;
use super::money::{budget, price, used};
use crate::contract::sample::{Office, agent, at, member, office, run};

async fn read(stores: &Stores, office: &Office) -> Box<dyn TenantView> {
    stores.tenants.read(&office.principal.scope()).await.expect("read")
}

/// Whatever writes is refused, and the store serves on.
pub async fn reading_writes_nothing(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let (helper, other) = (agent("helper"), agent("other"));
    let accepted = run(office.owner.id(), &helper, 1);
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    tx.agents().add(&helper).await.expect("add");
    tx.runs().add(&accepted).await.expect("add");
    tx.commit().await.expect("commit");
    let lease =
        stores.platform.claim(Room::for_anyone(1), at(2), Duration::from_mins(1)).await.expect("claim")[0];
    let refused = |what: &str, done: Result<(), StoreError>| {
        assert!(matches!(done, Err(StoreError::Internal(_))), "{what}: {done:?}");
    };

    let (user, membership) = member(&office, "a@example.org");
    let done = read(stores, &office).await.users().add(&user, &membership, "hash").await;
    refused("a user was added", done);
    let renamed = office.owner.clone().rename("Mallory".parse().expect("a name"), at(3));
    let done = read(stores, &office).await.users().update(&renamed, &office.membership, 1).await;
    refused("a user was changed", done);
    let done = read(stores, &office).await.users().remove(office.owner.id()).await;
    refused("a user was removed", done.map(drop));
    refused("an agent was added", read(stores, &office).await.agents().add(&other).await);
    let archived = helper.clone().archive(at(3)).expect("archive");
    refused("an agent was changed", read(stores, &office).await.agents().update(&archived).await);
    let second = run(office.owner.id(), &helper, 3);
    refused("a run was added", read(stores, &office).await.runs().add(&second).await);
    let cancelled = accepted.clone().cancel(office.owner.id(), at(3)).expect("cancel");
    let event = [NewEvent { at: at(3), body: EventBody::Cancelled }];
    let done = read(stores, &office).await.runs().update(&cancelled, &event).await;
    refused("a run was changed", done.map(drop));
    let done = read(stores, &office).await.runs().record(&lease, &cancelled, &event).await;
    refused("a run was recorded", done.map(drop));
    let word = Feedback::new(office.owner.id(), Verdict::Bad, String::new(), at(3)).expect("feedback");
    let done = read(stores, &office).await.runs().put_feedback(accepted.id(), &word).await;
    refused("a run was judged", done);
    let bound = budget(BudgetScope::Tenant, Some(9), None);
    refused("a budget was added", read(stores, &office).await.budgets().add(&bound).await);
    refused("a budget was removed", read(stores, &office).await.budgets().remove(bound.id).await.map(drop));
    let done = read(stores, &office).await.prices().replace(&[price("m", 1, 5)]).await;
    refused("prices were changed", done);
    let key = UsageKey {
        day: at(3).date_naive(),
        agent: Some(helper.id()),
        user: office.owner.id(),
        model: "m".into(),
    };
    refused("usage was added", read(stores, &office).await.usage().add(&key, 1, used(1)).await);

    let mut view = read(stores, &office).await;
    assert_eq!(view.users().count().await.expect("count"), 1);
    assert_eq!(
        view.users().find(office.owner.id()).await.expect("find"),
        Some((office.owner.clone(), office.membership))
    );
    assert_eq!(view.agents().runnable(9).await.expect("runnable"), [helper]);
    let runs = view.runs().list(None, None, Limit::new(9).expect("a limit")).await.expect("list").items;
    let id = accepted.id();
    assert_eq!(runs, [accepted]);
    assert_eq!(view.runs().events(id, 0, 9).await.expect("events").len(), 1);
    assert_eq!(view.runs().feedback(id, office.owner.id()).await.expect("feedback"), None);
    drop(view);
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    tx.agents().add(&other).await.expect("writing is as before");
    tx.commit().await.expect("commit");
}

/// What is committed after the first read is seen by the next who reads, and not by this one.
pub async fn reading_sees_one_state(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let mut view = read(stores, &office).await;
    assert_eq!(view.agents().count_in_use().await.expect("count"), 0);
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    tx.agents().add(&agent("helper")).await.expect("add");
    let (user, membership) = member(&office, "a@example.org");
    tx.users().add(&user, &membership, "hash").await.expect("add");
    tx.commit().await.expect("nobody who reads holds it up");
    assert_eq!(view.agents().count_in_use().await.expect("count"), 0);
    assert_eq!(view.users().count().await.expect("count"), 1);
    let mut later = read(stores, &office).await;
    assert_eq!(later.agents().count_in_use().await.expect("count"), 1);
    assert_eq!(later.users().count().await.expect("count"), 2);
}

/// Who reads waits for nobody who writes, and sees what was committed before.
pub async fn reading_waits_for_no_writer(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    tx.agents().add(&agent("helper")).await.expect("add");
    let tenant = office.tenant.clone().change_plan(Plan::Free, at(9)).expect("a plan");
    tx.update_tenant(&tenant).await.expect("update");
    let reading = async {
        let mut view = read(stores, &office).await;
        assert_eq!(view.tenant().await.expect("tenant"), Some(office.tenant.clone()));
        assert_eq!(view.agents().count_in_use().await.expect("count"), 0);
    };
    tokio::time::timeout(Duration::from_secs(3), reading).await.expect("nobody waits");
    tx.commit().await.expect("commit");
    let mut view = read(stores, &office).await;
    assert_eq!(view.tenant().await.expect("tenant"), Some(tenant));
}

/// With every id of another tenant in hand, nothing of it is found.
pub async fn reading_shows_no_other_tenants_rows(stores: &Stores) {
    let ours = office(&*stores.platform, Plan::Team).await;
    let theirs = office(&*stores.platform, Plan::Team).await;
    let helper = agent("helper");
    let run = run(theirs.owner.id(), &helper, 1);
    let mut tx = stores.tenants.begin(&theirs.principal.scope()).await.expect("begin");
    tx.agents().add(&helper).await.expect("add");
    tx.runs().add(&run).await.expect("add");
    tx.commit().await.expect("commit");
    let everything = Limit::new(100).expect("a limit");
    // More often than there are connections: none keeps what the one before has set.
    for _ in 0..12 {
        let mut view = read(stores, &theirs).await;
        assert_eq!(view.agents().find(helper.id()).await.expect("find").as_ref(), Some(&helper));
        drop(view);
        let mut view = read(stores, &ours).await;
        assert_eq!(view.tenant().await.expect("tenant").as_ref(), Some(&ours.tenant));
        assert_eq!(view.users().find(theirs.owner.id()).await.expect("find"), None);
        assert_eq!(view.users().count().await.expect("count"), 1);
        assert_eq!(view.agents().find(helper.id()).await.expect("find"), None);
        assert_eq!(view.agents().find_by_name(helper.name()).await.expect("find"), None);
        assert_eq!(view.agents().version(helper.id(), 1).await.expect("version"), None);
        assert!(view.agents().list(None, everything).await.expect("list").items.is_empty());
        assert!(view.agents().runnable(9).await.expect("runnable").is_empty());
        assert_eq!(view.runs().find(run.id()).await.expect("find"), None);
        assert!(view.runs().list(None, None, everything).await.expect("list").items.is_empty());
        assert!(view.runs().events(run.id(), 0, 9).await.expect("events").is_empty());
    }
}
