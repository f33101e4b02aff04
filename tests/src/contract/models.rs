//! The contract of `ModelProvider`, of those behind HTTP, against a server that does as it likes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use powerhouse_domain::effects::{EffectRequest, FailureClass};
use powerhouse_domain::idempotency::CallKey;
use powerhouse_domain::model::{Message, ModelReply, ModelRequest, StopReason};
use powerhouse_ports::models::{DeltaSink, ModelError, ModelProvider};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::stub_model::{Answer, Api, StubModel};

/// The key that a provider is to use. No error and no log has it.
pub const KEY: &str = "sk-canary-7f3a";
/// How long a provider is to wait for a connection, for the first byte, and between two pieces.
pub const PATIENCE: Duration = Duration::from_millis(300);
/// How often it is to try, with no more than 10 ms after the first time, and at most two seconds where it is asked to wait.
pub const ATTEMPTS: u32 = 3;

/// The adapter under test.
#[async_trait]
pub trait Harness: Send + Sync {
    /// What it speaks.
    fn api(&self) -> Api;

    /// A provider with [`KEY`] at this base.
    fn provider(&self, base_url: &str) -> Arc<dyn ModelProvider>;

    /// The models that the provider at this base lists.
    async fn models(&self, base_url: &str) -> Result<Vec<String>, ModelError>;
}

/// Declares the suite for a harness, an expression that may be evaluated often: one test a promise.
#[macro_export]
macro_rules! model_contract {
    ($harness:expr) => {
        $crate::contract_tests!($harness, models:
            a_reply_is_streamed_whatever_its_cuts, tool_calls_come_in_pieces, a_schema_is_sent_along,
            what_may_pass_is_tried_again_until_it_is_enough, what_will_not_pass_is_not_tried_again,
            retry_after_is_honoured_and_a_long_one_passed_on,
            a_stream_that_breaks_off_is_tried_again_only_if_nothing_was_heard,
            a_server_that_says_nothing_is_given_up, what_is_no_reply_is_malformed, a_reply_without_end_is_cut_off,
            dropping_the_call_drops_the_connection, nobody_listening_is_unavailable, models_are_listed,
            each_try_of_a_call_has_its_key
        );
    };
}

/// The key of some call.
pub fn call_key() -> CallKey {
    let request = EffectRequest::Model(ModelRequest::answer("answer", vec![]));
    let run = "run_01h455vb4pex5vsknk084sn02q".parse().expect("a run's id");
    CallKey::of(run, &"0".parse().expect("a key"), &request)
}

/// Keeps what is pushed.
#[derive(Clone, Debug, Default)]
pub struct Heard(Arc<Mutex<String>>);

impl Heard {
    /// All of it.
    pub fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl DeltaSink for Heard {
    async fn push(&mut self, text: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
    }
}

struct Setting {
    stub: StubModel,
    provider: Arc<dyn ModelProvider>,
    heard: Heard,
}

impl Setting {
    async fn new(harness: &impl Harness, answers: impl IntoIterator<Item = Answer>) -> Self {
        let stub = StubModel::start(answers).await.expect("a stub");
        let provider = harness.provider(&stub.base_url());
        Self { stub, provider, heard: Heard::default() }
    }

    async fn ask(&self) -> Result<ModelReply, ModelError> {
        self.ask_for(&ModelRequest::answer("answer", vec![Message::user("What is 6 × 7?")])).await
    }

    async fn ask_for(&self, request: &ModelRequest) -> Result<ModelReply, ModelError> {
        self.provider.complete(&call_key(), "m", request, Box::new(self.heard.clone())).await
    }

