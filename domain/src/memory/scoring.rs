//! What comes to mind: by relevance alone, or by recency, importance and relevance together (Park et al. 2023, §4.1).

use chrono::{DateTime, Utc};

use super::{Memory, MemoryVector, Worth};
use crate::access::named_enum;
use crate::ids::MemoryId;
use crate::retrieval::cosine;
use crate::selection::lexical::{bm25, words};

/// What is left of a memory's recency after an hour in which it has not come to mind.
const DECAY: f64 = 0.995;

named_enum! {
    /// How memories are ranked.
    Scoring as "scoring" {
        /// By relevance alone; what has nothing to do with the question is left out.
        Relevance = "relevance",
        /// By the sum of recency, importance and relevance, each from 0 to 1 over all that could be found.
        Weighted = "weighted",
        /// The newest first, whatever is asked.
        Recent = "recent",
    }
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wanted<'a> {
    /// The question.
    pub text: &'a str,
    /// Its direction, if something makes vectors.
    pub vector: Option<&'a MemoryVector>,
    /// How what is found is ranked.
    pub scoring: Scoring,
    /// How much is to be found, at most.
    pub most: usize,
}

/// A memory with its score: from 0 to 1 by relevance, from 0 to 3 by all three; by age, how recent it is, from 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// The memory.
    pub memory: Memory,
    /// The score.
    pub score: f64,
}

/// 0.995 to the power of the hours since it last came to mind: 1 for just now, or later.
pub fn recency(accessed_at: DateTime<Utc>, now: DateTime<Utc>) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of some hundred thousand years are exact")]
    let hours = (now - accessed_at).num_milliseconds().max(0) as f64 / 3_600_000.0;
    DECAY.powf(hours)
}

/// How alike two vectors are: nothing, when they are of different models or lengths.
fn alike(a: &MemoryVector, b: &MemoryVector) -> Option<f64> {
    cosine(&a.parts, &b.parts).filter(|_| a.model == b.model).map(f64::from)
}

/// How relevant each memory is, from 0 to 1: by direction where the two can be compared, else by words (BM25 over all of
/// them, the best being 1).
fn relevance(memories: &[Memory], wanted: &Wanted<'_>) -> Vec<f64> {
    let by_direction = |memory: &Memory| alike(memory.vector.as_ref()?, wanted.vector?);
    let by_direction: Vec<Option<f64>> = memories.iter().map(by_direction).collect();
    if let Some(all) = by_direction.iter().copied().collect::<Option<Vec<f64>>>() {
        return all.into_iter().map(|cosine| cosine.max(0.0)).collect();
    }
    let documents: Vec<_> = memories.iter().map(|memory| words(memory.text.as_str())).collect();
    let by_words = bm25(&words(wanted.text), &documents);
    let best = by_words.iter().copied().fold(0.0, f64::max);
    let by_words = by_words.into_iter().map(|score| if best > 0.0 { score / best } else { 0.0 });
    let by_both = by_direction.into_iter().zip(by_words);
    by_both.map(|(cosine, by_words)| cosine.map_or(by_words, |cosine| cosine.max(0.0))).collect()
}

/// From 0, the least of them, to 1, the most; all in the middle when they are the same.
fn normalised(scores: impl Iterator<Item = f64>) -> Vec<f64> {
    let scores: Vec<f64> = scores.collect();
    let least = scores.iter().copied().fold(f64::INFINITY, f64::min);
    let span = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max) - least;
    scores.iter().map(|score| if span > 0.0 { (score - least) / span } else { 0.5 }).collect()
}

/// What comes to mind, best first; of several that score the same, the newest.
pub fn rank(memories: Vec<Memory>, wanted: &Wanted<'_>, now: DateTime<Utc>) -> Vec<Ranked> {
    let scores = match wanted.scoring {
        Scoring::Relevance => relevance(&memories, wanted),
        Scoring::Recent => memories.iter().map(|memory| recency(memory.created_at, now)).collect(),
        Scoring::Weighted => {
            let recency = normalised(memories.iter().map(|memory| recency(memory.accessed_at, now)));
            let importance = normalised(memories.iter().map(|memory| f64::from(memory.importance.get())));
            let relevance = normalised(relevance(&memories, wanted).into_iter());
            recency.iter().zip(importance).zip(relevance).map(|((a, b), c)| a + b + c).collect()
        }
    };
    let ranked = memories.into_iter().zip(scores).map(|(memory, score)| Ranked { memory, score });
    let mut ranked: Vec<_> =
        ranked.filter(|ranked| wanted.scoring != Scoring::Relevance || ranked.score > 0.0).collect();
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then(b.memory.id.cmp(&a.memory.id)));
    ranked.truncate(wanted.most);
    ranked
}

