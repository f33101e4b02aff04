//! What a transaction promises.

use powerhouse_domain::agents::AgentState;
use powerhouse_domain::tenants::Plan;
use powerhouse_domain::users::User;
use powerhouse_ports::store::{Limit, StoreError};

use super::Stores;
use crate::contract::sample::{agent, at, definition, member, office, run};

/// A transaction that is dropped leaves nothing.
pub async fn dropping_rolls_back(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let agent = agent("helper");
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    tx.agents().add(&agent).await.expect("add");
    assert!(
        tx.agents().find(agent.id()).await.expect("find").is_some(),
        "it is there within the transaction"
    );
    drop(tx);
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    assert!(tx.agents().find(agent.id()).await.expect("find").is_none());
}

/// What was committed is there for the next transaction.
pub async fn committing_shows(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let agent = agent("helper");
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    tx.agents().add(&agent).await.expect("add");
    tx.commit().await.expect("commit");
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    assert_eq!(tx.agents().find(agent.id()).await.expect("find"), Some(agent));
}

/// Of two who read the same version, the second to write is refused.
pub async fn a_lost_update_is_refused(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let scope = office.principal.scope();
    let read = agent("helper");
    let mut tx = stores.tenants.begin(&scope).await.expect("begin");
    tx.agents().add(&read).await.expect("add");
    tx.commit().await.expect("commit");

    let first = read.clone().edit(definition("first")).expect("an edit");
    let second = read.edit(definition("second")).expect("an edit");
    let mut tx = stores.tenants.begin(&scope).await.expect("begin");
    tx.agents().update(&first).await.expect("update");
    tx.commit().await.expect("commit");
    let mut tx = stores.tenants.begin(&scope).await.expect("begin");
    let refused = tx.agents().update(&second).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    drop(tx);
    let mut tx = stores.tenants.begin(&scope).await.expect("begin");
    assert_eq!(tx.agents().find(first.id()).await.expect("find"), Some(first));

    let tenant = office.tenant.clone().change_plan(Plan::Free, at(9)).expect("a plan");
    tx.update_tenant(&tenant).await.expect("update");
    let refused = tx.update_tenant(&tenant).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
}

