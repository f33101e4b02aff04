//! Agents: versioned definitions. A draft is edited, a published version is what runs use and never changes.

use std::str::FromStr;

use chrono::{DateTime, Utc};

use crate::ids::AgentId;
use crate::runs::{Formation, RunLimits};
use crate::strategies::Strategy;

/// The most characters that an agent's instructions may have.
pub const MAX_INSTRUCTIONS_CHARS: usize = 16_384;
/// The most characters that an agent's description may have.
pub const MAX_DESCRIPTION_CHARS: usize = 1_024;
/// The most tools, capabilities or examples that one agent may list.
pub const MAX_LISTED: usize = 64;

/// What an agent is called within its tenant: `[a-z][a-z0-9_-]{0,62}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentName(String);

/// A text that is not an agent's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an agent's name is 1 to 63 lower-case letters, digits, `-` and `_`, and starts with a letter")]
pub struct InvalidAgentName;

impl FromStr for AgentName {
    type Err = InvalidAgentName;

    fn from_str(text: &str) -> Result<Self, InvalidAgentName> {
        let inner =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
        let valid = (1..=63).contains(&text.len())
            && text.as_bytes()[0].is_ascii_lowercase()
            && text.bytes().all(inner);
        if valid { Ok(Self(text.into())) } else { Err(InvalidAgentName) }
    }
}

impl AgentName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An agent that another one's runs may begin runs of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubAgent {
    /// Its name.
    pub name: AgentName,
    /// What it is to be used for, in the words of whoever lists it. It stays as it is with the version that lists it,
    /// whatever becomes of the agent's own description.
    pub description: String,
}

/// What an agent does and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// What it is good at, for people and for selection.
    pub description: String,
    /// The way it works.
    pub strategy: Strategy,
    /// What it is told before every task.
    pub instructions: String,
    /// The model, as the catalogue names it; the platform's default when absent.
    pub model: Option<String>,
    /// The tools it may call.
    pub tools: Vec<String>,
    /// What it can do, for selection to filter by.
    pub capabilities: Vec<String>,
    /// Tasks that it is meant for, for selection to learn from.
    pub examples: Vec<String>,
    /// What each of its runs may use.
    pub limits: RunLimits,
    /// Tools of which a person approves each call.
    pub approvals: Vec<String>,
    /// Agents that its runs may begin runs of.
    pub agents: Vec<SubAgent>,
    /// Agents that work on each task before it, if any do: then it is what a team or a pipeline is known by, and chosen as.
    pub formation: Option<Formation>,
    /// How many of its runs may be worked on at the same time; no bound of its own when absent.
    pub max_concurrent_runs: Option<u32>,
}

impl Definition {
    /// The names of what is not as in another one.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        [
            ("description", self.description != other.description),
            ("kind", self.strategy.kind() != other.strategy.kind()),
            ("parameters", self.strategy.parameters() != other.strategy.parameters()),
            ("instructions", self.instructions != other.instructions),
            ("model", self.model != other.model),
            ("tools", self.tools != other.tools),
            ("capabilities", self.capabilities != other.capabilities),
            ("examples", self.examples != other.examples),
            ("limits", self.limits != other.limits),
            ("approvals", self.approvals != other.approvals),
            ("agents", self.agents != other.agents),
            ("formation", self.formation != other.formation),
            ("max_concurrent_runs", self.max_concurrent_runs != other.max_concurrent_runs),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
    }
}

/// Why a definition is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDefinition {
    /// A text is too long.
    #[error("{field} has at most {max} characters")]
    TooLong {
        /// Which text.
        field: &'static str,
        /// Its bound.
        max: usize,
    },
    /// A list is too long.
    #[error("{field} has at most {MAX_LISTED} entries")]
    TooMany {
        /// Which list.
        field: &'static str,
    },
    /// A list names something twice, or an entry is empty.
    #[error("{field} must not be empty or given twice")]
    BadEntry {
        /// Which list.
        field: &'static str,
    },
    /// A limit is zero, so that no run could do anything.
    #[error("limits.{field} must be more than zero")]
    ZeroLimit {
        /// Which limit.
        field: &'static str,
    },
    /// No run of it could ever be worked on.
    #[error("max_concurrent_runs must be more than zero")]
    NoRuns,
}

