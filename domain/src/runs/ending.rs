//! How a run ends: the last state and the last event, which say the same.

use chrono::{DateTime, Utc};

use super::{EventBody, LimitExceeded, Run, RunFailure, RunTransitionRefused};
use crate::effects::{Divergence, FailureClass};
use crate::strategies::{Answer, StrategyError};

/// How a run ends, unless somebody cancels it.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// With its answer.
    Answered(Answer),
    /// With none, and why.
    Failed(RunFailure),
    /// Its time was over.
    TimedOut,
    /// The run that began it has ended.
    WithParent,
}

impl Ending {
    /// With a failure.
    pub fn failed(code: &str, message: impl Into<String>) -> Self {
        Self::Failed(RunFailure { code: code.into(), message: message.into() })
    }

    /// With that of a strategy which panicked.
    pub fn panicked() -> Self {
        Self::failed("strategy_failed", "the agent's strategy failed unexpectedly")
    }

    /// The event that says so.
    pub fn event(&self) -> EventBody {
        match self {
            Self::Answered(Answer { text }) => EventBody::Succeeded { answer: text.clone() },
            Self::Failed(RunFailure { code, message }) => {
                EventBody::Failed { code: code.clone(), message: message.clone() }
            }
            Self::TimedOut => EventBody::TimedOut,
            Self::WithParent => EventBody::Cancelled,
        }
    }

    /// The run in its last state, and the event that says so.
    pub fn apply(self, run: Run, now: DateTime<Utc>) -> Result<(Run, EventBody), RunTransitionRefused> {
        let event = self.event();
        let run = match self {
            Self::Answered(Answer { text }) => run.succeed(text, now)?,
            Self::Failed(failure) => run.fail(failure, now)?,
            Self::TimedOut => run.time_out(now)?,
            Self::WithParent => {
                let by = run.requested_by();
                run.cancel(by, now)?
            }
        };
        Ok((run, event))
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
            StrategyError::NoAnswerOf { .. } => "agent_without_answer",
            StrategyError::MissingAgents => "agents_missing",
            StrategyError::NoQuorum { .. } => "no_quorum",
            StrategyError::MissingTools { .. } => "tools_missing",
            StrategyError::ToolFailed { .. } => "tool_failed",
            StrategyError::UnusableTask { .. } => "task_unusable",
            StrategyError::Forbidden { .. } => "forbidden_by_policy",
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
