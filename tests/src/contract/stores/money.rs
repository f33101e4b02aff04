//! Prices, budgets and usage.

use std::sync::Arc;

use chrono::NaiveDate;
use powerhouse_domain::ids::{AgentId, BudgetId, UserId};
use powerhouse_domain::model::Usage;
use powerhouse_domain::money::{
    Amount, Budget, BudgetScope, Caps, Grouping, Period, Price, PriceEntry, Spending, UsageGroup, UsageKey,
};
use powerhouse_domain::tenants::Plan;
use powerhouse_ports::store::{Limit, StoreError, TenantTx};

use super::Stores;
use crate::contract::sample::{Office, at, next_id, office};

/// A budget that is not stored.
pub(super) fn budget(scope: BudgetScope, micros: Option<u64>, tokens: Option<u64>) -> Budget {
    let caps = Caps::new(micros, tokens).expect("caps");
    Budget::new(BudgetId::from_uuid(next_id()), scope, Period::Day, caps, at(1))
}

/// So many tokens read, as many millionths of a dollar.
pub(super) fn used(amount: u64) -> Usage {
    Usage::of_tokens(amount, 0).at_cost(amount)
}

/// A price that is not stored.
pub(super) fn price(model: &str, second: i64, micros: u64) -> PriceEntry {
    PriceEntry::new(model, at(second), Price::new(micros, 1)).expect("a price")
}

async fn begin(stores: &Stores, office: &Office) -> Box<dyn TenantTx> {
    stores.tenants.begin(&office.principal.scope()).await.expect("begin")
}

/// Budgets are as they were stored, and apply to whom they are for.
pub async fn budgets_are_kept_and_apply_to_whom_they_are_for(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let (user, agent) = (office.owner.id(), AgentId::from_uuid(next_id()));
    let other = UserId::from_uuid(next_id());
    let scopes =
        [BudgetScope::Tenant, BudgetScope::User(user), BudgetScope::User(other), BudgetScope::Agent(agent)];
    let budgets = scopes.map(|scope| budget(scope, Some(7), None));
    let mut tx = begin(stores, &office).await;
    for budget in &budgets {
        tx.budgets().add(budget).await.expect("add");
    }
    let twice = tx.budgets().add(&budgets[0]).await;
    assert!(matches!(twice, Err(StoreError::Conflict { .. })), "{twice:?}");
    tx.commit().await.expect("commit");

    let mut tx = begin(stores, &office).await;
    for budget in &budgets {
        assert_eq!(tx.budgets().find(budget.id).await.expect("find").as_ref(), Some(budget));
        assert_eq!(tx.budgets().of_scope(budget.scope).await.expect("count"), 1);
    }
    assert_eq!(tx.budgets().count().await.expect("count"), 4);
    let page = tx.budgets().list(None, Limit::new(3).expect("a limit")).await.expect("list");
    assert_eq!((page.items.as_slice(), page.next), (&budgets[..3], Some(budgets[2].id)));
    let page = tx.budgets().list(page.next, Limit::new(3).expect("a limit")).await.expect("list");
    assert_eq!((page.items.as_slice(), page.next), (&budgets[3..], None));
    let applying = tx.budgets().applying(user, Some(agent)).await.expect("applying");
    assert_eq!(applying, [budgets[0].clone(), budgets[1].clone(), budgets[3].clone()]);
    let by_nobody = tx.budgets().applying(user, None).await.expect("applying");
    assert_eq!(by_nobody, budgets[..2], "no agent makes the call");
    let nobodys = (UserId::from_uuid(next_id()), AgentId::from_uuid(next_id()));
    assert_eq!(tx.budgets().applying(nobodys.0, Some(nobodys.1)).await.expect("applying"), budgets[..1]);

    let changed = budgets[0].clone().capped(Caps::new(None, Some(9)).expect("caps"));
    tx.budgets().update(&changed).await.expect("update");
    assert_eq!(tx.budgets().find(changed.id).await.expect("find").as_ref(), Some(&changed));
    let stale = tx.budgets().update(&changed).await;
    assert!(matches!(stale, Err(StoreError::Conflict { .. })), "{stale:?}");
    // What was spent goes with the budget, and settling afterwards does nothing.
    let window = changed.window(at(5));
    tx.budgets().hold(window).await.expect("hold");
    assert!(tx.budgets().reserve(&changed, window, used(4)).await.expect("reserve"));
    assert!(tx.budgets().remove(changed.id).await.expect("remove"));
    assert!(!tx.budgets().remove(changed.id).await.expect("remove"));
    tx.budgets().settle(window, used(4), used(4)).await.expect("settle");
    tx.budgets().give_back(window, used(4)).await.expect("give back");
    assert_eq!(tx.budgets().spending(window).await.expect("spending"), Spending::default());
    tx.commit().await.expect("commit");
}

