//! Approvals: what a run does only when a person has said so, and what it cannot know without one.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::effects::EffectKey;
use crate::ids::{ApprovalId, RunId, UserId};
use crate::tools::ToolOutput;

/// The most characters of a reason, and of an outcome that a person gives.
pub const MAX_ANSWER_CHARS: usize = 8_192;

/// Who demands that a person approves a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Demand {
    /// The agent's definition lists the tool.
    #[default]
    Agent,
    /// The agent's strategy asks.
    Strategy {
        /// Why.
        reason: String,
    },
    /// A rule of the tenant.
    Policy {
        /// Why.
        reason: String,
    },
}

/// What a person is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "question", rename_all = "snake_case")]
pub enum Question {
    /// Whether a tool may be called with these arguments.
    ToolCall {
        /// The tool.
        name: String,
        /// Its arguments.
        arguments: Value,
        /// Who wants it approved; older questions are the agents'.
        #[serde(default)]
        demand: Demand,
    },
    /// What became of a call: it was begun, and the process ended before the outcome was known. The tool is not one
    /// whose calls may be repeated without harm.
    InDoubt {
        /// The tool.
        name: String,
        /// Its arguments.
        arguments: Value,
    },
}

/// What a person said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Decision {
    /// The call is made, again if it is in doubt.
    Approve,
    /// The call is made with other arguments.
    Edit {
        /// The arguments.
        arguments: Value,
    },
    /// The call is not made. The model is told why.
    Reject {
        /// Why.
        reason: String,
    },
    /// The call that was in doubt did take effect: this is what came of it.
    Settle {
        /// The tool's output.
        output: String,
    },
}

impl Decision {
    /// Its name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Edit { .. } => "edit",
            Self::Reject { .. } => "reject",
            Self::Settle { .. } => "settle",
        }
    }

    /// What comes of the call without its being made; nothing when it is to be made.
    pub fn outcome(&self) -> Option<ToolOutput> {
        match self {
            Self::Approve | Self::Edit { .. } => None,
            Self::Reject { reason } => {
                Some(ToolOutput::error(format!("a person refused this call: {reason}")))
            }
            Self::Settle { output } => Some(ToolOutput::ok(output.clone())),
        }
    }
}

/// An answer, and whose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// What was said.
    pub decision: Decision,
    /// By whom; by nobody, when the time was over.
    pub by: Option<UserId>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Why an answer is not taken. The approval is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerRefused {
    /// There is an answer.
    #[error("it has been answered")]
    Answered,
    /// The time for an answer is over.
    #[error("the time for an answer is over")]
    Expired,
    /// Only a call that is in doubt has an outcome that a person can know.
    #[error("only a call that is in doubt can be settled with an output")]
    NotInDoubt,
    /// Arguments of tools are objects.
    #[error("arguments must be an object")]
    NotAnObject,
    /// A text is too long.
    #[error("a reason or an output has at most {MAX_ANSWER_CHARS} characters")]
    TooLong,
}

/// A question that a run has asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Approval {
    id: ApprovalId,
    run: RunId,
    key: EffectKey,
    question: Question,
    asked_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    answer: Option<Answer>,
}

