//! What is done, again and again: an agent of each kind that is worth it, and how it is used.

use powerhouse_domain::strategies::AgentKind;
use serde_json::{Value, json};

/// What is done, again and again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) kind: AgentKind,
    /// Turns in which tools are called.
    pub(crate) turns: usize,
    /// Who wants a person to approve each payment.
    pub(crate) careful: Careful,
    /// Whether the helpers work on the task first, in runs of their own.
    pub(crate) team: bool,
    /// Whether it goes on with a conversation, which has grown too long.
    pub(crate) in_thread: bool,
    /// Whether calls of all tools but `pay` stay in the process.
    pub(crate) stays_here: bool,
}

/// Who wants a person's word.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Careful {
    Nobody,
    /// The agent's definition.
    Agent,
    /// Its strategy, for each call.
    Strategy,
    /// A rule of the tenant.
    Policy,
}

pub(crate) const SCENARIOS: [Scenario; 35] = [
    scenario(AgentKind::React, 2, Careful::Nobody),
    scenario(AgentKind::React, 1, Careful::Agent),
    scenario(AgentKind::React, 1, Careful::Strategy),
    scenario(AgentKind::React, 1, Careful::Policy),
    scenario(AgentKind::Direct, 0, Careful::Nobody),
    scenario(AgentKind::ChainOfThought, 0, Careful::Nobody),
    scenario(AgentKind::PlanAndExecute, 1, Careful::Nobody),
    scenario(AgentKind::Reflection, 0, Careful::Nobody),
    scenario(AgentKind::Debate, 0, Careful::Nobody),
    scenario(AgentKind::SelfConsistency, 0, Careful::Nobody),
    scenario(AgentKind::Rewoo, 0, Careful::Nobody),
    scenario(AgentKind::LlmCompiler, 0, Careful::Nobody),
    scenario(AgentKind::Reflexion, 1, Careful::Nobody),
    scenario(AgentKind::TreeOfThought, 0, Careful::Nobody),
    scenario(AgentKind::MixtureOfAgents, 0, Careful::Nobody),
    scenario(AgentKind::Evaluator, 0, Careful::Nobody),
    scenario(AgentKind::Toolformer, 2, Careful::Nobody),
    scenario(AgentKind::AutoLoop, 1, Careful::Nobody),
    scenario(AgentKind::Cascade, 0, Careful::Nobody),
    scenario(AgentKind::Governor, 0, Careful::Agent),
    scenario(AgentKind::SqlAnalyst, 0, Careful::Nobody),
    scenario(AgentKind::Rag, 0, Careful::Nobody),
    scenario(AgentKind::Router, 1, Careful::Nobody),
    scenario(AgentKind::OrchestratorWorkers, 1, Careful::Nobody),
    scenario(AgentKind::Hierarchical, 1, Careful::Nobody),
    scenario(AgentKind::Swarm, 1, Careful::Nobody),
    Scenario { team: true, ..scenario(AgentKind::Direct, 1, Careful::Nobody) },
    Scenario { team: true, ..scenario(AgentKind::Router, 1, Careful::Nobody) },
    // Five answers are before its first.
    Scenario { in_thread: true, ..scenario(AgentKind::React, 6, Careful::Nobody) },
    scenario(AgentKind::Memory, 0, Careful::Nobody),
    scenario(AgentKind::CodeInterpreter, 2, Careful::Nobody),
    scenario(AgentKind::MetaEvolver, 0, Careful::Nobody),
    Scenario { stays_here: true, ..scenario(AgentKind::CodeInterpreter, 2, Careful::Nobody) },
    Scenario { stays_here: true, ..scenario(AgentKind::Toolformer, 3, Careful::Nobody) },
    Scenario { stays_here: true, ..scenario(AgentKind::SqlAnalyst, 0, Careful::Nobody) },
];

const fn scenario(kind: AgentKind, turns: usize, careful: Careful) -> Scenario {
    Scenario { kind, turns, careful, team: false, in_thread: false, stays_here: false }
}

impl Scenario {
    /// Small, so that there are few moments, and with the tools that there are.
    pub(crate) fn parameters(self) -> Value {
        match self.kind {
            AgentKind::React => json!({"confirm_calls": self.careful == Careful::Strategy}),
            AgentKind::SelfConsistency => json!({"samples": 3}),
            AgentKind::Evaluator => json!({"mode": "pairwise"}),
            AgentKind::TreeOfThought => json!({"depth": 1, "branches": 2}),
            AgentKind::MixtureOfAgents => json!({"layers": 1, "proposers": 2, "models": ["small"]}),
            AgentKind::Cascade => json!({"models": ["small"], "threshold": 10}),
            AgentKind::Hierarchical => json!({"max_subgoals": 2}),
            AgentKind::Swarm => json!({"by": "voting"}),
            AgentKind::SqlAnalyst => json!({"schema_tool": "look", "query_tool": "look"}),
            AgentKind::Rag => json!({"search_tool": "look"}),
            AgentKind::MetaEvolver => json!({"examples": ["1 => one", "2 => two"], "candidates": 1}),
            _ => json!({}),
        }
    }

    /// The tools that it lists, of those that there are.
    pub(crate) fn tools(self) -> Vec<String> {
        let listed: &[&str] = match self.kind {
            AgentKind::Memory => &["memory_search", "memory_apply"],
            AgentKind::CodeInterpreter => &["run_code"],
            _ => &["look", "pay"],
        };
        listed.iter().map(|name| (*name).to_owned()).collect()
    }
}
