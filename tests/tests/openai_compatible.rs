//! The OpenAI-compatible provider against a server that does as it likes.

#![expect(clippy::unwrap_used, reason = "these are tests, also their helpers")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use powerhouse_domain::effects::EffectRequest;
use powerhouse_domain::idempotency::CallKey;
use powerhouse_domain::model::{Message, ModelReply, ModelRequest, StopReason};
use powerhouse_models::{ApiKey, Endpoint, OpenAiCompatible, Retries, TimeOuts};
use powerhouse_ports::models::{DeltaSink, ModelError, ModelProvider as _};
use powerhouse_tests::stub_model::{Answer, StubModel};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

const KEY: &str = "sk-canary-7f3a";

/// The key of some call.
fn key() -> CallKey {
    let request = EffectRequest::Model(ModelRequest::answer("answer", vec![]));
    CallKey::of("run_01h455vb4pex5vsknk084sn02q".parse().unwrap(), &"0".parse().unwrap(), &request)
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<String>>);

impl Kept {
    fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

#[async_trait]
impl DeltaSink for Kept {
    async fn push(&mut self, text: &str) {
        self.0.lock().unwrap().push_str(text);
    }
}

struct Setting {
    stub: StubModel,
    provider: OpenAiCompatible,
    heard: Kept,
}

impl Setting {
    async fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let stub = StubModel::start(answers).await.unwrap();
        let short = Duration::from_millis(300);
        let endpoint = Endpoint {
            base_url: stub.base_url().parse().unwrap(),
            key: Some(ApiKey::new(KEY)),
            time_outs: TimeOuts {
                connect: short,
                first_byte: short,
                idle: short,
                total: Duration::from_secs(5),
            },
            retries: Retries { attempts: 3, base: Duration::from_millis(10), cap: Duration::from_secs(2) },
        };
        Self { stub, provider: OpenAiCompatible::new(endpoint).unwrap(), heard: Kept::default() }
    }

    async fn ask(&self) -> Result<ModelReply, ModelError> {
        let request = ModelRequest::answer("answer", vec![Message::user("What is 6 × 7?")]);
        self.provider.complete(&key(), "m", &request, Box::new(self.heard.clone())).await
    }

    /// What fails says nothing of the key, also to the log.
    async fn fail(&self) -> ModelError {
        let error = self.ask().await.expect_err("no reply");
        assert!(!format!("{error:?} {error}").contains("canary"), "{error:?}");
        error
    }
}

#[tokio::test]
async fn a_reply_is_streamed_whatever_its_cuts() {
    for answer in [Answer::text(["4", "é", "2"], 7, 3), Answer::text(["4", "é", "2"], 7, 3).in_single_bytes()]
    {
        let setting = Setting::new([answer]).await;
        let reply = setting.ask().await.unwrap();
        assert_eq!((reply.text.as_str(), setting.heard.text().as_str()), ("4é2", "4é2"));
        assert_eq!((reply.usage.input_tokens, reply.usage.output_tokens), (7, 3));
        assert_eq!((reply.model.as_str(), reply.stop), ("stub-1", StopReason::EndTurn));
        let received = setting.stub.received();
        assert!(received[0].head.starts_with("POST /v1/chat/completions"));
        assert!(received[0].head.contains(&format!("authorization: Bearer {KEY}")));
        assert_eq!((&received[0].body["model"], &received[0].body["stream"]), (&json!("m"), &json!(true)));
    }
}