impl Approval {
    /// Asks.
    pub fn ask(
        id: ApprovalId,
        run: RunId,
        key: EffectKey,
        question: Question,
        now: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Self {
        Self { id, run, key, question, asked_at: now, expires_at, answer: None }
    }

    /// Loads one that was stored.
    #[must_use]
    pub fn restore(self, answer: Option<Answer>) -> Self {
        Self { answer, ..self }
    }

    /// A person answers, once and in time.
    pub fn answered(self, by: UserId, decision: Decision, now: DateTime<Utc>) -> Result<Self, AnswerRefused> {
        if self.answer.is_some() {
            return Err(AnswerRefused::Answered);
        }
        if now >= self.expires_at {
            return Err(AnswerRefused::Expired);
        }
        match &decision {
            Decision::Settle { .. } if !matches!(self.question, Question::InDoubt { .. }) => {
                return Err(AnswerRefused::NotInDoubt);
            }
            Decision::Edit { arguments } if !arguments.is_object() => return Err(AnswerRefused::NotAnObject),
            Decision::Reject { reason: text } | Decision::Settle { output: text }
                if text.chars().nth(MAX_ANSWER_CHARS).is_some() =>
            {
                return Err(AnswerRefused::TooLong);
            }
            _ => {}
        }
        Ok(Self { answer: Some(Answer { decision, by: Some(by), at: now }), ..self })
    }

    /// Nobody answered in time: that is a no. Unchanged while there is time, or when it was answered.
    #[must_use]
    pub fn lapsed(self, now: DateTime<Utc>) -> Self {
        if self.answer.is_some() || now < self.expires_at {
            return self;
        }
        let decision = Decision::Reject { reason: "nobody answered in time".into() };
        Self { answer: Some(Answer { decision, by: None, at: now }), ..self }
    }

    /// Its id.
    pub fn id(&self) -> ApprovalId {
        self.id
    }

    /// The run that asks.
    pub fn run(&self) -> RunId {
        self.run
    }

    /// The effect that it is about.
    pub fn key(&self) -> &EffectKey {
        &self.key
    }

    /// What is asked.
    pub fn question(&self) -> &Question {
        &self.question
    }

    /// Since when.
    pub fn asked_at(&self) -> DateTime<Utc> {
        self.asked_at
    }

    /// Until when it can be answered.
    pub fn expires_at(&self) -> DateTime<Utc> {
        self.expires_at
    }

    /// What was said, if it was.
    pub fn answer(&self) -> Option<&Answer> {
        self.answer.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap()
    }

    fn ask(is_in_doubt: bool) -> Approval {
        let (name, arguments) = ("pay".to_owned(), json!({"amount": 5}));
        let question = if is_in_doubt {
            Question::InDoubt { name, arguments }
        } else {
            Question::ToolCall { name, arguments, demand: Demand::Agent }
        };
        let (id, run) = (ApprovalId::from_uuid(Uuid::nil()), RunId::from_uuid(Uuid::nil()));
        Approval::ask(id, run, "0".parse().unwrap(), question, at(0), at(60))
    }

    fn anna() -> UserId {
        UserId::from_uuid(Uuid::from_u128(7))
    }

    #[test]
    fn it_is_answered_once_and_in_time() {
        let answered = ask(false).answered(anna(), Decision::Approve, at(59)).unwrap();
        let answer = Answer { decision: Decision::Approve, by: Some(anna()), at: at(59) };
        assert_eq!(answered.answer(), Some(&answer));
        let again = answered.clone().answered(anna(), Decision::Approve, at(59));
        assert_eq!(again, Err(AnswerRefused::Answered));
        assert_eq!(answered.clone().lapsed(at(99)), answered);
        let late = ask(false).answered(anna(), Decision::Approve, at(60));
        assert_eq!(late, Err(AnswerRefused::Expired));
    }

    #[test]
    fn a_question_of_before_is_the_agents() {
        let stored = json!({"question": "tool_call", "name": "pay", "arguments": {"amount": 5}});
        assert_eq!(serde_json::from_value::<Question>(stored).unwrap(), *ask(false).question());
    }

    #[test]
    fn silence_is_a_no() {
        assert_eq!(ask(false).lapsed(at(59)), ask(false));
        let lapsed = ask(false).lapsed(at(60));
        let answer = lapsed.answer().unwrap();
        assert_eq!(answer.by, None);
        assert!(answer.decision.outcome().unwrap().is_error);
    }

    #[test]
    fn an_answer_must_fit_the_question() {
        let settle = || Decision::Settle { output: "paid".into() };
        assert_eq!(ask(false).answered(anna(), settle(), at(1)), Err(AnswerRefused::NotInDoubt));
        let settled = ask(true).answered(anna(), settle(), at(1)).unwrap();
        assert_eq!(settled.answer().unwrap().decision.outcome(), Some(ToolOutput::ok("paid")));
        let edit = Decision::Edit { arguments: json!([1]) };
        assert_eq!(ask(true).answered(anna(), edit, at(1)), Err(AnswerRefused::NotAnObject));
        let long = Decision::Reject { reason: "x".repeat(MAX_ANSWER_CHARS + 1) };
        assert_eq!(ask(true).answered(anna(), long, at(1)), Err(AnswerRefused::TooLong));
        assert_eq!(Decision::Approve.outcome(), None);
    }
}