impl Definition {
    fn check(&self) -> Result<(), InvalidDefinition> {
        for (field, text, max) in [
            ("description", &self.description, MAX_DESCRIPTION_CHARS),
            ("instructions", &self.instructions, MAX_INSTRUCTIONS_CHARS),
        ] {
            if text.chars().nth(max).is_some() {
                return Err(InvalidDefinition::TooLong { field, max });
            }
        }
        for (field, list) in [
            ("tools", &self.tools),
            ("capabilities", &self.capabilities),
            ("examples", &self.examples),
            ("approvals", &self.approvals),
        ] {
            check_list(field, list)?;
        }
        let names: Vec<_> = self.agents.iter().map(|agent| agent.name.as_str().to_owned()).collect();
        check_list("agents", &names)?;
        for SubAgent { description, .. } in &self.agents {
            if description.chars().nth(MAX_DESCRIPTION_CHARS).is_some() {
                return Err(InvalidDefinition::TooLong { field: "agents", max: MAX_DESCRIPTION_CHARS });
            }
        }
        for (field, is_zero) in [
            ("steps", self.limits.steps == 0),
            ("tokens", self.limits.tokens == 0),
            ("wall_clock", self.limits.wall_clock.is_zero()),
        ] {
            if is_zero {
                return Err(InvalidDefinition::ZeroLimit { field });
            }
        }
        if self.max_concurrent_runs == Some(0) {
            return Err(InvalidDefinition::NoRuns);
        }
        Ok(())
    }
}

fn check_list(field: &'static str, list: &[String]) -> Result<(), InvalidDefinition> {
    if list.len() > MAX_LISTED {
        return Err(InvalidDefinition::TooMany { field });
    }
    for (position, entry) in list.iter().enumerate() {
        if entry.trim().is_empty() || list[..position].contains(entry) {
            return Err(InvalidDefinition::BadEntry { field });
        }
        if entry.chars().nth(MAX_DESCRIPTION_CHARS).is_some() {
            return Err(InvalidDefinition::TooLong { field, max: MAX_DESCRIPTION_CHARS });
        }
    }
    Ok(())
}

/// A published definition under its number, counted from 1. It never changes.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishedVersion {
    /// Its number.
    pub number: u32,
    /// What was published.
    pub definition: Definition,
    /// When.
    pub published_at: DateTime<Utc>,
}

/// Where an agent is in its life, with the data that belongs to it there.
#[expect(
    clippy::large_enum_variant,
    reason = "most agents are published, so the large variant is the usual one"
)]
#[derive(Clone, Debug, PartialEq)]
pub enum AgentState {
    /// Never published: no run can use it.
    Draft {
        /// What is being written.
        draft: Definition,
    },
    /// Runs use `current`; a draft of the next version may be in the making.
    Published {
        /// What runs use.
        current: PublishedVersion,
        /// What is being written.
        draft: Option<Definition>,
    },
    /// No new run can use it; its finished runs still name its last version.
    Archived {
        /// The last published version, if there ever was one.
        last: Option<PublishedVersion>,
        /// When.
        archived_at: DateTime<Utc>,
    },
}

/// What was to be done to an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentChange {
    /// Write the draft.
    Edit,
    /// Make the draft what runs use.
    Publish,
    /// Take it out of use.
    Archive,
}

/// Why an agent was not changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AgentRefusal {
    /// The definition breaks a rule.
    #[error(transparent)]
    Invalid(InvalidDefinition),
    /// The agent is archived, and stays so.
    #[error("the agent is archived")]
    Archived,
    /// There is no draft to publish.
    #[error("the agent has no draft to publish")]
    NoDraft,
}

/// A refused change. The agent is as it was.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{reason}")]
pub struct AgentChangeRefused {
    /// The agent, unchanged.
    pub agent: Box<Agent>,
    /// What was to be done.
    pub change: AgentChange,
    /// Why it was not.
    pub reason: AgentRefusal,
}

/// An agent over all its versions.
#[derive(Clone, Debug, PartialEq)]
pub struct Agent {
    id: AgentId,
    name: AgentName,
    state: AgentState,
    created_at: DateTime<Utc>,
    revision: u64,
}

