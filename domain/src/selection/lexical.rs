//! The cold start: BM25 (Robertson & Zaragoza 2009, k₁ = 1.2, b = 0.75) of a task's words against what agents say of themselves.

use std::collections::{HashMap, HashSet};

use crate::agents::{Agent, PublishedVersion};

const K1: f64 = 1.2;
const B: f64 = 0.75;

/// What a word tells: the more, the fewer of all texts have it. It is never negative.
pub(crate) fn rarity(texts: f64, having: f64) -> f64 {
    (1.0 + ((texts - having).max(0.0) + 0.5) / (having + 0.5)).ln()
}

/// What so many occurrences of a word of this rarity add to the score of a text of this length.
pub(crate) fn part(rarity: f64, count: f64, length: f64, mean_length: f64) -> f64 {
    let norm = K1 * (1.0 - B + B * length / mean_length);
    rarity * count * (K1 + 1.0) / (count + norm)
}

/// What an agent says of itself: its name, description, capabilities and examples.
pub(super) fn words_of(agent: &Agent, version: &PublishedVersion) -> Vec<String> {
    let definition = &version.definition;
    let texts = [agent.name().as_str(), &definition.description];
    texts
        .into_iter()
        .chain(definition.capabilities.iter().map(String::as_str))
        .chain(definition.examples.iter().map(String::as_str))
        .flat_map(words)
        .collect()
}

/// The task's words that an agent has too, each once.
pub(super) fn shared(task: &str, document: &[String]) -> Vec<String> {
    let known: HashSet<&str> = document.iter().map(String::as_str).collect();
    let mut seen = HashSet::new();
    words(task)
        .into_iter()
        .filter(|word| known.contains(word.as_str()) && seen.insert(word.clone()))
        .collect()
}

/// Words too common to say anything about a task.
const STOP_WORDS: [&str; 32] = [
    "a", "an", "and", "are", "as", "at", "be", "by", "can", "do", "for", "from", "how", "i", "in", "is",
    "it", "me", "my", "of", "on", "or", "please", "that", "the", "this", "to", "was", "what", "with", "you",
    "your",
];

/// Lower-cased runs of letters and digits, without stop words; a plural `s` is dropped.
pub(crate) fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .map(str::to_lowercase)
        .filter(|word| !word.is_empty() && !STOP_WORDS.contains(&word.as_str()))
        .map(|word| match word.strip_suffix('s') {
            Some(stem) if stem.len() > 2 && !stem.ends_with('s') => stem.to_owned(),
            _ => word,
        })
        .collect()
}

pub(crate) fn bm25(query: &[String], documents: &[Vec<String>]) -> Vec<f64> {
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
    let rarities: Vec<(&str, f64)> = ordered
        .into_iter()
        .map(|word| {
            let having = counts.iter().filter(|counts| counts.contains_key(word)).count();
            (word, rarity(total, as_f64(having)))
        })
        .collect();
    documents
        .iter()
        .zip(&counts)
        .map(|(document, own)| {
            let parts = rarities.iter().filter_map(|(word, rarity)| {
                Some(part(*rarity, *own.get(word)?, as_f64(document.len()), mean_length))
            });
            // Not `sum`, whose sum of nothing is -0.
            parts.fold(0.0, |sum, part: f64| sum + part)
        })
        .collect()
}

pub(super) fn as_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}
