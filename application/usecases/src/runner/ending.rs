//! How a run ends: the last state and the last event, which say the same.

use chrono::{DateTime, Utc};
use powerhouse_domain::effects::{Divergence, FailureClass};
use powerhouse_domain::runs::{EventBody, LimitExceeded, Run, RunFailure, RunTransitionRefused};
use powerhouse_domain::strategies::{Answer, StrategyError};

/// How a run ends, cancelling aside.
#[derive(Debug, PartialEq)]
pub(super) enum Ending {
    Answered(Answer),
    Failed(RunFailure),
    TimedOut,
}

impl Ending {
    pub(super) fn failed(code: &str, message: impl Into<String>) -> Self {
        Self::Failed(RunFailure { code: code.into(), message: message.into() })
    }

    /// The run in its last state, and the event that says so.
    pub(super) fn apply(
        self,
        run: Run,
        now: DateTime<Utc>,
    ) -> Result<(Run, EventBody), RunTransitionRefused> {
        match self {
            Self::Answered(Answer { text }) => {
                let body = EventBody::Succeeded { answer: text.clone() };
                Ok((run.succeed(text, now)?, body))
            }
            Self::Failed(failure) => {
                let body = EventBody::Failed { code: failure.code.clone(), message: failure.message.clone() };
                Ok((run.fail(failure, now)?, body))
            }
            Self::TimedOut => Ok((run.time_out(now)?, EventBody::TimedOut)),
        }
    }
}

impl From<Result<Answer, StrategyError>> for Ending {
    fn from(result: Result<Answer, StrategyError>) -> Self {
        let error = match result {
            Ok(answer) => return Self::Answered(answer),
            Err(error) => error,
        };
        let code = match &error {
            StrategyError::Effect(failure) => match failure.class {
                FailureClass::Unavailable => "model_unavailable",
                FailureClass::Rejected => "model_rejected",
                FailureClass::LimitReached => "limit_reached",
            },
            StrategyError::Unparseable { .. } => "reply_unusable",
            StrategyError::Exhausted { .. } => "no_answer",
            StrategyError::Truncated { .. } => "reply_truncated",
            StrategyError::Filtered { .. } => "reply_filtered",
        };
        Self::failed(code, error.to_string())
    }
}

impl From<Divergence> for Ending {
    fn from(divergence: Divergence) -> Self {
        Self::failed("non_deterministic", divergence.to_string())
    }
}

impl From<LimitExceeded> for Ending {
    fn from(limit: LimitExceeded) -> Self {
        match limit {
            LimitExceeded::WallClock(_) => Self::TimedOut,
            LimitExceeded::Steps(_) | LimitExceeded::Tokens(_) | LimitExceeded::Cost(_) => {
                Self::failed("limit_reached", limit.to_string())
            }
        }
    }
}