impl Agent {
    /// A new agent with its first draft.
    pub fn draft(
        id: AgentId,
        name: AgentName,
        draft: Definition,
        now: DateTime<Utc>,
    ) -> Result<Self, InvalidDefinition> {
        draft.check()?;
        Ok(Self { id, name, state: AgentState::Draft { draft }, created_at: now, revision: 1 })
    }

    /// Loads an agent that was stored.
    pub fn restore(
        id: AgentId,
        name: AgentName,
        state: AgentState,
        created_at: DateTime<Utc>,
        revision: u64,
    ) -> Self {
        Self { id, name, state, created_at, revision }
    }

    /// Its id.
    pub fn id(&self) -> AgentId {
        self.id
    }

    /// Its name.
    pub fn name(&self) -> &AgentName {
        &self.name
    }

    /// Where it is in its life.
    pub fn state(&self) -> &AgentState {
        &self.state
    }

    /// When it was made.
    pub fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    /// Grows by one with each change; what an `ETag` is made of.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// What a new run would use.
    pub fn runnable(&self) -> Option<&PublishedVersion> {
        match &self.state {
            AgentState::Published { current, .. } => Some(current),
            AgentState::Draft { .. } | AgentState::Archived { .. } => None,
        }
    }

    /// The newest definition: what is being written, or else what runs use.
    pub fn newest(&self) -> Option<&Definition> {
        match &self.state {
            AgentState::Draft { draft } | AgentState::Published { draft: Some(draft), .. } => Some(draft),
            AgentState::Published { current, draft: None } => Some(&current.definition),
            AgentState::Archived { last, .. } => last.as_ref().map(|last| &last.definition),
        }
    }

    /// Writes the draft of the next version.
    pub fn edit(self, draft: Definition) -> Result<Self, AgentChangeRefused> {
        if let Err(invalid) = draft.check() {
            return Err(self.refused(AgentChange::Edit, AgentRefusal::Invalid(invalid)));
        }
        self.change(AgentChange::Edit, |state| match state {
            AgentState::Draft { .. } => Ok(AgentState::Draft { draft }),
            AgentState::Published { current, .. } => {
                Ok(AgentState::Published { current: current.clone(), draft: Some(draft) })
            }
            AgentState::Archived { .. } => Err(AgentRefusal::Archived),
        })
    }

    /// Makes the draft what runs use.
    pub fn publish(self, now: DateTime<Utc>) -> Result<Self, AgentChangeRefused> {
        let published = |number, definition: &Definition| AgentState::Published {
            current: PublishedVersion { number, definition: definition.clone(), published_at: now },
            draft: None,
        };
        self.change(AgentChange::Publish, |state| match state {
            AgentState::Draft { draft } => Ok(published(1, draft)),
            AgentState::Published { current, draft: Some(draft) } => Ok(published(current.number + 1, draft)),
            AgentState::Published { draft: None, .. } => Err(AgentRefusal::NoDraft),
            AgentState::Archived { .. } => Err(AgentRefusal::Archived),
        })
    }

    /// Takes it out of use, for ever.
    pub fn archive(self, now: DateTime<Utc>) -> Result<Self, AgentChangeRefused> {
        let archived = |last| Ok(AgentState::Archived { last, archived_at: now });
        self.change(AgentChange::Archive, |state| match state {
            AgentState::Draft { .. } => archived(None),
            AgentState::Published { current, .. } => archived(Some(current.clone())),
            AgentState::Archived { .. } => Err(AgentRefusal::Archived),
        })
    }

    fn change(
        self,
        change: AgentChange,
        next: impl FnOnce(&AgentState) -> Result<AgentState, AgentRefusal>,
    ) -> Result<Self, AgentChangeRefused> {
        match next(&self.state) {
            Ok(state) => Ok(Self { state, revision: self.revision + 1, ..self }),
            Err(reason) => Err(self.refused(change, reason)),
        }
    }

    fn refused(self, change: AgentChange, reason: AgentRefusal) -> AgentChangeRefused {
        AgentChangeRefused { agent: Box::new(self), change, reason }
    }
}

#[cfg(test)]
mod tests;
