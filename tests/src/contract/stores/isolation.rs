//! Two tenants with the same names for everything.

use std::time::Duration;

use powerhouse_domain::money::{BudgetScope, Caps, Grouping, Spending, UsageKey};
use powerhouse_domain::runs::{EventBody, Feedback, Room, Verdict};
use powerhouse_domain::tenants::Plan;
use powerhouse_ports::store::{Limit, NewEvent, StoreError, TenantTx, Work};

use super::Stores;
use super::approvals::{are_not_seen, question};
use super::money::{budget, price, used};
use crate::contract::sample::{self, Office, agent, at, office, run};

/// With every id of another tenant in hand, a transaction finds nothing and changes nothing.
pub async fn no_method_shows_or_changes_another_tenants_rows(stores: &Stores) {
    let ours = office(&*stores.platform, Plan::Team).await;
    let theirs = office(&*stores.platform, Plan::Team).await;
    let their_agent = agent("helper");
    let their_run = run(theirs.owner.id(), &their_agent, 5);
    let mut tx = stores.tenants.begin(&theirs.principal.scope()).await.expect("begin");
    tx.agents().add(&their_agent).await.expect("add");
    tx.runs().add(&their_run).await.expect("add");
    let their_question = question(&their_run);
    tx.approvals().add(&their_question).await.expect("add");
    let their_budget = budget(BudgetScope::Tenant, Some(9), None);
    let window = their_budget.window(at(6));
    let their_use = UsageKey {
        day: at(6).date_naive(),
        agent: Some(their_agent.id()),
        user: theirs.owner.id(),
        model: "m".into(),
    };
    tx.budgets().add(&their_budget).await.expect("add");
    tx.budgets().hold(window).await.expect("hold");
    assert!(tx.budgets().reserve(&their_budget, window, used(5)).await.expect("reserve"));
    tx.prices().replace(&[price("m", 1, 5)]).await.expect("replace");
    tx.usage().add(&their_use, 1, used(5)).await.expect("add");
    tx.commit().await.expect("commit");
    let lease =
        stores.platform.claim(Room::for_anyone(1), at(6), Duration::from_mins(1)).await.expect("claim")[0];

    let mut tx = stores.tenants.begin(&ours.principal.scope()).await.expect("begin");
    tx.agents().add(&agent("helper")).await.expect("the same name is free here");
    let everything = Limit::new(100).expect("a limit");

    assert_eq!(tx.tenant().await.expect("tenant").map(|tenant| tenant.id()), Some(ours.tenant.id()));
    let refused =
        tx.update_tenant(&theirs.tenant.clone().change_plan(Plan::Free, at(7)).expect("a plan")).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    let nobodys = sample::unstored_tenant().change_plan(Plan::Free, at(7)).expect("a plan");
    let refused = tx.update_tenant(&nobodys).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    assert_eq!(tx.tenant().await.expect("tenant"), Some(ours.tenant.clone()));

    users_are_not_seen(&mut *tx, &ours, &theirs).await;

    assert_eq!(tx.agents().find(their_agent.id()).await.expect("find"), None);
    assert_eq!(tx.agents().version(their_agent.id(), 1).await.expect("version"), None);
    assert_eq!(tx.agents().list(None, everything).await.expect("list").items.len(), 1);
    assert_eq!(tx.agents().runnable(100).await.expect("runnable").len(), 1);
    assert_eq!(tx.agents().count_in_use().await.expect("count"), 1);
    let refused = tx.agents().update(&their_agent.clone().archive(at(7)).expect("archive")).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");

    let id = their_run.id();
    assert_eq!(tx.runs().find(id).await.expect("find"), None);
    assert!(tx.runs().list(None, None, everything).await.expect("list").items.is_empty());
    assert!(tx.runs().list(Some(theirs.owner.id()), None, everything).await.expect("list").items.is_empty());
    assert!(tx.runs().events(id, 0, 100).await.expect("events").is_empty());
    let event = [NewEvent { at: at(8), body: EventBody::Cancelled }];
    let cancelled = their_run.clone().cancel(ours.owner.id(), at(8)).expect("cancel");
    assert!(tx.runs().update(&cancelled, &event).await.is_err(), "another tenant's run was cancelled");
    assert!(tx.runs().record(&lease, &cancelled, &event).await.is_err(), "another tenant's run was written");
    assert!(tx.runs().append(&their_run, &event).await.is_err(), "another tenant's journal was written");

    are_not_seen(&mut *tx, &their_question, &ours).await;
    let word = Feedback::new(ours.owner.id(), Verdict::Bad, String::new(), at(8)).expect("feedback");
    assert!(tx.runs().put_feedback(id, &word).await.is_err(), "another tenant's run was judged");
    assert_eq!(tx.runs().feedback(id, theirs.owner.id()).await.expect("feedback"), None);
    let done = Work { lease, run: cancelled, events: event.to_vec(), rules: None };
    let advanced = tx.runs().advance(&[&done]).await.expect("advance").remove(0);
    assert!(matches!(advanced, Err(StoreError::LeaseLost)), "another tenant's run was advanced");

    assert_eq!(tx.budgets().find(their_budget.id).await.expect("find"), None);
    assert!(tx.budgets().list(None, everything).await.expect("list").items.is_empty());
    assert_eq!(tx.budgets().count().await.expect("count"), 0);
    assert_eq!(tx.budgets().of_scope(BudgetScope::Tenant).await.expect("count"), 0);
    let applying = tx.budgets().applying(theirs.owner.id(), Some(their_agent.id())).await.expect("applying");
    assert!(applying.is_empty(), "{applying:?}");
    assert_eq!(tx.budgets().spending(window).await.expect("spending"), Spending::default());
    assert!(!tx.budgets().reserve(&their_budget, window, used(1)).await.expect("reserve"));
    tx.budgets().settle(window, used(5), used(5)).await.expect("nothing is settled");
    tx.budgets().give_back(window, used(5)).await.expect("nothing is given back");
    let other = their_budget.clone().capped(Caps::new(None, Some(1)).expect("caps"));
    let refused = tx.budgets().update(&other).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    assert!(!tx.budgets().remove(their_budget.id).await.expect("remove"));
    assert!(tx.prices().list().await.expect("list").is_empty());
    tx.prices().replace(&[price("m", 1, 6)]).await.expect("replace");
    assert_eq!(tx.prices().list().await.expect("list").len(), 1);
    let sums = tx.usage().sums(their_use.day, their_use.day, Grouping::default(), 9).await.expect("sums");
    assert!(sums.is_empty(), "{sums:?}");
    tx.usage().add(&their_use, 1, used(1)).await.expect("a row of our own");
    assert!(tx.budgets().hold(window).await.is_err(), "a window of another tenant's budget was held");
    drop(tx);

    let mut tx = stores.tenants.begin(&theirs.principal.scope()).await.expect("begin");
    assert_eq!(
        tx.users().find(theirs.owner.id()).await.expect("find").map(|found| found.0),
        Some(theirs.owner)
    );
    assert_eq!(tx.agents().find(their_agent.id()).await.expect("find"), Some(their_agent));
    assert_eq!(tx.runs().events(id, 0, 100).await.expect("events").len(), 1);
    assert_eq!(tx.approvals().find(their_question.id()).await.expect("find"), Some(their_question));
    let spending = tx.budgets().spending(window).await.expect("spending");
    assert_eq!((spending.spent.micros, spending.reserved.micros), (0, 5));
    assert_eq!(tx.budgets().find(their_budget.id).await.expect("find"), Some(their_budget));
    assert_eq!(tx.prices().list().await.expect("list"), [price("m", 1, 5)]);
    let sums = tx.usage().sums(their_use.day, their_use.day, Grouping::default(), 9).await.expect("sums");
    assert_eq!(sums.iter().map(|sum| (sum.calls, sum.usage)).collect::<Vec<_>>(), [(1, used(5))]);
}

async fn users_are_not_seen(tx: &mut dyn TenantTx, ours: &Office, theirs: &Office) {
    assert_eq!(tx.users().find(theirs.owner.id()).await.expect("find"), None);
    let same_address =
        tx.users().find_by_email(theirs.owner.email()).await.expect("find").expect("our own owner");
    assert_eq!(same_address.0.id(), ours.owner.id());
    assert_eq!(tx.users().list(None, Limit::default()).await.expect("list").items.len(), 1);
    assert_eq!(tx.users().count().await.expect("count"), 1);
    assert_eq!(tx.users().owners().await.expect("owners"), 1);
    assert!(!tx.users().remove(theirs.owner.id()).await.expect("remove"));
    let renamed = theirs.owner.clone().rename("Mallory".parse().expect("a name"), at(7));
    let refused = tx.users().update(&renamed, &theirs.membership, 1).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
}
