//! What a tenant's classifier learns from: the examples in agents' definitions, and tasks of runs that people called good.

use std::collections::{BTreeMap, HashSet};

use super::classifier::{Classifier, Example};
use crate::agents::Agent;
use crate::ids::AgentId;

/// An agent of which fewer examples are known is not learnt; the words that it says of itself speak for it.
pub const MIN_EXAMPLES: usize = 5;
/// The most agents that are learnt: those with the most examples.
const MAX_LEARNT: usize = 500;
/// The most characters altogether, and the most characters times agents: training takes space and time in proportion.
const MAX_CHARS: usize = 2_000_000;
const MAX_WORK: usize = 150_000_000;

/// The task of a run that somebody called good, and who did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Praised {
    /// Who did it.
    pub agent: AgentId,
    /// What was to be done, or its beginning.
    pub task: String,
}

/// What there is to learn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lesson {
    /// Those that are learnt, in the order of their ids, each with its texts.
    agents: BTreeMap<AgentId, Vec<String>>,
    /// How many tasks of good runs each agent has, learnt or not.
    praised: BTreeMap<AgentId, u32>,
}

impl Lesson {
    /// Gathers what there is of published agents. Of runs, the newest come first: what was last called good counts when the same
    /// task was done by several.
    pub fn of(agents: &[Agent], praised: &[Praised]) -> Self {
        let mut texts: BTreeMap<AgentId, Vec<String>> = BTreeMap::new();
        let mut descriptions: BTreeMap<AgentId, &str> = BTreeMap::new();
        for (agent, version) in agents.iter().filter_map(|agent| Some((agent.id(), agent.runnable()?))) {
            texts.insert(agent, version.definition.examples.clone());
            descriptions.insert(agent, version.definition.description.trim());
        }
        let mut counts = BTreeMap::new();
        let mut seen = HashSet::new();
        for Praised { agent, task } in praised {
            if let Some(own) = texts.get_mut(agent)
                && seen.insert(task)
            {
                *counts.entry(*agent).or_insert(0) += 1;
                own.push(task.clone());
            }
        }
        let mut learnt: Vec<(AgentId, Vec<String>)> =
            texts.into_iter().filter(|(_, own)| own.len() >= MIN_EXAMPLES).collect();
        learnt.sort_by_key(|(_, own)| std::cmp::Reverse(own.len()));
        learnt.truncate(MAX_LEARNT);
        let classes = learnt.len().max(1);
        let for_each = MAX_CHARS.min(MAX_WORK / classes) / classes;
        for (agent, own) in &mut learnt {
            own.extend(Some(descriptions[agent]).filter(|text| !text.is_empty()).map(str::to_owned));
            shorten(own, for_each);
        }
        Self { agents: learnt.into_iter().collect(), praised: counts }
    }

    /// How many tasks of good runs an agent has.
    pub fn praised(&self) -> &BTreeMap<AgentId, u32> {
        &self.praised
    }

    /// A name for just this: the same on every replica, and another when anything differs; none, where there is nothing to learn.
    pub fn digest(&self) -> String {
        if self.agents.is_empty() {
            return String::new();
        }
        let texts = self.agents.iter().flat_map(|(agent, own)| {
            let id = agent.as_uuid().as_u128().to_be_bytes().to_vec();
            std::iter::once(id).chain(own.iter().map(|text| text.as_bytes().to_vec()))
        });
        // FNV-1a; 0xff is in no UTF-8.
        let hash = texts
            .flat_map(|text| text.into_iter().chain([0xff]))
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        format!("{hash:016x}")
    }

    /// Learns, until `is_stopped`; nothing when too few agents have examples.
    pub fn learn(&self, is_stopped: &dyn Fn() -> bool) -> Option<Trained> {
        let examples: Vec<Example<'_>> = (0..)
            .zip(self.agents.values())
            .flat_map(|(class, texts)| texts.iter().map(move |text| Example { text, class }))
            .collect();
        let classes = u16::try_from(self.agents.len()).ok()?;
        let classifier = Classifier::train(&examples, classes, is_stopped)?;
        Some(Trained { classifier, agents: self.agents.keys().copied().collect() })
    }
}

/// Keeps so many characters: the first texts, each to a part that leaves room for as many as are needed to be known.
fn shorten(texts: &mut Vec<String>, chars: usize) {
    let mut left = chars;
    let most = chars / MIN_EXAMPLES;
    texts.retain_mut(|text| {
        if let Some((end, _)) = text.char_indices().nth(most) {
            text.truncate(end);
        }
        let length = text.chars().count();
        let has_room = length <= left;
        left = left.saturating_sub(length);
        has_room
    });
}

/// A classifier whose classes are agents.
#[derive(Debug)]
pub struct Trained {
    classifier: Classifier,
    agents: Vec<AgentId>,
}

impl Trained {
    /// How far on each agent's side a task is; nothing when no part of the task is like any that it has seen.
    pub(super) fn margins(&self, task: &str) -> Option<BTreeMap<AgentId, f64>> {
        let margins = self.classifier.scores(task)?.margins.into_iter().map(f64::from);
        Some(self.agents.iter().copied().zip(margins).collect())
    }

    /// The agents that it knows.
    pub fn agents(&self) -> &[AgentId] {
        &self.agents
    }

    /// What it learnt.
    pub fn classifier(&self) -> &Classifier {
        &self.classifier
    }
}
