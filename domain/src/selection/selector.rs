//! What a tenant's selection knows, as it is kept and shared by replicas.

use chrono::{DateTime, Utc};

use super::record::Record;
use crate::ids::AgentId;

/// What was learnt from runs and from what people said of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Learnt {
    /// When.
    pub at: Option<DateTime<Utc>>,
    /// How agents have done.
    pub record: Record,
    /// The name of what the classifier was trained on; it is made anew from that. See [`Lesson::digest`](super::Lesson::digest).
    pub lesson: String,
    /// How well a task must fit an agent; nothing while too few agents have examples.
    pub threshold: Option<f64>,
}

/// A tenant's selection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selector {
    revision: u64,
    default_agent: Option<AgentId>,
    reset_at: Option<DateTime<Utc>>,
    learnt: Learnt,
}

impl Selector {
    /// A selection that was stored.
    pub fn restore(
        revision: u64,
        default_agent: Option<AgentId>,
        reset_at: Option<DateTime<Utc>>,
        learnt: Learnt,
    ) -> Self {
        Self { revision, default_agent, reset_at, learnt }
    }

    /// Grows by one with each change, from 0 where nothing was ever learnt or said.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Who does what fits nobody.
    pub fn default_agent(&self) -> Option<AgentId> {
        self.default_agent
    }

    /// Nothing from before is learnt from.
    pub fn reset_at(&self) -> Option<DateTime<Utc>> {
        self.reset_at
    }

    /// What was learnt.
    pub fn learnt(&self) -> &Learnt {
        &self.learnt
    }

    /// Says who does what fits nobody.
    #[must_use]
    pub fn with_default(self, agent: Option<AgentId>) -> Self {
        Self { default_agent: agent, revision: self.revision + 1, ..self }
    }

    /// Forgets what was learnt, for good: runs and words from before are not looked at again.
    #[must_use]
    pub fn forget(self, now: DateTime<Utc>) -> Self {
        Self { reset_at: Some(now), learnt: Learnt::default(), revision: self.revision + 1, ..self }
    }

    /// Takes in what was learnt; nothing when it is what was known.
    pub fn learn(&self, learnt: Learnt) -> Option<Self> {
        if (Learnt { at: self.learnt.at, ..learnt.clone() }) == self.learnt {
            return None;
        }
        Some(Self { learnt, revision: self.revision + 1, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn each_change_has_a_revision_and_what_is_known_is_none() {
        let agent = AgentId::from_uuid(Uuid::from_u128(1));
        let learnt = Learnt { at: Some(DateTime::UNIX_EPOCH), lesson: "a".into(), ..Learnt::default() };
        let selector = Selector::default().with_default(Some(agent)).learn(learnt.clone()).unwrap();
        assert_eq!((selector.revision(), selector.default_agent()), (2, Some(agent)));
        assert_eq!(selector.learn(Learnt { at: None, ..learnt }), None);
        let forgotten = selector.forget(DateTime::UNIX_EPOCH);
        assert_eq!((forgotten.revision(), forgotten.default_agent()), (3, Some(agent)));
        assert_eq!(
            (forgotten.learnt(), forgotten.reset_at()),
            (&Learnt::default(), Some(DateTime::UNIX_EPOCH))
        );
    }
}
