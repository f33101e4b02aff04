//! Which agent does a task when the caller names none: filter, then a lexical score, then the reason in words.
//!
//! The score is BM25 (Robertson & Zaragoza 2009, k₁ = 1.2, b = 0.75) of the task's words against each agent's name,
//! description, capabilities and examples. It is the cold start: nothing is learnt from runs yet.

use std::collections::{HashMap, HashSet};

use crate::agents::{Agent, PublishedVersion};
use crate::ids::AgentId;
use crate::runs::Selection;

const K1: f64 = 1.2;
const B: f64 = 0.75;
/// Scores that are kept with a run.
const MAX_KEPT_SCORES: usize = 20;

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

/// The selection of an agent that the caller named.
pub fn named(agent: AgentId, version: u32) -> Selection {
    Selection {
        agent,
        agent_version: version,
        reason: "named by the caller".into(),
        scores: Vec::new(),
        formation: None,
    }
}

/// Chooses among the published agents. Deterministic: equal scores go to the older agent.
pub fn choose(task: &str, agents: &[Agent], wish: &Wish) -> Result<Selection, NoAgent> {
    let mut fitting: Vec<(&Agent, &PublishedVersion)> = agents
        .iter()
        .filter(|agent| wish.candidates.is_empty() || wish.candidates.contains(&agent.id()))
        .filter_map(|agent| Some((agent, agent.runnable()?)))
        .filter(|(_, version)| {
            wish.capabilities.iter().all(|wanted| version.definition.capabilities.contains(wanted))
        })
        .collect();
    fitting.sort_by_key(|(agent, _)| agent.id());

    let documents: Vec<Vec<String>> =
        fitting.iter().map(|(agent, version)| words_of(agent, version)).collect();
    let scores = bm25(&words(task), &documents);
    let mut ranked: Vec<usize> = (0..fitting.len()).collect();
    ranked.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));

    let &best = ranked.first().ok_or(NoAgent)?;
    let (agent, version) = fitting[best];
    Ok(Selection {
        agent: agent.id(),
        agent_version: version.number,
        reason: reason(task, agent, &documents[best], scores[best], fitting.len()),
        scores: ranked.iter().take(MAX_KEPT_SCORES).map(|&i| (fitting[i].0.id(), scores[i])).collect(),
        formation: None,
    })
}

fn reason(task: &str, agent: &Agent, document: &[String], score: f64, candidates: usize) -> String {
    let name = agent.name().as_str();
    if candidates == 1 {
        return format!("`{name}` is the only published agent that fits");
    }
    let known: HashSet<&str> = document.iter().map(String::as_str).collect();
    let mut seen = HashSet::new();
    let shared: Vec<String> = words(task)
        .into_iter()
        .filter(|word| known.contains(word.as_str()) && seen.insert(word.clone()))
        .take(5)
        .collect();
    if shared.is_empty() {
        format!("no agent of {candidates} shares a word with the task: `{name}` is the oldest")
    } else {
        format!(
            "`{name}` scores {score:.2}, the highest of {candidates} agents; it shares: {}",
            shared.join(", ")
        )
    }
}

fn words_of(agent: &Agent, version: &PublishedVersion) -> Vec<String> {
    let definition = &version.definition;
    let texts = [agent.name().as_str(), &definition.description];
    texts
        .into_iter()
        .chain(definition.capabilities.iter().map(String::as_str))
        .chain(definition.examples.iter().map(String::as_str))
        .flat_map(words)
        .collect()
}

/// Words too common to say anything about a task.
const STOP_WORDS: [&str; 32] = [
    "a", "an", "and", "are", "as", "at", "be", "by", "can", "do", "for", "from", "how", "i", "in", "is",
    "it", "me", "my", "of", "on", "or", "please", "that", "the", "this", "to", "was", "what", "with", "you",
    "your",
];

/// Lower-cased runs of letters and digits, without stop words; a plural `s` is dropped.
fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .map(str::to_lowercase)
        .filter(|word| !word.is_empty() && !STOP_WORDS.contains(&word.as_str()))
        .map(|word| match word.strip_suffix('s') {
            Some(stem) if stem.len() > 2 && !stem.ends_with('s') => stem.to_owned(),
            _ => word,
        })
        .collect()
}

fn bm25(query: &[String], documents: &[Vec<String>]) -> Vec<f64> {
    let query: HashSet<&str> = query.iter().map(String::as_str).collect();
    let counts: Vec<HashMap<&str, f64>> = documents
        .iter()
        .map(|document| {
            document.iter().filter(|word| query.contains(word.as_str())).fold(
                HashMap::new(),
                |mut counts, word| {
                    *counts.entry(word.as_str()).or_insert(0.0) += 1.0;
                    counts
                },
            )
        })
        .collect();
    let total = as_f64(documents.len());
    let mean_length = (as_f64(documents.iter().map(Vec::len).sum()) / total).max(1.0);
    let mut ordered: Vec<&str> = query.into_iter().collect();
    // Sums of floats depend on their order.
    ordered.sort_unstable();
    documents
        .iter()
        .zip(&counts)
        .map(|(document, own)| {
            let norm = K1 * (1.0 - B + B * as_f64(document.len()) / mean_length);
            ordered
                .iter()
                .filter_map(|word| {
                    let count = own.get(word)?;
                    let having = as_f64(counts.iter().filter(|other| other.contains_key(word)).count());
                    let idf = (1.0 + (total - having + 0.5) / (having + 0.5)).ln();
                    Some(idf * count * (K1 + 1.0) / (count + norm))
                })
                // Not `sum`, whose sum of nothing is -0.
                .fold(0.0, |sum, part: f64| sum + part)
        })
        .collect()
}

fn as_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}

#[cfg(test)]
mod tests;
