//! What workers did to their runs, written for many runs at once.

use powerhouse_domain::runs::{Lease, Run};

use super::NewEvent;

/// What a worker did to its run.
#[derive(Clone, Debug)]
pub struct Work {
    /// By which the run is the worker's.
    pub lease: Lease,
    /// The run as it is now.
    pub run: Run,
    /// What is to be journalled of it.
    pub events: Vec<NewEvent>,
}

/// What a run that was advanced has for its events, and what the same statement says of its tenant, so that it costs
/// no round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// The newest event before them.
    pub before: u64,
    /// Whether anybody is told of them.
    pub is_told: bool,
    /// Whether the tenant has a budget.
    pub has_budgets: bool,
    /// Whether the tenant has prices of its own.
    pub has_prices: bool,
}

impl Numbers {
    /// The newest event after so many.
    pub fn after(&self, events: &[NewEvent]) -> u64 {
        self.before + u64::try_from(events.len()).unwrap_or(u64::MAX)
    }
}
