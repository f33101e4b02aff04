//! Budgets, prices and usage.

mod budgets;
mod prices;
mod usage;

use powerhouse_domain::money::Amount;
use powerhouse_usecases::money::{
    ChangeBudget, CreateBudget, ListBudgets, ReadBudget, ReadPrices, ReadUsage, RemoveBudget, ReplacePrices,
};
use salvo::Router;
use salvo::oapi::ToSchema;
use serde::Serialize;

/// What the slice uses.
#[derive(Clone)]
pub struct Money {
    /// Lists budgets.
    pub list: ListBudgets,
    /// Reads a budget.
    pub read: ReadBudget,
    /// Makes budgets.
    pub create: CreateBudget,
    /// Changes budgets.
    pub change: ChangeBudget,
    /// Removes budgets.
    pub remove: RemoveBudget,
    /// Reads prices.
    pub prices: ReadPrices,
    /// Changes prices.
    pub replace_prices: ReplacePrices,
    /// Reads usage.
    pub usage: ReadUsage,
}

impl Money {
    pub(crate) fn guarded(&self) -> Router {
        Router::new()
            .push(budgets::routes(self))
            .push(
                Router::with_path("prices")
                    .get(prices::GetPrices(self.prices.clone()))
                    .put(prices::PutPrices(self.replace_prices.clone())),
            )
            .push(Router::with_path("usage").get(usage::GetUsage(self.usage.clone())))
    }
}

/// Money and tokens.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Amount"))]
struct AmountView {
    /// Millionths of a US dollar.
    micros: u64,
    /// Tokens, in both directions.
    tokens: u64,
}

impl From<Amount> for AmountView {
    fn from(Amount { micros, tokens }: Amount) -> Self {
        Self { micros, tokens }
    }
}
