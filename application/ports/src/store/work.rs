//! What workers did to their runs, written for many runs at once, and what they read of them.

use powerhouse_domain::model::Usage;
use powerhouse_domain::money::UsageKey;
use powerhouse_domain::runs::{Lease, Run, RunEvent};

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
    /// The version of the tenant's approval rules by which calls among them were let begin; none when it does not matter.
    pub rules: Option<u64>,
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

/// Work in the plain case: nobody has written to the run's journal meanwhile, nobody is told of it or asked anything, and
/// no budget counts its calls.
#[derive(Clone, Copy, Debug)]
pub struct Plain<'a> {
    /// The work.
    pub work: &'a Work,
    /// The newest event that its worker knows.
    pub seen: u64,
    /// Whether calls begin that were decided on as if the tenant had neither budgets nor prices of its own.
    pub is_free: bool,
    /// Calls that have ended, and what they used, by what they are counted with.
    pub used: &'a [(UsageKey, u64, Usage)],
}

/// What a worker reads of a run that it has claimed.
#[derive(Clone, Debug)]
pub struct ClaimedRun {
    /// The run.
    pub run: Run,
    /// All that has happened.
    pub journal: Vec<RunEvent>,
}