    /// What fails says nothing of the key, also to the log, and to people nothing of where the provider is.
    async fn fail(&self, class: FailureClass) -> ModelError {
        let error = self.ask().await.expect_err("no reply");
        assert!(!format!("{error:?} {error}").contains("canary"), "{error:?}");
        let told = error.to_string();
        assert!(!told.contains("127.0.0.1") && !told.contains("HTTP") && told.contains(": "), "{told}");
        assert_eq!(error.class(), class, "{error:?}");
        error
    }
}

/// The text comes as it is generated, and once more as a whole.
pub async fn a_reply_is_streamed_whatever_its_cuts(harness: &impl Harness) {
    let answer = || harness.api().text(["4", "é", "2"], 7, 3);
    for answer in [answer(), answer().in_single_bytes()] {
        let setting = Setting::new(harness, [answer]).await;
        let reply = setting.ask().await.expect("a reply");
        assert_eq!((reply.text.as_str(), setting.heard.text().as_str()), ("4é2", "4é2"));
        assert_eq!((reply.usage.input_tokens, reply.usage.output_tokens), (7, 3));
        assert_eq!((reply.model.as_str(), reply.stop), ("stub-1", StopReason::EndTurn));
        let received = &setting.stub.received()[0];
        assert!(
            received.head.starts_with(&format!("POST /v1{} ", harness.api().path())),
            "{}",
            received.head
        );
        let (name, value) = harness.api().key_header(KEY);
        assert_eq!(received.header(name), Some(value.as_str()));
        assert_eq!((&received.body["model"], &received.body["stream"]), (&json!("m"), &json!(true)));
    }
}

/// Several calls, each in pieces.
pub async fn tool_calls_come_in_pieces(harness: &impl Harness) {
    let calls = [("add", json!({"a": 1, "b": 2})), ("now", json!({"zone": "UTC"}))];
    let setting = Setting::new(harness, [harness.api().calls(&calls, 5, 2).in_single_bytes()]).await;
    let reply = setting.ask().await.expect("a reply");
    assert_eq!(reply.stop, StopReason::ToolCalls);
    let called: Vec<_> =
        reply.tool_calls.iter().map(|call| (call.name.as_str(), call.arguments.as_str())).collect();
    assert_eq!(called, [("add", r#"{"a":1,"b":2}"#), ("now", r#"{"zone":"UTC"}"#)]);
    assert_ne!(reply.tool_calls[0].id, reply.tool_calls[1].id);
}

/// The answer's text is what the schema describes.
pub async fn a_schema_is_sent_along(harness: &impl Harness) {
    let setting = Setting::new(harness, [harness.api().text([r#"{"ok""#, ":true}"], 5, 2)]).await;
    let schema = json!({"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"],
        "additionalProperties": false});
    let request =
        ModelRequest::thought("judge", vec![Message::user("Well?")]).with_schema("verdict", schema.clone());
    let reply = setting.ask_for(&request).await.expect("a reply");
    assert_eq!(reply.text, r#"{"ok":true}"#);
    let sent = &setting.stub.received()[0].body;
    let format =
        [&sent["response_format"]["json_schema"]["schema"], &sent["output_config"]["format"]["schema"]];
    assert!(format.contains(&&schema), "{sent}");
}

/// What a server says when it is busy or broken passes.
pub async fn what_may_pass_is_tried_again_until_it_is_enough(harness: &impl Harness) {
    for status in [408, 409, 429, 500, 502, 503, 529] {
        let setting =
            Setting::new(harness, [Answer::error(status, "busy"), harness.api().text(["42"], 1, 1)]).await;
        assert_eq!(setting.ask().await.expect("a reply").text, "42", "{status}");
    }
    for status in [429, 500, 503] {
        let setting = Setting::new(harness, vec![Answer::error(status, KEY); 4]).await;
        let error = setting.fail(FailureClass::Unavailable).await;
        assert!(matches!(error, ModelError::Unavailable { retry_after: None, .. }), "{error:?}");
        assert_eq!(setting.stub.received().len(), ATTEMPTS as usize);
    }
}

/// What it says of the request stays so. A redirect would take the key along.
pub async fn what_will_not_pass_is_not_tried_again(harness: &impl Harness) {
    for status in [301, 307, 400, 401, 403, 404, 413, 422] {
        let answer = Answer::error(status, KEY).header("location", "http://127.0.0.1:1/");
        let setting = Setting::new(harness, [answer, harness.api().text(["42"], 1, 1)]).await;
        let error = setting.fail(FailureClass::Rejected).await;
        match status {
            401 | 403 => assert!(matches!(error, ModelError::KeyRefused(_)), "{status} {error:?}"),
            404 => assert!(matches!(error, ModelError::UnknownModel(_)), "{status} {error:?}"),
            _ => assert!(matches!(error, ModelError::Rejected(_)), "{status} {error:?}"),
        }
        assert_eq!(setting.stub.received().len(), 1);
    }
}

/// A provider that asks to wait is heard, and whoever asked it is told when that is too long.
pub async fn retry_after_is_honoured_and_a_long_one_passed_on(harness: &impl Harness) {
    let busy = |seconds| Answer::error(429, "slow down").header("retry-after", seconds);
    let setting = Setting::new(harness, [busy("1"), harness.api().text(["42"], 1, 1)]).await;
    let started = Instant::now();
    setting.ask().await.expect("a reply");
    assert!(started.elapsed() >= Duration::from_secs(1));
    let setting = Setting::new(harness, [busy("90")]).await;
    let error = setting.fail(FailureClass::Unavailable).await;
    assert!(error.to_string().contains("90 seconds"), "{error}");
    let ModelError::Unavailable { retry_after, .. } = error else { panic!("not unavailable") };
    assert_eq!(retry_after, Some(Duration::from_secs(90)));
    assert_eq!(setting.stub.received().len(), 1);
}

/// Nobody hears a text twice.
pub async fn a_stream_that_breaks_off_is_tried_again_only_if_nothing_was_heard(harness: &impl Harness) {
    let silent = Answer::stream().raw(b": hello\n\n");
    let setting = Setting::new(harness, [silent, harness.api().text(["42"], 1, 1)]).await;
    assert_eq!(setting.ask().await.expect("a reply").text, "42");

    let opening = || harness.api().opening("4");
    for cut in [opening(), opening().hang(), opening().raw(b"data: {\"unfinished")] {
        let setting = Setting::new(harness, [cut, harness.api().text(["42"], 1, 1)]).await;
        setting.fail(FailureClass::Unavailable).await;
        assert_eq!((setting.stub.received().len(), setting.heard.text().as_str()), (1, "4"));
    }
}

/// Neither before the first byte of an answer nor in it.
pub async fn a_server_that_says_nothing_is_given_up(harness: &impl Harness) {
    let late = harness.api().text(["too late"], 1, 1).after(PATIENCE * 3);
    for silent in [late, Answer::stream().hang()] {
        let setting = Setting::new(harness, [silent.clone(), harness.api().text(["42"], 1, 1)]).await;
        assert_eq!(setting.ask().await.expect("a reply").text, "42");
        let setting = Setting::new(harness, vec![silent; 4]).await;
        let begun = Instant::now();
        setting.fail(FailureClass::Unavailable).await;
        assert!(begun.elapsed() < PATIENCE * (ATTEMPTS + 1), "{:?}", begun.elapsed());
    }
}

/// Whatever it is.
pub async fn what_is_no_reply_is_malformed(harness: &impl Harness) {
    let cases = [
        Answer::other("text/html", "<html>"),
        Answer::other("application/json", "{}"),
        Answer::stream().raw(b"data: {\n\n"),
        Answer::stream().raw(b"data: \"\xc3\x28\"\n\n"),
        Answer::stream().event(&json!({"choices": "none"})),
        // A line, or a silence, that never ends.
        Answer::stream().endless(&[b'a'; 4096]),
        Answer::stream().raw(b"data: ").endless(&[b'a'; 4096]),
        Answer::stream().endless(b": still here\n"),
    ];
    for case in cases {
        let shown = format!("{case:.200?}");
        let setting = Setting::new(harness, [case]).await;
        let error = setting.fail(FailureClass::Unavailable).await;
        assert!(matches!(error, ModelError::Malformed(_)), "{shown} {error:?}");
        assert_eq!(setting.stub.received().len(), 1, "{shown}");
    }
}

/// A reply has a longest length, also when it comes in good order.
pub async fn a_reply_without_end_is_cut_off(harness: &impl Harness) {
    let piece = format!("data: {}\n\n", harness.api().piece(&"word ".repeat(800)));
    let setting = Setting::new(harness, [Answer::stream().endless(piece.as_bytes())]).await;
    let error = setting.fail(FailureClass::Unavailable).await;
    assert!(matches!(error, ModelError::Malformed(_)), "{error:?}");
    assert!(setting.heard.text().len() < 17 * 1024 * 1024);
    assert_eq!(setting.stub.received().len(), 1);
}

/// So that nothing is generated that nobody waits for.
pub async fn dropping_the_call_drops_the_connection(harness: &impl Harness) {
    let setting = Setting::new(harness, [Answer::stream().raw(b": hello\n\n").hang()]).await;
    assert!(timeout(PATIENCE / 2, setting.ask()).await.is_err());
    timeout(Duration::from_secs(2), async {
        while setting.stub.deserted() == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the stub sees that the client has gone");
}

/// Where there is no server.
pub async fn nobody_listening_is_unavailable(harness: &impl Harness) {
    let setting = Setting::new(harness, []).await;
    let Setting { stub, provider, heard } = setting;
    drop(stub);
    sleep(Duration::from_millis(20)).await;
    let request = ModelRequest::answer("answer", vec![]);
    let error = provider.complete(&call_key(), "m", &request, Box::new(heard)).await.expect_err("no reply");
    assert!(matches!(error, ModelError::Unavailable { .. }), "{error:?}");
}

/// By their names.
pub async fn models_are_listed(harness: &impl Harness) {
    let stub = StubModel::start([]).await.expect("a stub");
    assert_eq!(harness.models(&stub.base_url()).await.expect("models"), ["stub-1"]);
}

/// The same each time, for providers that heed it.
pub async fn each_try_of_a_call_has_its_key(harness: &impl Harness) {
    let setting = Setting::new(harness, [Answer::error(503, "busy"), harness.api().text(["42"], 5, 1)]).await;
    setting.ask().await.expect("a reply");
    let received = setting.stub.received();
    let keys: Vec<_> = received.iter().map(|call| call.header("Idempotency-Key")).collect();
    assert_eq!(keys, [Some(call_key().as_str()); 2]);
}
