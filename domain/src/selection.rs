//! Which agent does a task when the caller names none.
//!
//! Filter by the wish and by health; score by a classifier that has learnt from examples and good runs, and by the words that agents say
//! of themselves where there are too few of these; of those that fit about as well, draw one by how they have done; and when
//! nobody fits, the tenant's default agent. The reason is told in words.
//!
//! Start reading at [`choose`]. It is pure: the same knowledge and the same draw give the same choice.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use crate::agents::{Agent, PublishedVersion};
use crate::ids::{AgentId, RunId};
use crate::runs::Selection;

mod classifier;
mod explore;
mod features;
mod lesson;
pub(crate) mod lexical;
mod off_policy;
mod record;
mod selector;
mod svm;

pub use classifier::{Classifier, Example, Scores};
pub use lesson::{Lesson, MIN_EXAMPLES, Praised, Trained};
pub use off_policy::{Decision, Estimate, Evaluation, Interval, Logged, Policy, estimate, evaluate};
pub use record::{AgentRecord, Outcome, Record, WEIGHT_OF_WORD, record, rewards};
pub use selector::{Learnt, Selector};

use explore::{Arm, drawn, propensities};
use lexical::{bm25, shared, words, words_of};

/// Scores that are kept with a run.
const MAX_KEPT_SCORES: usize = 20;
/// Agents among which the record decides.
const MAX_IN_QUESTION: usize = 5;
/// An agent is in question when it fits at least so much as the best.
const NEAR_BY_EXAMPLES: f64 = 0.25;
const NEAR_BY_WORDS: f64 = 0.8;
/// How fast fitting falls off with the classifier's margin: by e for each of these.
const TEMPERATURE: f64 = 0.2;

/// What the caller asks of the choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Only these agents; all when empty.
    pub candidates: Vec<AgentId>,
    /// What the agent must be able to do.
    pub capabilities: Vec<String>,
}

/// Who is to do a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// This agent.
    Agent(AgentId),
    /// Whoever is best, within the wish.
    Auto(Wish),
}

/// No agent can do the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no published agent has what the run asks for")]
pub struct NoAgent;

/// What a choice is made with.
#[derive(Clone, Copy, Debug)]
pub struct Knowledge<'a> {
    /// What the tenant's selection knows.
    pub selector: &'a Selector,
    /// What was learnt from examples, if this process has it.
    pub trained: Option<&'a Trained>,
    /// The time.
    pub now: DateTime<Utc>,
    /// From 0 up to 1: what decides between agents that are as good as each other. See [`draw`].
    pub draw: f64,
}

/// The draw for a run, from the random half of its id, so that whoever has the run can work the choice out again. Ids of the same
/// millisecond may count up: the bits are mixed (Steele et al. 2014), so that their draws have nothing in common.
#[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
pub fn draw(run: RunId) -> f64 {
    const BITS: u32 = 53;
    let (_, half) = run.as_uuid().as_u64_pair();
    let mixed = (half ^ (half >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let mixed = mixed ^ (mixed >> 31);
    (mixed >> (u64::BITS - BITS)) as f64 / (1_u64 << BITS) as f64
}

/// The selection of an agent that the caller named.
pub fn named(agent: AgentId, version: u32) -> Selection {
    Selection {
        agent,
        agent_version: version,
        reason: "named by the caller".into(),
        scores: Vec::new(),
        formation: None,
        propensities: Vec::new(),
        revision: None,
    }
}

/// Chooses among agents. The same for the same knowledge; equal scores go to the older agent.
pub fn choose(
    task: &str,
    agents: &[Agent],
    wish: &Wish,
    knowledge: Knowledge<'_>,
) -> Result<Selection, NoAgent> {
    let fitting = healthy(fitting(agents, wish), knowledge);
    let (first, _) = *fitting.first().ok_or(NoAgent)?;
    let choice = Choice { task, fitting: &fitting, knowledge };
    if fitting.len() == 1 {
        let reason = format!("`{}` is the only published agent that fits", first.name().as_str());
        return Ok(choice.sure(first.id(), reason, &choice.by_words(|_| true)));
    }
    let learnt = knowledge.trained.and_then(|trained| choice.by_examples(trained));
    if let Some(ranking) = learnt.as_ref().filter(|ranking| ranking.fits) {
        return Ok(choice.explore(ranking, NEAR_BY_EXAMPLES));
    }
    // What others have learnt is not theirs may be for those of whom nothing was learnt.
    let is_new = |agent| {
        learnt.is_none() || knowledge.trained.is_none_or(|trained| !trained.agents().contains(&agent))
    };
    let words = choice.by_words(is_new);
    if words.fits {
        return Ok(choice.explore(&words, NEAR_BY_WORDS));
    }
    Ok(choice.fall_back(learnt.as_ref().unwrap_or(&words)))
}

type Fitting<'a> = Vec<(&'a Agent, &'a PublishedVersion)>;

/// The agents that the wish allows, the oldest first.
fn fitting<'a>(agents: &'a [Agent], wish: &Wish) -> Fitting<'a> {
    let mut fitting: Fitting<'a> = agents
        .iter()
        .filter(|agent| wish.candidates.is_empty() || wish.candidates.contains(&agent.id()))
        .filter_map(|agent| Some((agent, agent.runnable()?)))
        .filter(|(_, version)| {
            wish.capabilities.iter().all(|wanted| version.definition.capabilities.contains(wanted))
        })
        .collect();
    fitting.sort_by_key(|(agent, _)| agent.id());
    fitting
}

