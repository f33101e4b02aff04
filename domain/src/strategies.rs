//! The kinds of agents: each a strategy, written as its paper's pseudo-code over [`Effects`].
//!
//! To add a kind: a file here with `Parameters` and `run`, a variant of [`Strategy`] and of [`AgentKind`].

use std::pin::Pin;

use serde::de::DeserializeOwned;

use crate::agents::Definition;
use crate::effects::{EffectFailure, Effects};
use crate::model::{Message, ModelReply, ModelRequest, StopReason};
use crate::runs::Task;
use crate::tools::ToolSpec;

pub mod chain_of_thought;
pub mod debate;
mod direct;
mod kind;
pub mod plan_and_execute;
pub mod react;
pub mod reflection;
#[cfg(test)]
mod scripted;

pub use kind::{AgentKind, ParameterError, UnknownKind};

/// What an agent is given.
#[derive(Clone, Debug, PartialEq)]
pub struct Brief {
    /// What is to be done.
    pub task: String,
    /// The agent's standing instructions; may be empty.
    pub instructions: String,
    /// The tools it may call. Only ReAct calls any.
    pub tools: Vec<ToolSpec>,
}

impl Brief {
    /// What the agent of this definition is given for a task.
    pub fn of(task: &Task, definition: &Definition, tools: Vec<ToolSpec>) -> Self {
        Self { task: task.as_str().to_owned(), instructions: definition.instructions.clone(), tools }
    }

    /// The start of a conversation: the agent's instructions, then the strategy's guidance, then `user`.
    fn conversation(&self, guidance: &str, user: impl Into<String>) -> Vec<Message> {
        let parts = [self.instructions.trim(), guidance];
        let system = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n");
        let system = (!system.is_empty()).then(|| Message::system(system));
        system.into_iter().chain([Message::user(user)]).collect()
    }
}

/// What an agent gives back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The text; never empty.
    pub text: String,
}

/// Why a strategy has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StrategyError {
    /// An effect failed.
    #[error("{0}")]
    Effect(#[from] EffectFailure),
    /// The model's reply does not have the form that the strategy needs.
    #[error("the model's reply to `{purpose}` cannot be used: {reason}")]
    Unparseable {
        /// The call's purpose.
        purpose: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A bound of the strategy was reached without an answer.
    #[error("no answer within {limit} {what}")]
    Exhausted {
        /// The bound.
        limit: u32,
        /// What it counts.
        what: &'static str,
    },
    /// The model ran into its token bound.
    #[error("the model's reply to `{purpose}` was cut off")]
    Truncated {
        /// The call's purpose.
        purpose: String,
    },
    /// The provider's filter stopped the model.
    #[error("the provider's content filter stopped the reply to `{purpose}`")]
    Filtered {
        /// The call's purpose.
        purpose: String,
    },
}

/// A kind of agent with its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// One call.
    Direct,
    /// Reasons, then answers.
    ChainOfThought(chain_of_thought::Parameters),
    /// Reasons and acts in turn.
    React(react::Parameters),
    /// Plans, then works off the plan.
    PlanAndExecute(plan_and_execute::Parameters),
    /// Drafts, criticises and revises.
    Reflection(reflection::Parameters),
    /// Two sides argue, a judge answers.
    Debate(debate::Parameters),
}

/// A strategy under way.
pub type StrategyFuture = Pin<Box<dyn Future<Output = Result<Answer, StrategyError>> + Send>>;

impl Strategy {
    /// Builds the strategy from a JSON object that satisfies [`AgentKind::parameters_schema`].
    pub fn from_parameters(kind: AgentKind, parameters: &serde_json::Value) -> Result<Self, ParameterError> {
        let fields = kind.checked_fields(parameters)?;
        Ok(match kind {
            AgentKind::Direct => Self::Direct,
            AgentKind::ChainOfThought => {
                Self::ChainOfThought(chain_of_thought::Parameters::from_fields(fields)?)
            }
            AgentKind::React => Self::React(react::Parameters::from_fields(fields)?),
            AgentKind::PlanAndExecute => {
                Self::PlanAndExecute(plan_and_execute::Parameters::from_fields(fields)?)
            }
            AgentKind::Reflection => Self::Reflection(reflection::Parameters::from_fields(fields)?),
            AgentKind::Debate => Self::Debate(debate::Parameters::from_fields(fields)?),
        })
    }