/// What is set aside is within both caps, and what is settled is spent.
pub async fn what_is_reserved_is_within_the_caps(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let budget = budget(BudgetScope::Tenant, Some(10), Some(100));
    let window = budget.window(at(5));
    let mut tx = begin(stores, &office).await;
    tx.budgets().add(&budget).await.expect("add");
    assert!(!tx.budgets().reserve(&budget, window, used(1)).await.expect("reserve"), "nobody holds it");
    assert_eq!(tx.budgets().hold(window).await.expect("hold"), Spending::default());
    assert!(tx.budgets().reserve(&budget, window, used(7)).await.expect("reserve"));
    assert!(!tx.budgets().reserve(&budget, window, used(4)).await.expect("reserve"), "money");
    let tokens = Usage::of_tokens(94, 0);
    assert!(!tx.budgets().reserve(&budget, window, tokens).await.expect("reserve"), "tokens");
    assert!(!tx.budgets().reserve(&budget, window, used(u64::MAX)).await.expect("reserve"), "no overflow");
    tx.budgets().settle(window, used(7), used(3)).await.expect("settle");
    assert!(tx.budgets().reserve(&budget, window, used(7)).await.expect("reserve"), "to the last");
    let now = Spending { spent: Amount { micros: 3, tokens: 3 }, reserved: Amount { micros: 7, tokens: 7 } };
    assert_eq!(tx.budgets().hold(window).await.expect("hold"), now);
    assert_eq!(tx.budgets().spending(window).await.expect("spending"), now);
    // What was not spent after all makes room again; of what is reserved nothing is given back.
    tx.budgets().give_back(window, used(2)).await.expect("give back");
    assert!(tx.budgets().reserve(&budget, window, used(2)).await.expect("reserve"));
    assert!(!tx.budgets().reserve(&budget, window, used(1)).await.expect("reserve"), "to the last");
    let now = Spending { spent: Amount { micros: 1, tokens: 1 }, reserved: Amount { micros: 9, tokens: 9 } };
    assert_eq!(tx.budgets().spending(window).await.expect("spending"), now);
    let tomorrow = budget.window(at(86_400));
    assert_eq!(tx.budgets().spending(tomorrow).await.expect("spending"), Spending::default());
    tx.commit().await.expect("commit");
}

/// Whoever reserves at the same time, the cap holds: it is used to the last, and not passed.
pub async fn many_who_reserve_at_once_do_not_pass_a_cap(stores: &Stores) {
    const CAP: u64 = 20;
    let office = Arc::new(office(&*stores.platform, Plan::Team).await);
    let budgets = Arc::new([
        budget(BudgetScope::Tenant, Some(CAP), None),
        budget(BudgetScope::User(office.owner.id()), None, Some(CAP + 5)),
    ]);
    let mut tx = begin(stores, &office).await;
    for budget in &*budgets {
        tx.budgets().add(budget).await.expect("add");
    }
    tx.commit().await.expect("commit");
    let tasks = (0..8).map(|_| {
        let (stores, office, budgets) = (stores.clone(), Arc::clone(&office), Arc::clone(&budgets));
        tokio::spawn(async move {
            let mut got = 0;
            for _ in 0..5 {
                let mut tx = begin(&stores, &office).await;
                let mut fits = true;
                for budget in &*budgets {
                    let window = budget.window(at(5));
                    tx.budgets().hold(window).await.expect("hold");
                    fits = fits && tx.budgets().reserve(budget, window, used(1)).await.expect("reserve");
                }
                if fits {
                    tx.commit().await.expect("commit");
                    got += 1;
                }
            }
            got
        })
    });
    let mut got = 0;
    for task in tasks.collect::<Vec<_>>() {
        got += task.await.expect("the task ends");
    }
    assert_eq!(got, CAP);
    let mut tx = begin(stores, &office).await;
    for budget in &*budgets {
        let spending = tx.budgets().spending(budget.window(at(5))).await.expect("spending");
        assert_eq!(spending.reserved, Amount { micros: CAP, tokens: CAP });
    }
}