/// Those that do not keep failing; all, when all do.
fn healthy<'a>(fitting: Fitting<'a>, knowledge: Knowledge<'_>) -> Fitting<'a> {
    let record = &knowledge.selector.learnt().record;
    let is_failing = |agent: &Agent| record.get(&agent.id()).is_some_and(|own| own.is_failing(knowledge.now));
    let healthy: Fitting<'a> = fitting.iter().copied().filter(|(agent, _)| !is_failing(agent)).collect();
    if healthy.is_empty() { fitting } else { healthy }
}

/// Agents by how well a task fits them, the best first.
struct Ranking {
    /// With the score, and how much the task fits: 1 for the best.
    ranked: Vec<(AgentId, f64, f64)>,
    /// Whether the best fits at all.
    fits: bool,
    /// What the scores say, for people: what comes after the agent's name.
    told: String,
}

struct Choice<'a> {
    task: &'a str,
    fitting: &'a [(&'a Agent, &'a PublishedVersion)],
    knowledge: Knowledge<'a>,
}

impl Choice<'_> {
    /// By what was learnt; nothing when it knows none of the agents, or nothing of the task.
    fn by_examples(&self, trained: &Trained) -> Option<Ranking> {
        let margins = trained.margins(self.task)?;
        let known =
            self.fitting.iter().filter_map(|(agent, _)| Some((agent.id(), *margins.get(&agent.id())?)));
        let mut ranked: Vec<(AgentId, f64)> = known.collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        let &(_, best) = ranked.first()?;
        let threshold = f64::from(trained.classifier().threshold());
        let told = format!(
            "scores {best:.2} by examples and good runs, the highest of {}; {threshold:.2} is asked for",
            plural(ranked.len())
        );
        let fit = |score: f64| ((score - best) / TEMPERATURE).exp();
        let ranked = ranked.into_iter().map(|(agent, score)| (agent, score, fit(score))).collect();
        Some(Ranking { ranked, fits: best >= threshold, told })
    }

    /// By the words that agents say of themselves, of those agents that are `meant`.
    fn by_words(&self, meant: impl Fn(AgentId) -> bool) -> Ranking {
        let meant: Vec<_> = self.fitting.iter().filter(|(agent, _)| meant(agent.id())).collect();
        let documents: Vec<Vec<String>> =
            meant.iter().map(|(agent, version)| words_of(agent, version)).collect();
        let query = words(self.task);
        let scores = bm25(&query, &documents);
        let mut order: Vec<usize> = (0..meant.len()).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
        let best = order.first().map_or(0.0, |best| scores[*best]);
        let in_common = order.first().map(|best| shared(self.task, &documents[*best])).unwrap_or_default();
        // Where others have learnt that it is not theirs, a word alone says little.
        let enough = if meant.len() == self.fitting.len() { 1 } else { query.len().div_ceil(3) };
        let told = format!(
            "scores {best:.2}, the highest of {}; it shares: {}",
            plural(meant.len()),
            in_common.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ")
        );
        let fit = |score: f64| if best > 0.0 { score / best } else { 1.0 };
        let ranked = order.iter().map(|&i| (meant[i].0.id(), scores[i], fit(scores[i]))).collect();
        Ranking { ranked, fits: best > 0.0 && in_common.len() >= enough.max(1), told }
    }

    /// Draws one of those that fit about as well as the best, by how they have done.
    fn explore(&self, ranking: &Ranking, near: f64) -> Selection {
        let record = &self.knowledge.selector.learnt().record;
        let in_question = ranking.ranked.iter().take_while(|(_, _, fit)| *fit >= near).take(MAX_IN_QUESTION);
        let (agents, arms): (Vec<AgentId>, Vec<Arm>) = in_question
            .map(|(agent, _, fit)| {
                let belief = record.get(agent).map_or((1.0, 1.0), AgentRecord::belief);
                (*agent, Arm { weight: *fit, belief })
            })
            .unzip();
        let shares = propensities(&arms);
        let index = drawn(&shares, self.knowledge.draw);
        let best = self.name(agents[0]);
        let mut reason = if index == 0 {
            format!("`{best}` {}", ranking.told)
        } else {
            format!("`{}` fits about as well as `{best}`, which {}", self.name(agents[index]), ranking.told)
        };
        if agents.len() > 1 {
            // Writing to a string does not fail.
            let _ = write!(
                reason,
                "; of {} in question it was drawn with a probability of {:.0} %, by how they have done",
                agents.len(),
                100.0 * shares[index]
            );
        }
        let shares = agents.iter().copied().zip(shares).collect();
        self.selection(agents[index], reason, ranking, shares)
    }

    /// Nobody fits: the tenant's default agent, or else the best there is.
    fn fall_back(&self, ranking: &Ranking) -> Selection {
        let is_fitting = |default: &AgentId| self.fitting.iter().any(|(agent, _)| agent.id() == *default);
        let default = self.knowledge.selector.default_agent().filter(is_fitting);
        if let Some(default) = default {
            let reason = format!(
                "no agent of {} fits the task well enough: `{}` is the tenant's default agent",
                self.fitting.len(),
                self.name(default)
            );
            return self.sure(default, reason, ranking);
        }
        // Of scores that are all nought the best says nothing.
        let best = ranking.ranked.first().filter(|(_, score, _)| *score != 0.0);
        let (agent, reason) = if let Some((agent, _, _)) = best {
            let name = self.name(*agent);
            (*agent, format!("no agent fits well, and there is no default agent: `{name}` {}", ranking.told))
        } else {
            let (oldest, _) = self.fitting[0];
            let (count, name) = (self.fitting.len(), oldest.name().as_str());
            let reason = format!("no agent of {count} shares a word with the task: `{name}` is the oldest");
            (oldest.id(), reason)
        };
        self.sure(agent, reason, ranking)
    }

    fn sure(&self, agent: AgentId, reason: String, ranking: &Ranking) -> Selection {
        self.selection(agent, reason, ranking, vec![(agent, 1.0)])
    }

    fn selection(
        &self,
        agent: AgentId,
        reason: String,
        ranking: &Ranking,
        propensities: Vec<(AgentId, f64)>,
    ) -> Selection {
        let versions: BTreeMap<AgentId, u32> =
            self.fitting.iter().map(|(agent, version)| (agent.id(), version.number)).collect();
        let scores = ranking.ranked.iter().take(MAX_KEPT_SCORES);
        Selection {
            agent,
            agent_version: versions[&agent],
            reason,
            scores: scores.map(|(agent, score, _)| (*agent, *score)).collect(),
            formation: None,
            propensities,
            revision: Some(self.knowledge.selector.revision()),
        }
    }

    fn name(&self, id: AgentId) -> &str {
        let agent = self.fitting.iter().find(|(agent, _)| agent.id() == id);
        agent.map_or("?", |(agent, _)| agent.name().as_str())
    }
}

fn plural(agents: usize) -> String {
    if agents == 1 { "1 agent".to_owned() } else { format!("{agents} agents") }
}

#[cfg(test)]
mod tests;
