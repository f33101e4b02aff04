//! Finds chunks by their words: an inverted index, and BM25 (Robertson & Zaragoza 2009, k₁ = 1.2, b = 0.75) over it.
//!
//! What is rare is told by the tenant's own documents alone: else a score would tell of what others have.

use std::collections::{BTreeMap, BTreeSet};

use super::{CollectionName, Place};
use crate::ids::DocumentId;
use crate::selection::lexical::{part, rarity, words as split};

/// The most words of a query that are looked for.
pub const MAX_QUERY_WORDS: usize = 32;
/// The most bytes of a word. What is longer is looked for by its beginning.
const MAX_WORD: usize = 64;

/// How often a word is in a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// Which chunk of the document.
    pub ordinal: u32,
    /// How often.
    pub count: u32,
    /// How many words the chunk has.
    pub length: u32,
}

/// Where a word is in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    /// The collection.
    pub collection: CollectionName,
    /// The document.
    pub document: DocumentId,
    /// The word.
    pub word: String,
    /// The chunks that have it.
    pub occurrences: Vec<Occurrence>,
}

/// The words of a text as they are looked for: in lower case, without stop words and plurals.
pub(super) fn words(text: &str) -> impl Iterator<Item = String> {
    split(text).into_iter().map(|mut word| {
        word.truncate(word.floor_char_boundary(MAX_WORD));
        word
    })
}

/// What is looked for, each word once.
pub fn query_words(query: &str) -> Vec<String> {
    let mut seen = BTreeSet::new();
    words(query).filter(|word| seen.insert(word.clone())).take(MAX_QUERY_WORDS).collect()
}

/// The chunks that have any of the words that were looked for, the best first, at most so many; with what they score.
/// `chunks` is how many there are in the collections that were searched, and `words` how many words these have.
pub fn rank(postings: &[Posting], chunks: u64, words: u64, most: usize) -> Vec<(Place, f64)> {
    let mut having: BTreeMap<&str, usize> = BTreeMap::new();
    for posting in postings {
        *having.entry(&posting.word).or_default() += posting.occurrences.len();
    }
    let total = as_f64(chunks);
    let mean = (as_f64(words) / total.max(1.0)).max(1.0);
    // In the order of the words: sums of floats depend on it.
    let mut ordered: Vec<&Posting> = postings.iter().collect();
    ordered.sort_by(|a, b| a.word.cmp(&b.word));
    let mut scores: BTreeMap<(&CollectionName, DocumentId, u32), f64> = BTreeMap::new();
    for posting in ordered {
        let having = as_f64(having.get(posting.word.as_str()).map_or(0, |count| *count as u64));
        let rarity = rarity(total, having);
        for Occurrence { ordinal, count, length } in &posting.occurrences {
            let place = (&posting.collection, posting.document, *ordinal);
            *scores.entry(place).or_default() += part(rarity, f64::from(*count), f64::from(*length), mean);
        }
    }
    let mut ranked: Vec<_> = scores.into_iter().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    ranked.truncate(most);
    let place = |(collection, document, ordinal): (&CollectionName, _, _)| Place {
        collection: collection.clone(),
        document,
        ordinal,
    };
    ranked.into_iter().map(|(at, score)| (place(at), score)).collect()
}

fn as_f64(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn posting(word: &str, document: u128, occurrences: &[(u32, u32, u32)]) -> Posting {
        Posting {
            collection: "c".parse().unwrap(),
            document: DocumentId::from_uuid(Uuid::from_u128(document)),
            word: word.into(),
            occurrences: occurrences
                .iter()
                .map(|(ordinal, count, length)| Occurrence {
                    ordinal: *ordinal,
                    count: *count,
                    length: *length,
                })
                .collect(),
        }
    }

    fn order(postings: &[Posting]) -> Vec<(u128, u32)> {
        let ranked = rank(postings, 10, 100, 5);
        ranked.iter().map(|(place, _)| (place.document.as_uuid().as_u128(), place.ordinal)).collect()
    }

    #[test]
    fn rare_words_often_in_short_chunks_go_first() {
        // `leave` is in three chunks, `parental` in one.
        let postings = [
            posting("leave", 1, &[(0, 1, 10), (1, 1, 10)]),
            posting("leave", 2, &[(0, 1, 10)]),
            posting("parental", 2, &[(0, 1, 10)]),
        ];
        assert_eq!(order(&postings), [(2, 0), (1, 0), (1, 1)]);
        assert_eq!(order(&[posting("a", 1, &[(0, 1, 10), (1, 3, 10), (2, 1, 5)])]), [(1, 1), (1, 2), (1, 0)]);
        assert_eq!(order(&[]), []);
    }

    #[test]
    fn scores_are_those_of_the_formula() {
        let ranked = rank(&[posting("a", 1, &[(0, 2, 20)])], 10, 100, 5);
        let idf = (1.0_f64 + (10.0 - 1.0 + 0.5) / 1.5).ln();
        let expected = idf * 2.0 * 2.2 / (2.0 + 1.2 * (0.25 + 0.75 * 2.0));
        assert!((ranked[0].1 - expected).abs() < 1e-12, "{ranked:?}");
        // More chunks have it than are counted: somebody puts a document meanwhile.
        assert!(rank(&[posting("a", 1, &[(0, 1, 1), (1, 1, 1)])], 1, 1, 5)[0].1 > 0.0);
    }

    #[test]
    fn what_is_looked_for_is_bounded() {
        assert_eq!(query_words("How do I reset the Passwords, password?"), ["reset", "password"]);
        assert_eq!(
            query_words(&(0..99).map(|n| format!("w{n} ")).collect::<Vec<_>>().concat()).len(),
            MAX_QUERY_WORDS
        );
        assert_eq!(query_words(&"é".repeat(99))[0].len(), MAX_WORD);
    }
}
