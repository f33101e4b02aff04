//! Any server of the OpenAI chat completions API: OpenAI itself, vLLM, Ollama, `LiteLLM` and others.

mod assemble;
mod embeddings;
mod wire;

use powerhouse_domain::model::ModelRequest;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue, InvalidHeaderValue};

use crate::http::{ApiKey, Dialect, HttpProvider};

/// A provider behind the chat completions API.
pub type OpenAiCompatible = HttpProvider<ChatCompletions>;

/// OpenAI's chat completions, streamed.
#[derive(Debug)]
pub struct ChatCompletions;

impl Dialect for ChatCompletions {
    type Assembly = assemble::Assembled;

    const PATH: &'static [&'static str] = &["chat", "completions"];

    fn key_header(key: &ApiKey) -> Result<(HeaderName, HeaderValue), InvalidHeaderValue> {
        Ok((AUTHORIZATION, key.header("Bearer ")?))
    }

    fn body(model: &str, request: &ModelRequest) -> Result<Vec<u8>, serde_json::Error> {
        wire::body(model, request)
    }
}
