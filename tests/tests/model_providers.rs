//! The contract of providers behind HTTP, and what the real APIs have been seen to send.

#![expect(clippy::unwrap_used, reason = "these are tests, also their helpers")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use powerhouse_domain::model::{Message, ModelReply, ModelRequest, StopReason, Usage};
use powerhouse_models::{Anthropic, ApiKey, Endpoint, OpenAiCompatible, Retries, TimeOuts};
use powerhouse_ports::models::{ModelError, ModelProvider};
use powerhouse_tests::contract::models::{ATTEMPTS, Harness, Heard, KEY, PATIENCE, call_key};
use powerhouse_tests::stub_model::{Answer, Api, StubModel};

fn endpoint(base_url: &str) -> Endpoint {
    Endpoint {
        base_url: base_url.parse().unwrap(),
        key: Some(ApiKey::new(KEY)),
        time_outs: TimeOuts {
            connect: PATIENCE,
            first_byte: PATIENCE,
            idle: PATIENCE,
            total: Duration::from_secs(20),
        },
        retries: Retries { attempts: ATTEMPTS, base: Duration::from_millis(10), cap: Duration::from_secs(2) },
        cache_prompts: false,
    }
}

struct ChatCompletions;

#[async_trait]
impl Harness for ChatCompletions {
    fn api(&self) -> Api {
        Api::ChatCompletions
    }

    fn provider(&self, base_url: &str) -> Arc<dyn ModelProvider> {
        Arc::new(OpenAiCompatible::new(endpoint(base_url)).unwrap())
    }

    async fn models(&self, base_url: &str) -> Result<Vec<String>, ModelError> {
        OpenAiCompatible::new(endpoint(base_url)).unwrap().models().await
    }
}

struct Messages;

#[async_trait]
impl Harness for Messages {
    fn api(&self) -> Api {
        Api::Messages
    }

    fn provider(&self, base_url: &str) -> Arc<dyn ModelProvider> {
        Arc::new(Anthropic::new(endpoint(base_url)).unwrap())
    }

    async fn models(&self, base_url: &str) -> Result<Vec<String>, ModelError> {
        Anthropic::new(endpoint(base_url)).unwrap().models().await
    }
}

mod openai_compatible {
    use super::*;

    powerhouse_tests::model_contract!(ChatCompletions);
}

mod anthropic {
    use super::*;

    powerhouse_tests::model_contract!(Messages);
}

/// What comes of an answer that was recorded.
async fn replayed(harness: &impl Harness, answer: Answer) -> (Result<ModelReply, ModelError>, String) {
    let stub = StubModel::start([answer]).await.unwrap();
    let heard = Heard::default();
    let request = ModelRequest::answer("answer", vec![Message::user("What is 6 × 7?")]);
    let provider = harness.provider(&stub.base_url());
    let reply = provider.complete(&call_key(), "m", &request, Box::new(heard.clone())).await;
    (reply, heard.text())
}

fn stream(bytes: &[u8]) -> Answer {
    Answer::stream().raw(bytes)
}

#[tokio::test]
async fn recorded_texts_are_read() {
    let answer = stream(include_bytes!("../fixtures/models/openai_text.sse"));
    let (reply, heard) = replayed(&ChatCompletions, answer).await;
    let reply = reply.unwrap();
    assert_eq!((reply.text.as_str(), heard.as_str()), ("6 × 7 is 42.", "6 × 7 is 42."));
    assert_eq!((reply.model.as_str(), reply.stop), ("gpt-5-mini-2025-08-07", StopReason::EndTurn));
    assert_eq!(reply.usage, Usage { cache_read_tokens: 1_024, ..Usage::of_tokens(1_117, 9) });

    let answer = stream(include_bytes!("../fixtures/models/anthropic_text.sse"));
    let (reply, heard) = replayed(&Messages, answer).await;
    let reply = reply.unwrap();
    assert_eq!((reply.text.as_str(), heard.as_str()), ("6 × 7 is 42.", "6 × 7 is 42."));
    assert_eq!((reply.model.as_str(), reply.stop), ("claude-sonnet-4-5-20250929", StopReason::EndTurn));
    let kept = Usage::of_tokens(12 + 2_048 + 1_024, 9);
    assert_eq!(reply.usage, Usage { cache_read_tokens: 1_024, cache_write_tokens: 2_048, ..kept });
}