/// A price list is stored whole.
pub async fn prices_are_replaced_as_a_whole(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let entries = [price("a", 1, 5), price("a", 2, 6), price("b", 1, 7)];
    let mut tx = begin(stores, &office).await;
    assert!(tx.prices().list().await.expect("list").is_empty());
    tx.prices()
        .replace(&[entries[2].clone(), entries[1].clone(), entries[0].clone()])
        .await
        .expect("replace");
    assert_eq!(tx.prices().list().await.expect("list"), entries);
    tx.prices().replace(&entries[1..2]).await.expect("replace");
    assert_eq!(tx.prices().list().await.expect("list"), entries[1..2]);
    let twice = tx.prices().replace(&[entries[0].clone(), entries[0].clone()]).await;
    assert!(matches!(twice, Err(StoreError::Conflict { .. })), "{twice:?}");
    tx.prices().replace(&[]).await.expect("replace");
    assert!(tx.prices().list().await.expect("list").is_empty());
}

/// Usage adds up, and is told apart by what is asked for.
pub async fn usage_adds_up(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let (agent, user) = (AgentId::from_uuid(next_id()), office.owner.id());
    let day = |number| NaiveDate::from_ymd_opt(2026, 1, number).expect("a day");
    let key =
        |number, model: &str| UsageKey { day: day(number), agent: Some(agent), user, model: model.into() };
    let mut tx = begin(stores, &office).await;
    for (key, amount) in [(key(1, "a"), 1), (key(1, "a"), 2), (key(1, "b"), 4), (key(3, "a"), 8)] {
        tx.usage().add(&key, 1, used(amount)).await.expect("add");
    }
    tx.commit().await.expect("commit");
    let mut tx = begin(stores, &office).await;
    let by = Grouping { day: true, model: true, ..Grouping::default() };
    let sum = |number, model: &str, calls, amount| UsageGroup {
        day: Some(day(number)),
        model: Some(model.into()),
        calls,
        usage: used(amount),
        ..UsageGroup::default()
    };
    let all = [sum(1, "a", 2, 3), sum(1, "b", 1, 4), sum(3, "a", 1, 8)];
    assert_eq!(tx.usage().sums(day(1), day(3), by, 9).await.expect("sums"), all);
    assert_eq!(tx.usage().sums(day(1), day(2), by, 9).await.expect("sums"), all[..2]);
    assert_eq!(tx.usage().sums(day(1), day(3), by, 1).await.expect("sums"), all[..1]);
    let by = Grouping { agent: true, user: true, ..Grouping::default() };
    let one = UsageGroup {
        agent: Some(agent),
        user: Some(user),
        calls: 4,
        usage: used(15),
        ..UsageGroup::default()
    };
    assert_eq!(tx.usage().sums(day(1), day(3), by, 9).await.expect("sums"), [one]);
    // What nobody's agent did stands by itself.
    let by_nobody = UsageKey { agent: None, ..key(3, "v") };
    tx.usage().add(&by_nobody, 1, used(16)).await.expect("add");
    tx.usage().add(&by_nobody, 1, used(16)).await.expect("add");
    let sums = tx.usage().sums(day(3), day(3), Grouping { agent: true, ..Grouping::default() }, 9).await;
    let sums: Vec<_> = sums.expect("sums").iter().map(|sum| (sum.agent, sum.calls)).collect();
    assert_eq!(sums, [(None, 2), (Some(agent), 1)]);
    drop(tx);
    let mut tx = begin(stores, &office).await;
    let whole = UsageGroup { calls: 4, usage: used(15), ..UsageGroup::default() };
    assert_eq!(tx.usage().sums(day(1), day(3), Grouping::default(), 9).await.expect("sums"), [whole]);
    for by in [by, Grouping::default()] {
        assert!(tx.usage().sums(day(4), day(9), by, 9).await.expect("sums").is_empty());
    }
}
