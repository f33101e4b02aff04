//! The contract of embedders, and what comes of a server that misbehaves.

#![expect(clippy::unwrap_used, reason = "these are tests, also their helpers")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use powerhouse_domain::effects::FailureClass;
use powerhouse_models::{ApiKey, Endpoint, OfflineEmbedder, OpenAiCompatible, Retries, TimeOuts};
use powerhouse_ports::embeddings::{Embedder, Embeddings};
use powerhouse_ports::models::ModelError;
use powerhouse_tests::contract::embeddings::Harness;
use powerhouse_tests::contract::models::{ATTEMPTS, KEY, PATIENCE};
use powerhouse_tests::stub_model::{Answer, Received, StubModel};
use serde_json::{Value, json};

fn provider(stub: &StubModel) -> OpenAiCompatible {
    let endpoint = Endpoint {
        base_url: stub.base_url().parse().unwrap(),
        key: Some(ApiKey::new(KEY)),
        time_outs: TimeOuts {
            connect: PATIENCE,
            first_byte: PATIENCE,
            idle: PATIENCE,
            total: Duration::from_secs(20),
        },
        retries: Retries { attempts: ATTEMPTS, base: Duration::from_millis(10), cap: Duration::from_secs(2) },
        cache_prompts: false,
    };
    OpenAiCompatible::new(endpoint).unwrap()
}

struct Offline;

#[async_trait]
impl Harness for Offline {
    async fn embedder(&self) -> Arc<dyn Embedder> {
        Arc::new(OfflineEmbedder)
    }
}

/// A provider with the server that it asks.
struct Served {
    provider: OpenAiCompatible,
    _stub: StubModel,
}

#[async_trait]
impl Embedder for Served {
    async fn embed(&self, model: &str, texts: &[String]) -> Result<Embeddings, ModelError> {
        self.provider.embed(model, texts).await
    }
}

struct Remote;

#[async_trait]
impl Harness for Remote {
    async fn embedder(&self) -> Arc<dyn Embedder> {
        let stub = StubModel::answering(embedded).await.unwrap();
        Arc::new(Served { provider: provider(&stub), _stub: stub })
    }
}

/// A vector of each text's length and its first byte, the last text first.
fn embedded(received: &Received) -> Answer {
    assert!(received.head.starts_with("POST /v1/embeddings "), "{}", received.head);
    let texts = received.body["input"].as_array().unwrap();
    let vector = |(index, text): (usize, &Value)| {
        let text = text.as_str().unwrap();
        json!({"object": "embedding", "index": index, "embedding": [text.len(), text.as_bytes()[0]]})
    };
    let vectors: Vec<_> = texts.iter().enumerate().map(vector).rev().collect();
    let usage = json!({"prompt_tokens": texts.len(), "total_tokens": texts.len()});
    let answer = json!({"object": "list", "data": vectors, "model": "stub-embeddings", "usage": usage});
    Answer::other("application/json", &answer.to_string())
}

mod offline {
    use super::*;

    powerhouse_tests::embedder_contract!(Offline);
}

mod openai_compatible {
    use super::*;

    powerhouse_tests::embedder_contract!(Remote);
}

#[tokio::test]
async fn a_server_that_misbehaves_is_told_apart_and_bounded() {
    let good = || Answer::other("application/json", r#"{"data": [{"embedding": [1, 2]}]}"#);
    let text = ["a".to_owned()];
    for passing in [
        Answer::error(503, KEY),
        Answer::error(429, KEY),
        good().after(PATIENCE * 3),
        Answer::other("application/json", "{").hang(),
    ] {
        let stub = StubModel::start([passing.clone(), good()]).await.unwrap();
        assert!(provider(&stub).embed("m", &text).await.is_ok(), "{passing:?}");
        let stub = StubModel::start(vec![passing; 4]).await.unwrap();
        let error = provider(&stub).embed("m", &text).await.unwrap_err();
        assert!(matches!(error, ModelError::Unavailable { .. }), "{error:?}");
        assert_eq!(stub.received().len(), ATTEMPTS as usize);
    }
    for malformed in [
        Answer::other("text/html", "<html>"),
        Answer::other("application/json", r#"{"data": []}"#),
        Answer::other("application/json", "[").endless(&[b' '; 8 * 1024]),
    ] {
        let stub = StubModel::start([malformed]).await.unwrap();
        let error = provider(&stub).embed("m", &text).await.unwrap_err();
        assert!(matches!(error, ModelError::Malformed(_)), "{error:?}");
    }
    for status in [301, 400, 401, 404] {
        let stub = StubModel::start([Answer::error(status, KEY)]).await.unwrap();
        let error = provider(&stub).embed("m", &text).await.unwrap_err();
        assert_eq!(error.class(), FailureClass::Rejected);
        assert!(!format!("{error:?} {error}").contains("canary"));
    }
}