    /// Works on the brief. Deterministic: all that varies comes through `fx`.
    pub fn execute(&self, brief: Brief, fx: Effects) -> StrategyFuture {
        match *self {
            Self::Direct => Box::pin(direct::run(brief, fx)),
            Self::ChainOfThought(parameters) => Box::pin(chain_of_thought::run(brief, parameters, fx)),
            Self::React(parameters) => Box::pin(react::run(brief, parameters, fx)),
            Self::PlanAndExecute(parameters) => Box::pin(plan_and_execute::run(brief, parameters, fx)),
            Self::Reflection(parameters) => Box::pin(reflection::run(brief, parameters, fx)),
            Self::Debate(parameters) => Box::pin(debate::run(brief, parameters, fx)),
        }
    }

    /// Its kind.
    pub fn kind(&self) -> AgentKind {
        match self {
            Self::Direct => AgentKind::Direct,
            Self::ChainOfThought(_) => AgentKind::ChainOfThought,
            Self::React(_) => AgentKind::React,
            Self::PlanAndExecute(_) => AgentKind::PlanAndExecute,
            Self::Reflection(_) => AgentKind::Reflection,
            Self::Debate(_) => AgentKind::Debate,
        }
    }

    /// Its parameters as JSON, defaults included; [`Strategy::from_parameters`] reads them back.
    pub fn parameters(&self) -> serde_json::Value {
        match self {
            Self::Direct => serde_json::json!({}),
            Self::ChainOfThought(parameters) => parameters.to_json(),
            Self::React(parameters) => parameters.to_json(),
            Self::PlanAndExecute(parameters) => parameters.to_json(),
            Self::Reflection(parameters) => parameters.to_json(),
            Self::Debate(parameters) => parameters.to_json(),
        }
    }

    /// The most model calls that it can make, but for those that send a reply back since it lacks the form that was asked for.
    pub fn max_model_calls(&self) -> u32 {
        match self {
            Self::Direct => 1,
            Self::ChainOfThought(parameters) => parameters.max_model_calls(),
            Self::React(parameters) => parameters.max_model_calls(),
            Self::PlanAndExecute(parameters) => parameters.max_model_calls(),
            Self::Reflection(parameters) => parameters.max_model_calls(),
            Self::Debate(parameters) => parameters.max_model_calls(),
        }
    }
}

/// Calls the model; a reply that was cut off or filtered is an error.
async fn ask(fx: &Effects, request: ModelRequest) -> Result<ModelReply, StrategyError> {
    let purpose = request.purpose.clone();
    let reply = fx.model(request).await?;
    match reply.stop {
        StopReason::EndTurn | StopReason::ToolCalls => Ok(reply),
        StopReason::MaxTokens => Err(StrategyError::Truncated { purpose }),
        StopReason::ContentFilter => Err(StrategyError::Filtered { purpose }),
    }
}

fn answer(text: &str, purpose: &str) -> Result<Answer, StrategyError> {
    match text.trim() {
        "" => Err(unparseable(purpose, "it is empty")),
        text => Ok(Answer { text: text.into() }),
    }
}

fn unparseable(purpose: &str, reason: impl Into<String>) -> StrategyError {
    StrategyError::Unparseable { purpose: purpose.into(), reason: reason.into() }
}

/// Reads the JSON object in a reply, even if the model put prose or a code fence around it.
fn parse_object<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let object = match (text.find('{'), text.rfind('}')) {
        (Some(start), Some(end)) if start < end => &text[start..=end],
        _ => return Err("it has no JSON object".into()),
    };
    serde_json::from_str(object).map_err(|error| error.to_string())
}