/// Of many who read the same version at the same time, one writes.
pub async fn of_many_writers_one_wins(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let writers = (0..8).map(|number| {
        let (stores, office) = (stores.clone(), office.clone());
        tokio::spawn(async move {
            let name = format!("Name {number}").parse().expect("a name");
            let user = office.owner.clone().rename(name, at(5));
            let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
            match tx.users().update(&user, &office.membership, 1).await {
                Ok(()) => tx.commit().await.map(|()| Some(user)),
                Err(StoreError::Conflict { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        })
    });
    let mut winners = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        winners.extend(writer.await.expect("the writer ends").expect("no other error"));
    }
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    let kept = tx.users().find(office.owner.id()).await.expect("find").expect("the owner").0;
    assert_eq!(winners, [kept]);
}

/// An address is taken once in a tenant, whoever else has it; the refusal says no more than that.
pub async fn an_address_is_taken_once_in_a_tenant(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let (first, second) = (member(&office, "a@example.org"), member(&office, "a@example.org"));
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    tx.users().add(&first.0, &first.1, "hash").await.expect("add");
    tx.commit().await.expect("commit");
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    let taken = tx.users().add(&second.0, &second.1, "hash").await.expect_err("the address is taken");
    assert!(matches!(taken, StoreError::Conflict { .. }), "{taken:?}");
    assert!(!taken.to_string().contains("example.org"), "{taken}");
    drop(tx);
    let other = crate::contract::sample::office(&*stores.platform, Plan::Team).await;
    let there = member(&other, "a@example.org");
    let mut tx = stores.tenants.begin(&other.principal.scope()).await.expect("begin");
    tx.users().add(&there.0, &there.1, "hash").await.expect("add");
    assert_eq!(tx.users().find_by_email(first.0.email()).await.expect("find"), Some(there));
}

/// After a taken key, the store serves on, and so does the next transaction.
pub async fn a_conflict_does_not_poison_the_store(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let scope = office.principal.scope();
    let mut tx = stores.tenants.begin(&scope).await.expect("begin");
    tx.agents().add(&agent("helper")).await.expect("add");
    tx.commit().await.expect("commit");
    let mut tx = stores.tenants.begin(&scope).await.expect("begin");
    let taken = tx.agents().add(&agent("helper")).await;
    assert!(matches!(taken, Err(StoreError::Conflict { .. })), "{taken:?}");
    drop(tx);
    let slug = stores.platform.provision(&office.tenant, &office.owner, &office.membership, "hash").await;
    assert!(matches!(slug, Err(StoreError::Conflict { .. })), "{slug:?}");
    let mut tx = stores.tenants.begin(&scope).await.expect("begin");
    tx.agents().add(&agent("other")).await.expect("add");
    tx.commit().await.expect("commit");
}

/// What is read is what was written, field by field, in every state.
pub async fn values_survive(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    assert_eq!(tx.tenant().await.expect("tenant"), Some(office.tenant));
    let found = tx.users().find_by_email(office.owner.email()).await.expect("find");
    assert_eq!(found, Some((office.owner, office.membership)));
    assert_eq!(tx.users().owners().await.expect("owners"), 1);

    let published = agent("published");
    let edited = agent("edited");
    let archived = agent("archived");
    for agent in [&published, &edited, &archived] {
        tx.agents().add(agent).await.expect("add");
    }
    let edited = edited.edit(definition("next")).expect("an edit");
    let archived = archived.archive(at(3)).expect("archive");
    for agent in [&edited, &archived] {
        tx.agents().update(agent).await.expect("update");
    }
    for agent in [&published, &edited, &archived] {
        assert_eq!(tx.agents().find(agent.id()).await.expect("find").as_ref(), Some(agent));
        assert_eq!(tx.agents().find_by_name(agent.name()).await.expect("find").as_ref(), Some(agent));
    }
    let runnable = tx.agents().runnable(10).await.expect("runnable");
    assert_eq!(runnable, [published, edited]);
    assert_eq!(tx.agents().count_in_use().await.expect("count"), 2);
}

/// Reading page by page shows each row once, also when rows are added meanwhile.
pub async fn pages_are_stable_under_inserts(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    let mut expected = Vec::new();
    for number in 0..5 {
        let agent = agent(&format!("agent-{number}"));
        tx.agents().add(&agent).await.expect("add");
        expected.push(agent.id());
    }
    let limit = Limit::new(2).expect("a limit");
    let (mut seen, mut after) = (Vec::new(), None);
    for number in 0.. {
        let page = tx.agents().list(after, limit).await.expect("list");
        seen.extend(page.items.iter().map(powerhouse_domain::agents::Agent::id));
        after = page.next;
        if after.is_none() {
            break;
        }
        let late = agent(&format!("late-{number}"));
        if number == 0 {
            tx.agents().add(&late).await.expect("add");
            expected.push(late.id());
        }
    }
    assert_eq!(seen, expected);
}

/// Users from the first on, and runs from the newest back, are also shown once each.
pub async fn pages_of_users_and_runs_are_stable_too(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let helper = agent("helper");
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    let (mut users, mut runs) = (vec![office.owner.id()], Vec::new());
    for number in 0..4 {
        let (user, membership) = member(&office, &format!("user-{number}@example.org"));
        tx.users().add(&user, &membership, "hash").await.expect("add");
        users.push(user.id());
        let run = run(office.owner.id(), &helper, number);
        tx.runs().add(&run).await.expect("add");
        runs.insert(0, run.id());
    }
    let limit = Limit::new(2).expect("a limit");
    let mut seen = Vec::new();
    let mut page = tx.users().list(None, limit).await.expect("list");
    let (late, membership) = member(&office, "late@example.org");
    tx.users().add(&late, &membership, "hash").await.expect("add");
    users.push(late.id());
    loop {
        seen.extend(page.items.iter().map(|(user, _): &(User, _)| user.id()));
        let Some(after) = page.next else { break };
        page = tx.users().list(Some(after), limit).await.expect("list");
    }
    assert_eq!(seen, users);
    assert_eq!(tx.users().count().await.expect("count"), 6);

    let mut seen = Vec::new();
    let mut page = tx.runs().list(None, None, limit).await.expect("list");
    // A newer run belongs before the first page, and so is not shown on a later one.
    tx.runs().add(&run(office.owner.id(), &helper, 9)).await.expect("add");
    loop {
        seen.extend(page.items.iter().map(powerhouse_domain::runs::Run::id));
        let Some(before) = page.next else { break };
        page = tx.runs().list(None, Some(before), limit).await.expect("list");
    }
    assert_eq!(seen, runs);
}

/// A version stays what it was, whatever is published or archived after it.
pub async fn published_versions_never_change(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    let agent = agent("helper");
    tx.agents().add(&agent).await.expect("add");
    let first = agent.runnable().expect("published").clone();
    let agent = agent.edit(definition("second")).expect("an edit");
    tx.agents().update(&agent).await.expect("update");
    let agent = agent.publish(at(5)).expect("publish");
    tx.agents().update(&agent).await.expect("update");
    let agent = agent.archive(at(6)).expect("archive");
    tx.agents().update(&agent).await.expect("update");
    let AgentState::Archived { last: Some(second), .. } = agent.state() else { panic!("it is archived") };
    assert_eq!(tx.agents().version(agent.id(), 1).await.expect("version"), Some(first));
    assert_eq!(tx.agents().version(agent.id(), 2).await.expect("version").as_ref(), Some(second));
    assert_eq!(tx.agents().version(agent.id(), 3).await.expect("version"), None);
}
