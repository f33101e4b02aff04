//! The registry of agent kinds, and the checks that all parameters share.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value, json};

use super::{chain_of_thought, debate, plan_and_execute, react, reflection};

/// A kind of agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AgentKind {
    /// One call.
    Direct,
    /// Reasons, then answers.
    ChainOfThought,
    /// Reasons and acts in turn.
    React,
    /// Plans, then works off the plan.
    PlanAndExecute,
    /// Drafts, criticises and revises.
    Reflection,
    /// Two sides argue, a judge answers.
    Debate,
}

/// A text that names no kind of agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such kind of agent")]
pub struct UnknownKind;

impl AgentKind {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::Direct,
        Self::ChainOfThought,
        Self::React,
        Self::PlanAndExecute,
        Self::Reflection,
        Self::Debate,
    ];

    /// Its identifier, as in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::ChainOfThought => "chain_of_thought",
            Self::React => "react",
            Self::PlanAndExecute => "plan_and_execute",
            Self::Reflection => "reflection",
            Self::Debate => "debate",
        }
    }

    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "Direct",
            Self::ChainOfThought => "Chain of thought",
            Self::React => "ReAct",
            Self::PlanAndExecute => "Plan and execute",
            Self::Reflection => "Reflection",
            Self::Debate => "Debate",
        }
    }

    /// What it does, in a sentence.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Direct => "Answers with a single model call.",
            Self::ChainOfThought => "Reasons step by step, then extracts the answer.",
            Self::React => "Alternates between reasoning and calling tools until it can answer.",
            Self::PlanAndExecute => "Plans steps, works them off one by one, and replans when blocked.",
            Self::Reflection => "Drafts an answer, then criticises and revises it until its critic accepts.",
            Self::Debate => "Lets two sides argue in rounds, then a judge answers.",
        }
    }

    /// Where it is described.
    pub fn source(self) -> &'static str {
        match self {
            Self::Direct => "No paper: the baseline",
            Self::ChainOfThought => {
                "Wei et al. 2022, Chain-of-Thought Prompting Elicits Reasoning in Large Language Models; \
                 Kojima et al. 2022, Large Language Models are Zero-Shot Reasoners"
            }
            Self::React => "Yao et al. 2022, ReAct: Synergizing Reasoning and Acting in Language Models",
            Self::PlanAndExecute => {
                "Wang et al. 2023, Plan-and-Solve Prompting: Improving Zero-Shot Chain-of-Thought Reasoning \
                 by Large Language Models"
            }
            Self::Reflection => "Madaan et al. 2023, Self-Refine: Iterative Refinement with Self-Feedback",
            Self::Debate => {
                "Du et al. 2023, Improving Factuality and Reasoning in Language Models through Multiagent \
                 Debate"
            }
        }
    }

    /// JSON Schema (draft 2020-12) of its parameters.
    pub fn parameters_schema(self) -> Value {
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": self.properties(),
            "additionalProperties": false,
        })
    }

    fn properties(self) -> Map<String, Value> {
        match self {
            Self::Direct => Map::new(),
            Self::ChainOfThought => chain_of_thought::properties(),
            Self::React => react::properties(),
            Self::PlanAndExecute => bounded(&[plan_and_execute::MAX_STEPS, plan_and_execute::MAX_REPLANS]),
            Self::Reflection => bounded(&[reflection::MAX_ROUNDS]),
            Self::Debate => bounded(&[debate::ROUNDS]),
        }
    }

    pub(super) fn checked_fields(self, parameters: &Value) -> Result<&Map<String, Value>, ParameterError> {
        let fields = parameters.as_object().ok_or_else(|| ParameterError::wrong_type("", "an object"))?;
        let known = self.properties();
        match fields.keys().find(|field| !known.contains_key(*field)) {
            Some(field) => Err(ParameterError::Unknown { pointer: pointer(field) }),
            None => Ok(fields),
        }
    }
}

impl fmt::Display for AgentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AgentKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownKind)
    }
}

/// Why parameters were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// A number is too small or too large.
    #[error("`{field}` must be {min} to {max}")]
    OutOfBounds {
        /// The field.
        field: &'static str,
        /// The least value allowed.
        min: u32,
        /// The greatest value allowed.
        max: u32,
    },
    /// The kind has no such parameter.
    #[error("`{pointer}` is not a parameter of this kind")]
    Unknown {
        /// JSON Pointer (RFC 6901) to the field.
        pointer: String,
    },
    /// A value is of another type.
    #[error("`{pointer}` must be {expected}")]
    WrongType {
        /// JSON Pointer (RFC 6901) to the field.
        pointer: String,
        /// What is allowed.
        expected: &'static str,
    },
}

impl ParameterError {
    pub(super) fn wrong_type(field: &str, expected: &'static str) -> Self {
        let pointer = if field.is_empty() { String::new() } else { pointer(field) };
        Self::WrongType { pointer, expected }
    }

    /// JSON Pointer (RFC 6901) to the offending field.
    pub fn pointer(&self) -> String {
        match self {
            Self::OutOfBounds { field, .. } => pointer(field),
            Self::Unknown { pointer } | Self::WrongType { pointer, .. } => pointer.clone(),
        }
    }
}

fn pointer(field: &str) -> String {
    format!("/{}", field.replace('~', "~0").replace('/', "~1"))
}

/// An integer parameter with its bounds, both inclusive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounded {
    pub(super) field: &'static str,
    pub(super) min: u32,
    pub(super) max: u32,
    pub(super) default: u32,
}

impl Bounded {
    pub(super) fn check(self, value: u32) -> Result<u32, ParameterError> {
        if (self.min..=self.max).contains(&value) { Ok(value) } else { Err(self.refusal()) }
    }

    pub(super) fn read(self, fields: &Map<String, Value>) -> Result<u32, ParameterError> {
        match fields.get(self.field) {
            None => Ok(self.default),
            Some(value) if value.is_i64() || value.is_u64() => {
                let value = value.as_u64().and_then(|value| u32::try_from(value).ok());
                value.map_or_else(|| Err(self.refusal()), |value| self.check(value))
            }
            Some(_) => Err(ParameterError::wrong_type(self.field, "an integer")),
        }
    }

    fn refusal(self) -> ParameterError {
        ParameterError::OutOfBounds { field: self.field, min: self.min, max: self.max }
    }
}

pub(super) fn bounded(parameters: &[Bounded]) -> Map<String, Value> {
    let schema =
        |p: &Bounded| json!({"type": "integer", "minimum": p.min, "maximum": p.max, "default": p.default});
    parameters.iter().map(|p| (p.field.to_owned(), schema(p))).collect()
}
