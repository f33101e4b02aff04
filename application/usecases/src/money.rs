//! Money: budgets, what models cost, and what was used.

mod change_budget;
mod create_budget;
mod prices;
mod read_budgets;
mod read_usage;

use chrono::{DateTime, Utc};
use powerhouse_domain::audit::Entry;
use powerhouse_domain::money::{Budget, BudgetWindow, InvalidCaps, Spending};
use powerhouse_ports::store::{StoreError, TenantView};

pub use change_budget::{ChangeBudget, RemoveBudget};
pub use create_budget::{CreateBudget, CreateBudgetCommand};
pub use prices::{ReadPrices, ReplacePrices, TenantPrices};
pub use read_budgets::{ListBudgets, ReadBudget};
pub use read_usage::{ReadUsage, ReadUsageQuery};

use crate::Refused;

const NO_BUDGET: Refused = Refused::NotFound("budget");

/// A budget with its window of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetState {
    /// The budget.
    pub budget: Budget,
    /// The window.
    pub window: BudgetWindow,
    /// When the window is over; never, for a total.
    pub resets_at: Option<DateTime<Utc>>,
    /// What was spent in it, and what is reserved.
    pub spending: Spending,
}

async fn state(
    view: &mut dyn TenantView,
    budget: Budget,
    now: DateTime<Utc>,
) -> Result<BudgetState, StoreError> {
    let window = budget.window(now);
    let spending = view.budgets().spending(window).await?;
    Ok(BudgetState { window, resets_at: budget.period.end(now), spending, budget })
}

/// With what a budget bounds, and how.
fn capped(entry: Entry, budget: &Budget) -> Entry {
    let mut entry = entry.with("scope", budget.scope).with("period", budget.period);
    for (name, cap) in [("cap_micros", budget.caps.micros()), ("cap_tokens", budget.caps.tokens())] {
        if let Some(cap) = cap {
            entry = entry.with(name, cap);
        }
    }
    entry
}

/// A cap that is none, as the body has it.
pub fn invalid_caps(error: InvalidCaps) -> Refused {
    Refused::invalid("/cap_micros", error)
}
