//! Strategies: the ways in which agents work, each an `async fn` over [`Effects`] that reads like its source.

use std::pin::Pin;

use crate::effects::{EffectFailure, Effects};

mod direct;
mod reflection;

pub use reflection::{Rounds, RoundsOutOfBounds};

/// What a strategy is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brief {
    /// The task, in the caller's words.
    pub task: String,
    /// The agent's instructions; may be empty.
    pub instructions: String,
}

/// What a strategy returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The answer to the task.
    pub text: String,
}

/// Why a strategy has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StrategyError {
    /// An effect failed, and the strategy cannot do without it.
    #[error(transparent)]
    Effect(#[from] EffectFailure),
}

/// A strategy on its way.
pub type StrategyFuture = Pin<Box<dyn Future<Output = Result<Answer, StrategyError>> + Send>>;

/// A way to work, with its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// One call.
    Direct,
    /// Draft, critique, revise; Self-Refine, Madaan et al. 2023.
    Reflection(Rounds),
}

impl Strategy {
    /// Starts it.
    pub fn execute(self, brief: Brief, fx: Effects) -> StrategyFuture {
        match self {
            Self::Direct => Box::pin(direct::run(brief, fx)),
            Self::Reflection(rounds) => Box::pin(reflection::run(brief, rounds, fx)),
        }
    }

    /// The kind's name, as agents are defined and shown with.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Reflection(_) => "reflection",
        }
    }
}

#[cfg(test)]
mod tests;
