//! A tenant's prices, budgets and usage.

use async_trait::async_trait;
use chrono::NaiveDate;
use powerhouse_domain::ids::{AgentId, BudgetId, UserId};
use powerhouse_domain::model::Usage;
use powerhouse_domain::money::{
    Budget, BudgetScope, BudgetWindow, Grouping, PriceEntry, Spending, UsageGroup, UsageKey,
};

use super::{Limit, Page, StoreError};

/// A tenant's own prices.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait PriceRepository: Send {
    /// Every entry, by model and then by time.
    async fn list(&mut self) -> Result<Vec<PriceEntry>, StoreError>;
    /// Puts these in the place of all that there were; `Conflict` when two are for the same model and time.
    async fn replace(&mut self, entries: &[PriceEntry]) -> Result<(), StoreError>;
}

/// A tenant's budgets, and what was spent in their windows.
///
/// Of the rows that a transaction writes for money, the run comes first, then budgets (`applying`), then their windows in
/// order, then usage in the order of its keys: so no two transactions ever wait for each other.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait BudgetRepository: Send {
    /// A budget by id.
    async fn find(&mut self, id: BudgetId) -> Result<Option<Budget>, StoreError>;
    /// Budgets in the order of their ids.
    async fn list(
        &mut self,
        after: Option<BudgetId>,
        limit: Limit,
    ) -> Result<Page<Budget, BudgetId>, StoreError>;
    /// How many there are.
    async fn count(&mut self) -> Result<u64, StoreError>;
    /// How many bound just this.
    async fn of_scope(&mut self, scope: BudgetScope) -> Result<u64, StoreError>;
    /// Those that count a call of this agent, if one makes it, for this user, in the order of their ids. They stay as they are
    /// until the transaction ends.
    async fn applying(&mut self, user: UserId, agent: Option<AgentId>) -> Result<Vec<Budget>, StoreError>;
    /// Stores a new budget.
    async fn add(&mut self, budget: &Budget) -> Result<(), StoreError>;
    /// Stores other caps; `Conflict` unless the stored version is the one before.
    async fn update(&mut self, budget: &Budget) -> Result<(), StoreError>;
    /// Removes a budget with what was spent in it. Whether there was one.
    async fn remove(&mut self, id: BudgetId) -> Result<bool, StoreError>;
    /// What was spent and is reserved in a window.
    async fn spending(&mut self, window: BudgetWindow) -> Result<Spending, StoreError>;
    /// The same, of a window that nobody else may change until the transaction ends; it is made if it is not there.
    async fn hold(&mut self, window: BudgetWindow) -> Result<Spending, StoreError>;
    /// Sets an amount aside in a window that is there, in one statement: only if it, what was spent and what is reserved
    /// are together within the budget's caps. Whether they are.
    async fn reserve(
        &mut self,
        budget: &Budget,
        window: BudgetWindow,
        amount: Usage,
    ) -> Result<bool, StoreError>;
    /// Takes back what was set aside in a window, and adds what was spent. Nothing when the budget is gone.
    async fn settle(&mut self, window: BudgetWindow, reserved: Usage, spent: Usage)
    -> Result<(), StoreError>;
    /// Takes back what was spent in a window and turned out not to be. Nothing when the budget is gone.
    async fn give_back(&mut self, window: BudgetWindow, unspent: Usage) -> Result<(), StoreError>;
}

/// What a tenant used.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait UsageRepository: Send {
    /// Adds model calls to what they are counted with.
    async fn add(&mut self, key: &UsageKey, calls: u64, usage: Usage) -> Result<(), StoreError>;
    /// The sums of the days from `from` to `to`, both included, in the order of what they are told apart by; at most
    /// `limit`.
    async fn sums(
        &mut self,
        from: NaiveDate,
        to: NaiveDate,
        grouping: Grouping,
        limit: u32,
    ) -> Result<Vec<UsageGroup>, StoreError>;
}