#[tokio::test]
async fn tool_calls_come_in_pieces() {
    let setting = Setting::new([Answer::call("add", &json!({"a": 1, "b": 2}), 5, 2)]).await;
    let reply = setting.ask().await.unwrap();
    assert_eq!((reply.stop, reply.tool_calls.len()), (StopReason::ToolCalls, 1));
    assert_eq!(reply.tool_calls[0].arguments, r#"{"a":1,"b":2}"#);
}

#[tokio::test]
async fn what_may_pass_is_tried_again_until_it_is_enough() {
    for status in [408, 409, 429, 500, 502, 503, 529] {
        let setting = Setting::new([Answer::error(status, "busy"), Answer::text(["42"], 1, 1)]).await;
        assert_eq!(setting.ask().await.unwrap().text, "42", "{status}");
    }
    let setting = Setting::new(vec![Answer::error(503, KEY); 4]).await;
    assert!(matches!(setting.fail().await, ModelError::Unavailable { .. }));
    assert_eq!(setting.stub.received().len(), 3);
}

#[tokio::test]
async fn what_will_not_pass_is_not_tried_again() {
    for status in [301, 400, 401, 403, 404, 422] {
        let answer = Answer::error(status, KEY).header("location", "http://127.0.0.1:1/");
        let setting = Setting::new([answer, Answer::text(["42"], 1, 1)]).await;
        assert!(matches!(setting.fail().await, ModelError::Rejected(_)), "{status}");
        assert_eq!(setting.stub.received().len(), 1);
    }
}

#[tokio::test]
async fn retry_after_is_honoured_and_a_long_one_passed_on() {
    let busy = |seconds| Answer::error(429, "slow down").header("retry-after", seconds);
    let setting = Setting::new([busy("1"), Answer::text(["42"], 1, 1)]).await;
    let started = Instant::now();
    setting.ask().await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1));
    let setting = Setting::new([busy("90")]).await;
    let ModelError::Unavailable { retry_after, .. } = setting.fail().await else { panic!("not unavailable") };
    assert_eq!(retry_after, Some(Duration::from_secs(90)));
    assert_eq!(setting.stub.received().len(), 1);
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_tried_again_only_if_nothing_was_heard() {
    let silent = Answer::stream().raw(b": hello\n\n");
    let setting = Setting::new([silent, Answer::text(["42"], 1, 1)]).await;
    assert_eq!(setting.ask().await.unwrap().text, "42");

    let piece = json!({"choices": [{"delta": {"content": "4"}}]});
    for cut in [Answer::stream().event(&piece), Answer::stream().event(&piece).hang()] {
        let setting = Setting::new([cut, Answer::text(["42"], 1, 1)]).await;
        assert!(matches!(setting.fail().await, ModelError::Unavailable { .. }));
        assert_eq!((setting.stub.received().len(), setting.heard.text().as_str()), (1, "4"));
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let setting = Setting::new([Answer::stream().hang(), Answer::text(["42"], 1, 1)]).await;
    assert_eq!(setting.ask().await.unwrap().text, "42");
    assert_eq!(setting.stub.deserted(), 1);
}

#[tokio::test]
async fn what_is_no_reply_is_malformed() {
    let cases = [
        Answer::other("text/html", "<html>"),
        Answer::other("application/json", "{}"),
        Answer::stream().raw(b"data: {\n\n"),
        Answer::stream().event(&json!({"choices": "none"})),
        Answer::stream().endless(&[b'a'; 4096]),
        Answer::stream().endless(b": still here\n"),
    ];
    for case in cases {
        let shown = format!("{case:.80?}");
        let setting = Setting::new([case]).await;
        assert!(matches!(setting.fail().await, ModelError::Malformed(_)), "{shown}");
        assert_eq!(setting.stub.received().len(), 1, "{shown}");
    }
}

#[tokio::test]
async fn dropping_the_call_drops_the_connection() {
    let setting = Setting::new([Answer::stream().raw(b": hello\n\n").hang()]).await;
    assert!(timeout(Duration::from_millis(150), setting.ask()).await.is_err());
    timeout(Duration::from_secs(2), async {
        while setting.stub.deserted() == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the stub sees that the client has gone");
}

#[tokio::test]
async fn nobody_listening_is_unavailable() {
    let setting = Setting::new([]).await;
    let base_url = setting.stub.base_url();
    drop(setting.stub);
    sleep(Duration::from_millis(20)).await;
    let retries = Retries { attempts: 2, base: Duration::from_millis(1), cap: Duration::from_millis(1) };
    let endpoint =
        Endpoint { base_url: base_url.parse().unwrap(), key: None, time_outs: TimeOuts::default(), retries };
    let provider = OpenAiCompatible::new(endpoint).unwrap();
    let request = ModelRequest::answer("answer", vec![]);
    let error = provider.complete(&key(), "m", &request, Box::new(Kept::default())).await.unwrap_err();
    assert!(matches!(error, ModelError::Unavailable { .. }));
}

#[tokio::test]
async fn models_are_listed() {
    let setting = Setting::new([]).await;
    assert_eq!(setting.provider.models().await.unwrap(), ["stub-1"]);
}

#[tokio::test]
async fn each_try_of_a_call_has_its_key() {
    let setting = Setting::new([Answer::error(503, "busy"), Answer::text(["42"], 5, 1)]).await;
    setting.ask().await.unwrap();
    let received = setting.stub.received();
    let keys: Vec<_> = received.iter().map(|call| call.header("Idempotency-Key").unwrap()).collect();
    assert_eq!(keys, [key().as_str(); 2]);
}
