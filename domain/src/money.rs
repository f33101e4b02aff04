//! Money: what a model call costs, what it may cost at most, and the budgets that bound the sum.
//!
//! Every amount is an integer, in millionths of a US dollar, rounded up; sums saturate. Nothing is spent that was not
//! reserved before (ADR 0022).

mod budgets;
mod estimate;
mod prices;
mod reservation;
mod usage;

pub use budgets::{Amount, Budget, BudgetScope, BudgetWindow, Caps, InvalidCaps, Period, Spending};
pub use estimate::{input_bound, texts_bound, worst_case};
pub use prices::{InvalidPrice, Price, PriceEntry, PriceList};
pub use reservation::{BudgetRefusal, LEAST_OUTPUT, Reservation, check_fits, fitting_output, in_flight};
pub use usage::{Grouping, UsageGroup, UsageKey};

#[cfg(test)]
mod tests;
