//! Vectors by the API's `/embeddings`.

use async_trait::async_trait;
use powerhouse_domain::model::Usage;
use powerhouse_ports::embeddings::{Embedder, Embeddings, check, normalised};
use powerhouse_ports::models::ModelError;
use serde::Deserialize;
use serde_json::json;

use super::{ChatCompletions, OpenAiCompatible};
use crate::http::{Dialect as _, Failure};
use crate::tokens;

/// The longest answer that is read, in bytes: 256 vectors of 4,096 numbers, in some fifteen digits each.
const MAX_ANSWER: usize = 24 * 1024 * 1024;

#[derive(Deserialize)]
struct Answer {
    data: Vec<Vector>,
    model: Option<String>,
    usage: Option<Tokens>,
}

#[derive(Deserialize)]
struct Vector {
    index: Option<usize>,
    embedding: Vec<f32>,
}

#[derive(Deserialize)]
struct Tokens {
    #[serde(default)]
    prompt_tokens: u64,
}

#[async_trait]
impl Embedder for OpenAiCompatible {
    async fn embed(&self, model: &str, texts: &[String]) -> Result<Embeddings, ModelError> {
        check(texts)?;
        let body = json!({"model": model, "input": texts, "encoding_format": "float"}).to_string();
        let url = self.beside(ChatCompletions::PATH, "embeddings");
        let answer = self.post_whole(&url, body.into_bytes(), MAX_ANSWER).await?;
        read(&answer, model, texts).map_err(ModelError::from)
    }
}

fn read(answer: &[u8], model: &str, texts: &[String]) -> Result<Embeddings, Failure> {
    let Answer { mut data, model: answered, usage } =
        serde_json::from_slice(answer).map_err(Failure::malformed)?;
    // They come in the order of the texts, unless they say otherwise.
    data.sort_by_key(|vector| vector.index);
    let is_odd =
        data.iter().enumerate().any(|(place, vector)| vector.index.is_some_and(|index| index != place));
    let vectors = data.into_iter().map(|vector| vector.embedding).collect();
    let vectors = normalised(vectors, texts.len()).filter(|_| !is_odd);
    let vectors = vectors.ok_or_else(|| Failure::malformed("the answer is not a vector for each text"))?;
    let usage = usage.map_or_else(
        || Usage::of_tokens(texts.iter().map(|text| tokens::count(text)).sum(), 0),
        |usage| Usage::of_tokens(usage.prompt_tokens, 0),
    );
    Ok(Embeddings { vectors, usage, model: answered.unwrap_or_else(|| model.to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(answer: &str) -> Result<Embeddings, Failure> {
        read(answer.as_bytes(), "m", &["a".to_owned(), "b".to_owned()])
    }

    #[test]
    fn vectors_are_put_into_the_order_of_their_texts() {
        let embeddings = said(
            r#"{"data": [{"index": 1, "embedding": [0, 2]}, {"index": 0, "embedding": [5, 0]}],
                "model": "m-1", "usage": {"prompt_tokens": 7, "total_tokens": 7}}"#,
        );
        let embeddings = embeddings.unwrap();
        assert_eq!(embeddings.vectors, [[1.0, 0.0], [0.0, 1.0]]);
        assert_eq!((embeddings.model.as_str(), embeddings.usage), ("m-1", Usage::of_tokens(7, 0)));
        let plain = said(r#"{"data": [{"embedding": [1]}, {"embedding": [-2]}]}"#).unwrap();
        assert_eq!((plain.vectors, plain.usage), (vec![vec![1.0], vec![-1.0]], Usage::of_tokens(2, 0)));
    }

    #[test]
    fn anything_else_is_refused() {
        for answer in [
            "{}",
            r#"{"data": [{"embedding": [1]}]}"#,
            r#"{"data": [{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [1]}]}"#,
            r#"{"data": [{"index": 1, "embedding": [1]}, {"index": 2, "embedding": [1]}]}"#,
            r#"{"data": [{"embedding": [1]}, {"embedding": [0]}]}"#,
            r#"{"data": [{"embedding": [1]}, {"embedding": "AACAPw=="}]}"#,
        ] {
            assert!(matches!(said(answer), Err(Failure::Malformed(_))), "{answer}");
        }
    }
}
