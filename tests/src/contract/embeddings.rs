//! The contract of `Embedder`.

use std::sync::Arc;

use async_trait::async_trait;
use powerhouse_ports::embeddings::{Embedder, MAX_TEXT, MAX_TEXTS};
use powerhouse_ports::models::ModelError;

/// The adapter under test.
#[async_trait]
pub trait Harness: Send + Sync {
    /// An embedder that works.
    async fn embedder(&self) -> Arc<dyn Embedder>;
}

/// Declares the suite for a harness, an expression that may be evaluated often: one test a promise.
#[macro_export]
macro_rules! embedder_contract {
    ($harness:expr) => {
        $crate::contract_tests!($harness, embeddings:
            each_text_has_its_vector, the_same_text_has_the_same_vector, what_is_out_of_bounds_is_refused
        );
    };
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// In the order of the texts, of one length and of norm 1.
pub async fn each_text_has_its_vector(harness: &impl Harness) {
    let embedder = harness.embedder().await;
    let embeddings = embedder.embed("m", &texts(&["one", "two words", "¿?"])).await.expect("vectors");
    assert_eq!(embeddings.vectors.len(), 3);
    let length = embeddings.vectors[0].len();
    for vector in &embeddings.vectors {
        let norm: f32 = vector.iter().map(|part| part * part).sum();
        assert!(vector.len() == length && length > 0 && (norm - 1.0).abs() < 1e-3, "{norm}");
    }
    assert!(embeddings.usage.input_tokens > 0 && embeddings.usage.output_tokens == 0);
    assert!(!embeddings.model.is_empty());
    let many = vec!["text".to_owned(); MAX_TEXTS];
    assert_eq!(embedder.embed("m", &many).await.expect("vectors").vectors.len(), MAX_TEXTS);
}

/// Wherever it stands.
pub async fn the_same_text_has_the_same_vector(harness: &impl Harness) {
    let embedder = harness.embedder().await;
    let once = embedder.embed("m", &texts(&["alpha", "beta"])).await.expect("vectors").vectors;
    let again = embedder.embed("m", &texts(&["beta", "alpha"])).await.expect("vectors").vectors;
    assert_eq!((&once[0], &once[1]), (&again[1], &again[0]));
    assert_ne!(once[0], once[1]);
}

/// Before anybody is asked.
pub async fn what_is_out_of_bounds_is_refused(harness: &impl Harness) {
    let embedder = harness.embedder().await;
    let long = "x".repeat(MAX_TEXT + 1);
    for bad in [vec![], texts(&["a", " "]), texts(&[&long]), vec!["a".to_owned(); MAX_TEXTS + 1]] {
        let error = embedder.embed("m", &bad).await.expect_err("it is out of bounds");
        assert!(matches!(error, ModelError::Rejected(_)), "{error:?}");
    }
}
