//! The kinds of agents: each a strategy, written as its paper's pseudo-code over [`Effects`](crate::effects::Effects).
//!
//! A kind is a file here with `Parameters` that are a `Kind`, and a line of the table in `kind.rs`. What
//! several of them do is in `asking` (model calls), `reading` (what a reply says), `acting` (tools in turns) and
//! `dataflow` (plans whose steps use each other's outputs).

use crate::agents::{Definition, SubAgent};
use crate::effects::EffectFailure;
use crate::model::Message;
use crate::runs::{Formation, Run};
use crate::threads::Conversation;
use crate::tools::ToolSpec;

mod acting;
mod asking;
mod compaction;
mod dataflow;
mod delegating;
mod formation;
mod kind;
mod parameters;
mod reading;
mod remembering;
#[cfg(test)]
mod scripted;
#[cfg(test)]
mod tests;

mod adaptive_memory;
mod auto_loop;
mod cascade;
mod chain_of_thought;
mod code_interpreter;
mod curriculum;
mod debate;
mod direct;
mod evaluator;
mod generative;
mod governor;
mod hierarchical;
mod llm_compiler;
mod memory;
mod meta_evolver;
mod mixture_of_agents;
mod orchestrator_workers;
mod plan_and_execute;
mod rag;
mod react;
mod reflection;
mod reflexion;
mod rewoo;
mod router;
mod self_consistency;
mod sql_analyst;
mod swarm;
mod toolformer;
mod tree_of_thought;
mod voyager;

pub use compaction::summary_made;
pub use kind::{About, AgentKind, Source, Strategy, StrategyFuture, ToolUse, UnknownKind};
pub use parameters::ParameterError;

/// What an agent is given.
#[derive(Clone, Debug, PartialEq)]
pub struct Brief {
    /// What is to be done.
    pub task: String,
    /// The agent's standing instructions; may be empty.
    pub instructions: String,
    /// The tools it may call.
    pub tools: Vec<ToolSpec>,
    /// The agents that it may have do something.
    pub agents: Vec<SubAgent>,
    /// The agents that work on the task before it, if any do.
    pub formation: Option<Formation>,
    /// What was said before the task, in the thread that it belongs to.
    pub conversation: Conversation,
}

impl Brief {
    /// What the agent of this definition is given for a run.
    pub fn of(run: &Run, definition: &Definition, tools: Vec<ToolSpec>) -> Self {
        Self {
            task: run.task().as_str().to_owned(),
            instructions: definition.instructions.clone(),
            tools,
            agents: definition.agents.clone(),
            formation: run.selection().formation.clone(),
            conversation: Conversation::default(),
        }
    }

    /// The same after what was said before.
    #[must_use]
    pub fn after(self, conversation: Conversation) -> Self {
        Self { conversation, ..self }
    }

    /// The start of a conversation: the agent's instructions, then the strategy's guidance, then what was said before the task,
    /// then `user`.
    fn conversation(&self, guidance: &str, user: impl Into<String>) -> Vec<Message> {
        let parts = [self.instructions.trim(), guidance];
        let system = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n");
        let system = (!system.is_empty()).then(|| Message::system(system));
        let before = compaction::messages(&self.conversation);
        system.into_iter().chain(before).chain([Message::user(user)]).collect()
    }

    /// A conversation about the task, with what is known beside it: each a heading and a text.
    /// Fails unless these tools are there, and says which are not.
    fn has_tools(&self, needed: Vec<String>) -> Result<(), StrategyError> {
        let is_missing = |needed: &String| !self.tools.iter().any(|tool| tool.name == *needed);
        let missing: Vec<String> = needed.into_iter().filter(is_missing).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(StrategyError::MissingTools { needed: missing.join(", ") })
    }

    fn about_task(&self, guidance: &str, sections: &[(&str, &str)]) -> Vec<Message> {
        self.conversation(guidance, with_sections(&self.task, sections))
    }
}

fn with_sections(task: &str, sections: &[(&str, &str)]) -> String {
    sections.iter().fold(format!("Task:\n{task}"), |text, (heading, body)| {
        let body = if body.is_empty() { "none" } else { body };
        text + "\n\n" + heading + ":\n" + body
    })
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
    /// An agent whose answer is needed has none.
    #[error("the agent `{agent}` has no answer: {reason}")]
    NoAnswerOf {
        /// The agent's name.
        agent: String,
        /// Why.
        reason: String,
    },
    /// The provider's filter stopped the model.
    #[error("the provider's content filter stopped the reply to `{purpose}`")]
    Filtered {
        /// The call's purpose.
        purpose: String,
    },
    /// The agent lists no agents, and its kind cannot work without.
    #[error(
        "this kind of agent needs others that it may have do something: list them under `agents` in its definition"
    )]
    MissingAgents,
    /// Too few agents have given the same answer.
    #[error("of {of} agents, no more than {most} have given the same answer")]
    NoQuorum {
        /// How many have given the answer that most have given.
        most: usize,
        /// How many were asked.
        of: usize,
    },
    /// The agent lacks tools that its kind cannot work without.
    #[error(
        "this kind of agent needs the tools {needed}: list them in the agent's definition, or name others in its parameters"
    )]
    MissingTools {
        /// Their names.
        needed: String,
    },
    /// A tool failed that the strategy cannot go on without.
    #[error("the tool `{tool}` failed: {reason}")]
    ToolFailed {
        /// The tool.
        tool: String,
        /// What it said.
        reason: String,
    },
    /// The task is not in the form that the kind works on.
    #[error("the task cannot be worked on: {reason}")]
    UnusableTask {
        /// What it must have.
        reason: &'static str,
    },
    /// A policy of the agent forbids it.
    #[error("the agent's policies forbid {what}: {reason}")]
    Forbidden {
        /// What is forbidden: the task, a call, or the answer.
        what: String,
        /// Which policy, and why.
        reason: String,
    },
}
