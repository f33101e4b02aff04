//! Formations: agents that work on a task before the one that answers it.

use crate::agents::AgentName;

/// The most agents of a formation.
pub const MAX_FORMATION: usize = 16;

/// Agents that work before the chosen one, each in a run of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Formation {
    /// All at the same time, each on the task; the chosen one has their answers.
    Team(Vec<AgentName>),
    /// One after the other, each on the task and what the one before made of it; so the chosen one, which is the last.
    Pipeline(Vec<AgentName>),
}

impl Formation {
    /// The agents, in their order.
    pub fn agents(&self) -> &[AgentName] {
        match self {
            Self::Team(agents) | Self::Pipeline(agents) => agents,
        }
    }
}