/// The memory that is lost first: the one with the least of importance, from 0 to 1, and recency together; of several, the
/// oldest.
pub fn least_valuable(of: &[Worth], now: DateTime<Utc>) -> Option<MemoryId> {
    let value = |worth: &Worth| f64::from(worth.importance.get()) / 10.0 + recency(worth.accessed_at, now);
    let least = of.iter().min_by(|a, b| value(a).total_cmp(&value(b)).then(a.id.cmp(&b.id)));
    least.map(|worth| worth.id)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::ids::AgentId;
    use crate::memory::{Importance, MemoryKind, Whose};

    fn now() -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
    }

    fn memory(id: u128, text: &str, importance: u8, hours: i64, parts: Option<Vec<f32>>) -> Memory {
        let at = now() - TimeDelta::hours(hours);
        Memory {
            id: MemoryId::from_uuid(Uuid::from_u128(id)),
            whose: Whose { agent: AgentId::from_uuid(Uuid::nil()), user: None },
            kind: MemoryKind::Fact,
            text: text.parse().unwrap(),
            importance: Importance::new(importance).unwrap(),
            created_at: at,
            accessed_at: at,
            vector: parts.and_then(|parts| MemoryVector::new("m", parts)),
            run: None,
        }
    }

    fn found(
        memories: &[Memory],
        scoring: Scoring,
        text: &str,
        vector: Option<Vec<f32>>,
    ) -> Vec<(u128, f64)> {
        let vector = vector.and_then(|parts| MemoryVector::new("m", parts));
        let wanted = Wanted { text, vector: vector.as_ref(), scoring, most: 9 };
        let ranked = rank(memories.to_vec(), &wanted, now());
        ranked.iter().map(|ranked| (ranked.memory.id.as_uuid().as_u128(), ranked.score)).collect()
    }

    #[test]
    fn recency_is_that_of_the_paper() {
        assert!((recency(now(), now()) - 1.0).abs() < 1e-12);
        assert!((recency(now() - TimeDelta::hours(1), now()) - 0.995).abs() < 1e-12);
        assert!((recency(now() - TimeDelta::hours(24), now()) - 0.995_f64.powi(24)).abs() < 1e-12);
        assert!((recency(now() + TimeDelta::hours(1), now()) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn by_relevance_what_has_nothing_to_do_with_it_is_left_out() {
        let memories = [
            memory(1, "Ada drinks tea in the morning", 5, 0, None),
            memory(2, "the train leaves at nine", 9, 0, None),
        ];
        assert_eq!(found(&memories, Scoring::Relevance, "Does Ada like tea?", None), [(1, 1.0)]);
        assert_eq!(found(&memories, Scoring::Relevance, "zebra", None), []);
    }

    #[test]
    fn directions_are_compared_where_they_can_be_and_else_words() {
        let memories = [
            memory(1, "alpha", 5, 0, Some(vec![1.0, 0.0])),
            memory(2, "beta", 5, 0, Some(vec![0.6, 0.8])),
            memory(3, "gamma", 5, 0, Some(vec![-1.0, 0.0])),
            memory(4, "delta", 5, 0, None),
        ];
        let found = found(&memories, Scoring::Relevance, "delta", Some(vec![1.0, 0.0]));
        assert_eq!(found.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [4, 1, 2]);
        assert!((found[2].1 - 0.6).abs() < 1e-6);
        let other = MemoryVector::new("other", vec![1.0, 0.0]).unwrap();
        assert_eq!(alike(memories[0].vector.as_ref().unwrap(), &other), None);
    }

    #[test]
    fn all_three_count_alike() {
        // The most important, the most recent and the most relevant: each has one of three points, and what has two wins.
        let memories = [
            memory(1, "wind", 10, 100, None),
            memory(2, "rain", 1, 0, None),
            memory(3, "snow in May", 1, 100, None),
            memory(4, "snow in May", 10, 100, None),
        ];
        let found = found(&memories, Scoring::Weighted, "snow", None);
        let places: Vec<_> = found.iter().map(|(id, score)| (*id, (score * 1e6).round() / 1e6)).collect();
        assert_eq!(places, [(4, 2.0), (3, 1.0), (2, 1.0), (1, 1.0)]);
    }

    #[test]
    fn the_newest_come_first_whatever_is_asked() {
        let memories =
            [memory(1, "tea", 9, 0, None), memory(2, "rain", 1, 9, None), memory(3, "snow", 1, 0, None)];
        let found = found(&memories, Scoring::Recent, "tea", None);
        assert_eq!(found.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [3, 1, 2]);
    }

    #[test]
    fn what_matters_least_and_is_longest_ago_is_lost_first() {
        let worth = |id, importance, hours| {
            let memory = memory(id, "x", importance, hours, None);
            Worth { id: memory.id, importance: memory.importance, accessed_at: memory.accessed_at }
        };
        let lost = |of: &[Worth]| least_valuable(of, now()).map(|id| id.as_uuid().as_u128());
        assert_eq!(lost(&[worth(1, 9, 0), worth(2, 1, 0), worth(3, 2, 0)]), Some(2));
        assert_eq!(lost(&[worth(1, 5, 9), worth(2, 5, 500)]), Some(2));
        assert_eq!(lost(&[worth(2, 5, 9), worth(1, 5, 9)]), Some(1));
        assert_eq!(lost(&[]), None);
    }

    prop_compose! {
        fn any_memory()(id: u128, text in "[a-d]( [a-d]){0,5}", importance in 1_u8..=10, hours in 0_i64..10_000,
                        parts in proptest::option::of(proptest::collection::vec(-1.0_f32..1.0, 3)))
                        -> Memory {
            memory(id, &text, importance, hours, parts)
        }
    }

    proptest! {
        #[test]
        fn a_ranking_is_in_order_within_its_bounds_and_invents_nothing(
            memories in proptest::collection::vec(any_memory(), 0..20),
            vector in proptest::option::of(proptest::collection::vec(-1.0_f32..1.0, 3)),
            most in 0_usize..25, weighted: bool,
        ) {
            let (scoring, bound) =
                if weighted { (Scoring::Weighted, 3.0) } else { (Scoring::Relevance, 1.0) };
            let vector = vector.and_then(|parts| MemoryVector::new("m", parts));
            let wanted = Wanted { text: "a b", vector: vector.as_ref(), scoring, most };
            let ranked = rank(memories.clone(), &wanted, now());
            prop_assert!(ranked.len() <= most);
            prop_assert!(!weighted || ranked.len() == most.min(memories.len()));
            prop_assert!(ranked.windows(2).all(|pair| pair[0].score >= pair[1].score));
            prop_assert!(ranked.iter().all(|one| (0.0..=bound + 1e-9).contains(&one.score)));
            prop_assert!(ranked.iter().all(|one| memories.contains(&one.memory)));
        }

        #[test]
        fn more_of_one_thing_and_the_same_of_the_others_ranks_no_lower(
            mut memories in proptest::collection::vec(any_memory(), 1..20), at: prop::sample::Index,
        ) {
            let at = at.index(memories.len());
            let id = memories[at].id;
            let place = |memories: &[Memory]| {
                let wanted = Wanted { text: "a b", vector: None, scoring: Scoring::Weighted, most: 20 };
                rank(memories.to_vec(), &wanted, now()).iter().position(|one| one.memory.id == id)
            };
            let before = place(&memories);
            memories[at].accessed_at = now();
            prop_assert!(place(&memories) <= before);
        }

        #[test]
        fn recency_falls_with_time(a in 0_i64..100_000, b in 0_i64..100_000) {
            let (near, far) = (a.min(b), a.max(b));
            let of = |hours| recency(now() - TimeDelta::hours(hours), now());
            prop_assert!(of(near) >= of(far) && (0.0..=1.0).contains(&of(far)));
        }

        #[test]
        fn the_worth_of_what_is_lost_is_the_least(
            memories in proptest::collection::vec(any_memory(), 1..20),
        ) {
            let of: Vec<_> = memories.iter().map(|memory| Worth {
                id: memory.id, importance: memory.importance, accessed_at: memory.accessed_at,
            }).collect();
            let lost = least_valuable(&of, now()).unwrap();
            let lost = of.iter().find(|worth| worth.id == lost).unwrap();
            let is_worth_more =
                |worth: &Worth| worth.importance >= lost.importance || worth.accessed_at > lost.accessed_at;
            prop_assert!(of.iter().all(is_worth_more));
        }
    }
}
