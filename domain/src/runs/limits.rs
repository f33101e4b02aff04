//! What one run may use, and the check that the runner makes before each effect.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::model::Usage;

/// What one run may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLimits {
    /// Effects, model and tool calls together.
    pub steps: u32,
    /// Tokens, in both directions.
    pub tokens: u64,
    /// Money, in millionths of a US dollar; 0 sets no bound.
    pub cost_micros: u64,
    /// Time from the first start, less what it waited for people.
    pub wall_clock: Duration,
}

/// A limit that a run has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitExceeded {
    /// See [`RunLimits::steps`].
    #[error("the run has used its {0} steps")]
    Steps(u32),
    /// See [`RunLimits::tokens`].
    #[error("the run has used its {0} tokens")]
    Tokens(u64),
    /// See [`RunLimits::cost_micros`].
    #[error("the run has used its budget of {0} millionths of a dollar")]
    Cost(u64),
    /// See [`RunLimits::wall_clock`].
    #[error("the run has used its {} seconds", .0.as_secs())]
    WallClock(Duration),
}

impl RunLimits {
    /// Whether a run that has made `steps` effects and used `usage` since `started_at` may make another.
    pub fn check(
        &self,
        steps: u32,
        usage: Usage,
        started_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<(), LimitExceeded> {
        // A clock that went back is no time at all.
        let elapsed = (now - started_at).to_std().unwrap_or_default();
        if elapsed >= self.wall_clock {
            Err(LimitExceeded::WallClock(self.wall_clock))
        } else if steps >= self.steps {
            Err(LimitExceeded::Steps(self.steps))
        } else if usage.total_tokens() >= self.tokens {
            Err(LimitExceeded::Tokens(self.tokens))
        } else if usage.cost_micros >= self.cost_micros && self.cost_micros > 0 {
            Err(LimitExceeded::Cost(self.cost_micros))
        } else {
            Ok(())
        }
    }

    /// An equal part, of so many, of what is left after this usage; nothing when there is none. Steps and time are each
    /// run's own.
    pub fn part_of_the_rest(&self, used: Usage, parts: u32) -> Option<Self> {
        let parts = u64::from(parts.max(1));
        let tokens = self.tokens.saturating_sub(used.total_tokens()) / parts;
        let cost_micros = self.cost_micros.saturating_sub(used.cost_micros) / parts;
        let is_left = tokens > 0 && (cost_micros > 0 || self.cost_micros == 0);
        is_left.then_some(Self { tokens, cost_micros, ..*self })
    }

    /// The stricter of two limits, each for itself. A cost of 0 sets no bound.
    #[must_use]
    pub fn narrowed_by(&self, other: &Self) -> Self {
        let cost_micros = match (self.cost_micros, other.cost_micros) {
            (0, bound) | (bound, 0) => bound,
            (a, b) => a.min(b),
        };
        Self {
            steps: self.steps.min(other.steps),
            tokens: self.tokens.min(other.tokens),
            cost_micros,
            wall_clock: self.wall_clock.min(other.wall_clock),
        }
    }
}
