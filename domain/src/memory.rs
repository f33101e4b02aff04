//! What agents remember between runs: facts, observations, reflections, skills and plans, each of an agent and a user.
//!
//! Start reading at [`Memory`]; what comes to mind for a question is in [`rank`].

use std::str::FromStr;

use chrono::{DateTime, Utc};

use crate::access::named_enum;
use crate::ids::{AgentId, MemoryId, RunId, UserId};

mod scoring;

pub use scoring::{Ranked, Scoring, Wanted, least_valuable, rank, recency};

/// The most characters of a memory.
pub const MAX_MEMORY_CHARS: usize = 4_000;
/// The most memories that an agent has of one user. One more takes the place of the least valuable.
pub const MAX_MEMORIES: usize = 500;
/// The most memories that a search finds.
pub const MAX_FOUND: usize = 50;
/// The most changes that are made at once.
pub const MAX_CHANGES: usize = 32;
/// The most numbers of a vector.
pub const MAX_DIMENSIONS: usize = 4_096;

named_enum! {
    /// What sort of thing is remembered.
    MemoryKind as "kind of memory" {
        /// Something that is so.
        Fact = "fact",
        /// Something that happened.
        Observation = "observation",
        /// What follows from other memories.
        Reflection = "reflection",
        /// How something is done.
        Skill = "skill",
        /// What is to be done.
        Plan = "plan",
    }
}

/// What is remembered: not blank, at most [`MAX_MEMORY_CHARS`] characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryText(String);

/// A text that is no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a memory says something, in at most {MAX_MEMORY_CHARS} characters")]
pub struct InvalidMemoryText;

impl FromStr for MemoryText {
    type Err = InvalidMemoryText;

    fn from_str(text: &str) -> Result<Self, InvalidMemoryText> {
        let text = text.trim();
        if text.is_empty() || text.contains('\0') || text.chars().nth(MAX_MEMORY_CHARS).is_some() {
            return Err(InvalidMemoryText);
        }
        Ok(Self(text.to_owned()))
    }
}

impl MemoryText {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How much a memory matters: 1, brushing one's teeth, to 10, a break-up (Park et al. 2023).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Importance(u8);

/// A number that is no importance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("importance is a whole number from 1 to 10")]
pub struct InvalidImportance;

impl Importance {
    /// Checks a number.
    pub const fn new(number: u8) -> Result<Self, InvalidImportance> {
        if 1 <= number && number <= 10 { Ok(Self(number)) } else { Err(InvalidImportance) }
    }

    /// The number.
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// The middle of the scale.
impl Default for Importance {
    fn default() -> Self {
        Self(5)
    }
}

/// A text's direction among others, as a model of embeddings sees it. Only vectors of the same model can be compared.
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryVector {
    /// The model that made it.
    pub model: String,
    /// Its numbers: at least one, all finite, of Euclidean norm 1.
    pub parts: Vec<f32>,
}

impl MemoryVector {
    /// A vector, unless it is too long, or none.
    pub fn new(model: impl Into<String>, parts: Vec<f32>) -> Option<Self> {
        let is_one = (1..=MAX_DIMENSIONS).contains(&parts.len()) && parts.iter().all(|part| part.is_finite());
        is_one.then(|| Self { model: model.into(), parts })
    }
}

/// Whose memories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Whose {
    /// The agent that remembers.
    pub agent: AgentId,
    /// The user whom it remembers it of; nobody, when it is for all who use the agent.
    pub user: Option<UserId>,
}

/// Something that is remembered.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    /// Its id.
    pub id: MemoryId,
    /// Who remembers it, and of whom.
    pub whose: Whose,
    /// What sort of thing it is.
    pub kind: MemoryKind,
    /// What it says.
    pub text: MemoryText,
    /// How much it matters.
    pub importance: Importance,
    /// When it was first remembered.
    pub created_at: DateTime<Utc>,
    /// When it last came to mind.
    pub accessed_at: DateTime<Utc>,
    /// Its direction; none, when nothing makes vectors.
    pub vector: Option<MemoryVector>,
    /// The run that remembered it, if one did.
    pub run: Option<RunId>,
}

/// How much a memory is worth keeping, for all that is known without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worth {
    /// The memory.
    pub id: MemoryId,
    /// How much it matters.
    pub importance: Importance,
    /// When it last came to mind.
    pub accessed_at: DateTime<Utc>,
}

/// Something new to remember, or to remember instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMemory {
    /// What sort of thing it is.
    pub kind: MemoryKind,
    /// What it says.
    pub text: MemoryText,
    /// How much it matters.
    pub importance: Importance,
}

/// A change of what is remembered (Mem0, Chhikara et al. 2025).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemoryChange {
    /// Something new.
    Add(NewMemory),
    /// Something that says more, or is righter, than what was remembered.
    Update {
        /// What was remembered.
        id: MemoryId,
        /// What it says now.
        text: MemoryText,
        /// How much it matters now; as before, when nothing is said.
        importance: Option<Importance>,
    },
    /// Something that is not so any more.
    Delete(MemoryId),
    /// Nothing: it is known, or not worth it.
    Noop,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_says_something_within_its_bounds() {
        let text = |text: &str| text.parse::<MemoryText>().map(|text| text.as_str().to_owned());
        assert_eq!(text(" likes tea \n"), Ok("likes tea".to_owned()));
        for bad in ["", " \n", "a\0b", &"é".repeat(MAX_MEMORY_CHARS + 1)] {
            assert_eq!(text(bad), Err(InvalidMemoryText));
        }
        assert!(text(&"é".repeat(MAX_MEMORY_CHARS)).is_ok());
    }

    #[test]
    fn importance_is_one_to_ten_and_a_vector_has_a_direction() {
        assert_eq!([0, 1, 10, 11].map(|number| Importance::new(number).is_ok()), [false, true, true, false]);
        assert!(MemoryVector::new("m", vec![1.0]).is_some());
        for bad in [vec![], vec![f32::NAN], vec![0.0; MAX_DIMENSIONS + 1]] {
            assert_eq!(MemoryVector::new("m", bad), None);
        }
    }
}
