//! Vectors without a model: a text's words and the letters in them, hashed into places (the "hashing trick", Weinberger et
//! al. 2009). Texts that share words are alike; what they mean is not known.

use async_trait::async_trait;
use powerhouse_domain::model::Usage;
use powerhouse_ports::embeddings::{Embedder, Embeddings, check, normalised};
use powerhouse_ports::models::ModelError;
use unicode_segmentation::UnicodeSegmentation;

use crate::tokens;

/// The name under which these vectors are made, whatever model was asked for. It changes when they do.
pub const OFFLINE_EMBEDDINGS: &str = "powerhouse-offline-ngrams-1";

/// Places of a vector.
const PLACES: usize = 512;
/// Letters that are looked at together, with a mark at each end of a word.
const LETTERS: usize = 3;
/// What a word counts, beside its letters.
const WORD: f32 = 2.0;

/// Makes vectors without a model: deterministic, free of charge, and no better than a search for the same words.
#[derive(Clone, Copy, Debug, Default)]
pub struct OfflineEmbedder;

#[async_trait]
impl Embedder for OfflineEmbedder {
    async fn embed(&self, _: &str, texts: &[String]) -> Result<Embeddings, ModelError> {
        check(texts)?;
        let vectors = texts.iter().map(|text| vector(text)).collect();
        let vectors = normalised(vectors, texts.len())
            .ok_or_else(|| ModelError::Rejected("a text has nothing that could be looked for".into()))?;
        let read = texts.iter().map(|text| tokens::count(text)).sum();
        Ok(Embeddings { vectors, usage: Usage::of_tokens(read, 0), model: OFFLINE_EMBEDDINGS.to_owned() })
    }
}

fn vector(text: &str) -> Vec<f32> {
    let mut vector = vec![0.0; PLACES];
    let mut add = |feature: &str, weight: f32| {
        let hash = hash(feature.as_bytes());
        let place = usize::try_from(hash % PLACES as u64).unwrap_or_default();
        // Half of what falls into one place by chance cancels out.
        vector[place] += if hash >> 63 == 0 { weight } else { -weight };
    };
    let lower = text.to_lowercase();
    let mut words = lower.unicode_words().peekable();
    if words.peek().is_none() {
        // Signs only.
        add(&lower, WORD);
    }
    for word in words {
        add(word, WORD);
        let marked: Vec<char> = format!("<{word}>").chars().collect();
        for letters in marked.windows(LETTERS) {
            add(&letters.iter().collect::<String>(), 1.0);
        }
    }
    vector
}

/// FNV-1a in 64 bits, with its bits mixed once more: the same on every machine and in every release.
fn hash(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn embedded(texts: &[&str]) -> Vec<Vec<f32>> {
        let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
        OfflineEmbedder.embed("any", &texts).await.unwrap().vectors
    }

    fn likeness(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    #[tokio::test]
    async fn texts_with_the_same_words_are_alike() {
        let vectors = embedded(&[
            "How do I reset my password?",
            "Resetting a forgotten password",
            "The weather in Oslo is fine",
        ])
        .await;
        let (near, far) = (likeness(&vectors[0], &vectors[1]), likeness(&vectors[0], &vectors[2]));
        assert!(near > far + 0.2, "{near} {far}");
    }

    /// Stored vectors stay comparable.
    #[tokio::test]
    async fn they_stay_what_they_were() {
        let vector = &embedded(&["Été 42"]).await[0];
        let places: Vec<_> = vector.iter().enumerate().filter(|(_, part)| **part != 0.0).collect();
        let sum: usize = places.iter().map(|(place, _)| place).sum();
        assert_eq!((vector.len(), places.len(), sum), (512, 6, 2054));
    }

    #[tokio::test]
    async fn signs_alone_have_a_direction_too() {
        let vectors = embedded(&["?!", "…"]).await;
        assert!(likeness(&vectors[0], &vectors[0]) > 0.99);
    }
}