/// Reasoning that comes beside the reply, comments, white space, and usage wherever it is told.
#[tokio::test]
async fn recorded_habits_of_others_are_borne() {
    let deepseek = stream(include_bytes!("../fixtures/models/deepseek_text.sse"));
    let anthropic = stream(include_bytes!("../fixtures/models/anthropic_brief.sse"));
    for ((reply, heard), usage) in [
        (
            replayed(&ChatCompletions, deepseek).await,
            Usage { cache_read_tokens: 6, ..Usage::of_tokens(16, 21) },
        ),
        (replayed(&Messages, anthropic).await, Usage { cache_read_tokens: 4, ..Usage::of_tokens(20, 9) }),
    ] {
        let reply = reply.unwrap();
        assert_eq!((reply.text.as_str(), heard.as_str()), ("6 × 7 is 42.", "6 × 7 is 42."));
        assert_eq!((reply.stop, reply.usage), (StopReason::EndTurn, usage));
    }
    let cut = stream(include_bytes!("../fixtures/models/openrouter_cut.sse"));
    let reply = replayed(&ChatCompletions, cut).await.0.unwrap();
    assert_eq!((reply.text.as_str(), reply.stop), ("6 × 7", StopReason::MaxTokens));
    assert_eq!(reply.usage, Usage::of_tokens(43, 10), "it is told with the complaint that this was all");
}

#[tokio::test]
async fn recorded_tool_calls_are_read() {
    let openai = stream(include_bytes!("../fixtures/models/openai_tools.sse"));
    let anthropic = stream(include_bytes!("../fixtures/models/anthropic_tools.sse"));
    for (reply, text) in [
        (replayed(&ChatCompletions, openai).await.0, ""),
        (replayed(&Messages, anthropic).await.0, "I'll add them."),
    ] {
        let reply = reply.unwrap();
        assert_eq!((reply.text.as_str(), reply.stop), (text, StopReason::ToolCalls));
        assert_eq!(reply.usage, Usage::of_tokens(472, 89));
        let calls: Vec<_> =
            reply.tool_calls.iter().map(|call| (call.name.as_str(), call.arguments.as_str())).collect();
        assert_eq!(calls, [("calculator", r#"{"expression": "1 + 2"}"#), ("current_time", "{}")]);
    }
}

#[tokio::test]
async fn recorded_failures_are_told_apart() {
    let overloaded = stream(include_bytes!("../fixtures/models/anthropic_overloaded.sse"));
    let (reply, _) = replayed(&Messages, overloaded).await;
    assert!(matches!(reply, Err(ModelError::Unavailable { .. })));
    let refused = stream(include_bytes!("../fixtures/models/groq_refused.sse"));
    let (reply, _) = replayed(&ChatCompletions, refused).await;
    assert!(matches!(reply, Err(ModelError::Rejected(_))), "{reply:?}");
    let refused = |document: &str| Answer::error_document(400, document);
    let document = include_str!("../fixtures/models/anthropic_error.json");
    let (reply, _) = replayed(&Messages, refused(document)).await;
    let Err(ModelError::Rejected(words)) = reply else { panic!("not rejected") };
    assert!(words.to_string().contains("maximum allowed number of output tokens"), "{words}");
    let document = include_str!("../fixtures/models/openai_error.json");
    let (reply, _) = replayed(&ChatCompletions, refused(document)).await;
    let Err(ModelError::Rejected(words)) = reply else { panic!("not rejected") };
    assert!(words.to_string().contains("Invalid schema for response_format"), "{words}");
}

#[tokio::test]
async fn prompts_are_kept_where_the_endpoint_says_so() {
    let stub = StubModel::start([Api::Messages.text(["42"], 1, 1)]).await.unwrap();
    let endpoint = Endpoint { cache_prompts: true, ..endpoint(&stub.base_url()) };
    let provider = Anthropic::new(endpoint).unwrap();
    let request = ModelRequest::answer("answer", vec![Message::system("Be brief."), Message::user("6 × 7?")]);
    provider.complete(&call_key(), "m", &request, Box::new(Heard::default())).await.unwrap();
    let received = &stub.received()[0];
    assert_eq!(received.body["system"][0]["cache_control"]["type"], "ephemeral");
    assert_eq!(received.header("anthropic-version"), Some("2023-06-01"));
}
