//! Calls that no run makes, as for a document that is put: paid for in advance, since no journal tells of them (ADR 0047).

use chrono::{DateTime, Utc};
use powerhouse_domain::ids::{AgentId, UserId};
use powerhouse_domain::money::{BudgetRefusal, PriceList, Reservation, UsageKey, check_fits};
use powerhouse_domain::tools::ModelUsed;
use powerhouse_ports::store::{StoreError, TenantTx};

use super::bill::{Counting, is_money_bound, settle, windows};

/// What was paid.
pub(crate) struct Prepaid {
    reservation: Reservation,
    prices: PriceList,
    at: DateTime<Utc>,
}

/// Takes the most that a call of no run may cost out of every budget that counts it. It counts as spent at once: no journal tells
/// of the call, so if the process dies before [`give_back`], it stays paid as a lost call of a run does.
pub(crate) async fn pay_in_advance(
    tx: &mut dyn TenantTx,
    (user, agent): (UserId, Option<AgentId>),
    most: &ModelUsed,
    at: DateTime<Utc>,
) -> Result<Result<Prepaid, BudgetRefusal>, StoreError> {
    let budgets = tx.budgets().applying(user, agent).await?.into_iter();
    let counting: Counting = budgets.map(|budget| (budget.clone(), budget.window(at))).collect();
    let prices = PriceList::new(tx.prices().list().await?);
    let mut standing = settle(tx, &[], std::slice::from_ref(&counting)).await?;
    let so_far = standing.of(&counting);
    let fitting = prices.bounding(&most.model, at, is_money_bound(&so_far)).and_then(|price| {
        let amount = price.worst_of(most.usage.input_tokens, most.usage.output_tokens);
        check_fits(amount, &so_far, at).map(|()| amount)
    });
    let amount = match fitting {
        Ok(amount) => amount,
        Err(refusal) => return Ok(Err(refusal)),
    };
    standing.set_aside(&counting, amount);
    standing.reserve(tx).await?;
    let reservation = Reservation { model: most.model.clone(), amount, windows: windows(&counting) };
    for window in &reservation.windows {
        tx.budgets().settle(*window, amount, amount).await?;
    }
    Ok(Ok(Prepaid { reservation, prices, at }))
}

/// Gives back what of a call was not used, and counts what was, at its price.
pub(crate) async fn give_back(
    tx: &mut dyn TenantTx,
    (user, agent): (UserId, Option<AgentId>),
    paid: Prepaid,
    calls: u64,
    told: &mut ModelUsed,
) -> Result<(), StoreError> {
    let Prepaid { reservation, prices, at } = paid;
    told.usage = prices.charged(told.usage, &told.model, &reservation.model, at);
    let unspent = reservation.unspent(told.usage);
    for window in &reservation.windows {
        tx.budgets().give_back(*window, unspent).await?;
    }
    if calls > 0 {
        let key = UsageKey { day: at.date_naive(), agent, user, model: told.model.clone() };
        tx.usage().add(&key, calls, told.usage).await?;
    }
    Ok(())
}
