//! Who answers a call: the model that was asked for, and those that answer in its place while its provider cannot.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use powerhouse_domain::effects::FailureClass;
use powerhouse_domain::idempotency::CallKey;
use powerhouse_domain::masking::{Classes, Veil};
use powerhouse_domain::model::{ModelReply, ModelRequest, Routed};
use powerhouse_domain::money::{Price, input_bound, worst_case};
use powerhouse_ports::Chain;
use powerhouse_ports::clock::Clock;
use powerhouse_ports::limits::Passage;
use powerhouse_ports::models::{DeltaSink, ModelError, ModelProvider};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::circuits::Circuit;
use super::race::{Finish, race};
use super::unveiled::Unveiled;
use crate::measure::{call_hedged, call_passed_over};

/// How long a call waits for its turn where only so many may be under way.
const TURN_PATIENCE: Duration = Duration::from_mins(1);
/// English text has about four bytes to a token.
const BYTES_OF_A_TOKEN: u64 = 4;

/// A model, and who serves it.
#[derive(Clone)]
pub(crate) struct Choice {
    /// As its provider and the price list name it.
    pub(crate) model: String,
    /// The provider, where it is one of the tenant's own.
    pub(crate) owner: Option<String>,
    pub(crate) provider: Arc<dyn ModelProvider>,
    pub(crate) circuit: Arc<Circuit>,
    /// The most that it reads and generates together, in tokens.
    pub(crate) context: Option<u32>,
    /// The most that it generates, in tokens.
    pub(crate) max_output: Option<u32>,
    /// Calls that may be under way at the same time in this process.
    pub(crate) turns: Option<Arc<Semaphore>>,
}

/// Those who may answer, in their order: one at least.
#[derive(Clone)]
pub struct Route {
    pub(crate) choices: Vec<Choice>,
    /// Whether the first may be asked twice.
    pub(crate) is_hedged: bool,
    /// What none of them is told.
    pub(crate) masked: Classes,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.models()).finish()
    }
}

impl Route {
    /// The models, in their order.
    pub(crate) fn models(&self) -> impl Iterator<Item = &str> {
        self.choices.iter().map(|choice| choice.model.as_str())
    }

    /// The model that is asked first.
    pub(crate) fn first(&self) -> &str {
        self.models().next().unwrap_or_default()
    }

    /// The most that the first generates.
    pub(crate) fn max_output(&self) -> Option<u32> {
        self.choices.first().and_then(|choice| choice.max_output)
    }

    /// Asks them in turn until one answers, without telling what is masked. The journal has the request as it is, and the
    /// reply with what the placeholders stand for: so a replay asks for the same, whatever is masked by then.
    pub(crate) async fn complete(
        &self,
        clock: &dyn Clock,
        key: &CallKey,
        request: &ModelRequest,
        may_hedge: bool,
        mut deltas: Box<dyn DeltaSink>,
    ) -> Result<ModelReply, ModelError> {
        if self.masked.is_empty() {
            return self.ask(clock, key, request, may_hedge, &mut *deltas).await;
        }
        let (request, veil) = Veil::over(request, self.masked);
        let mut unveiled = Unveiled::new(&veil, deltas);
        let reply = self.ask(clock, key, &request, may_hedge, &mut unveiled).await?;
        unveiled.finish().await;
        Ok(veil.lifted_reply(reply))
    }

    /// Asks them in turn until one answers. Once anything was heard, nobody else is asked: no reader hears two texts.
    async fn ask(
        &self,
        clock: &dyn Clock,
        key: &CallKey,
        request: &ModelRequest,
        may_hedge: bool,
        deltas: &mut dyn DeltaSink,
    ) -> Result<ModelReply, ModelError> {
        let mut passed_over = Vec::new();
        let mut failure = None;
        for choice in &self.choices {
            let is_first = passed_over.is_empty();
            match choice.ask(clock, key, request, may_hedge && is_first, deltas).await {
                Asked::Answered(reply) => return Ok(choice.sign(reply, passed_over)),
                Asked::Failed(error) => return Err(error),
                Asked::PassedOver(error) => {
                    call_passed_over();
                    tracing::info!(model = choice.model, reason = %Chain(&error), "a model is passed over");
                    passed_over.push(choice.model.clone());
                    failure = Some(error);
                }
            }
        }
        Err(failure.unwrap_or_else(|| unavailable("there is nobody to ask")))
    }
}

/// What came of asking one of them.
enum Asked {
    Answered(Answered),
    /// It will not be otherwise with another.
    Failed(ModelError),
    /// It cannot, and nothing was heard of it.
    PassedOver(ModelError),
}

struct Answered {
    reply: ModelReply,
    is_hedged: bool,
}

impl Choice {
    async fn ask(
        &self,
        clock: &dyn Clock,
        key: &CallKey,
        request: &ModelRequest,
        may_hedge: bool,
        deltas: &mut dyn DeltaSink,
    ) -> Asked {
        if self.context.is_some_and(|most| input_bound(request) / BYTES_OF_A_TOKEN > u64::from(most)) {
            let reason = "the conversation is longer than what the model can read";
            return Asked::PassedOver(ModelError::Rejected(reason.into()));
        }
        let Some(_turn) = self.turn().await else {
            return Asked::PassedOver(unavailable("too many calls are under way"));
        };
        let passage = self.circuit.admit(clock.now()).await;
        if let Passage::Barred { left } = passage {
            let source = "it has failed too often".into();
            return Asked::PassedOver(ModelError::Unavailable { retry_after: Some(left), source });
        }
        let request = self.fitted(request);
        let patience = if may_hedge { self.circuit.patience() } else { None };
        let second = key.second();
        let make = |is_second: bool, sink| {
            if is_second {
                call_hedged();
            }
            let key = if is_second { &second } else { key };
            Some(self.provider.complete(key, &self.model, &request, sink).boxed())
        };
        let Finish { result, begun_after, has_dropped } = race(make, patience, deltas).await;
        if let Some(begun_after) = begun_after {
            self.circuit.begun(begun_after);
        }
        match result {
            Ok(mut reply) => {
                self.circuit.succeeded(passage).await;
                if has_dropped {
                    // What it used nobody says any more: the most that it may.
                    let most = request.max_output_tokens.unwrap_or(Price::FREE.max_output_tokens);
                    reply.usage = reply.usage.plus(worst_case(&request, &Price::FREE, most));
                }
                Asked::Answered(Answered { reply, is_hedged: has_dropped })
            }
            Err(error) if error.class() == FailureClass::Unavailable => {
                self.circuit.failed(clock.now()).await;
                if begun_after.is_some() { Asked::Failed(error) } else { Asked::PassedOver(error) }
            }
            Err(error) => {
                // It answers, though not as anybody would like.
                self.circuit.succeeded(passage).await;
                Asked::Failed(error)
            }
        }
    }

    /// A turn, where only so many calls may be under way.
    async fn turn(&self) -> Option<Option<tokio::sync::OwnedSemaphorePermit>> {
        let Some(turns) = &self.turns else { return Some(None) };
        let turn = timeout(TURN_PATIENCE, Arc::clone(turns).acquire_owned()).await;
        turn.ok().and_then(Result::ok).map(Some)
    }

    /// The request within what the model can do.
    fn fitted<'a>(&self, request: &'a ModelRequest) -> Cow<'a, ModelRequest> {
        match self.max_output {
            Some(most) if request.max_output_tokens.is_none_or(|asked| asked > most) => {
                Cow::Owned(ModelRequest { max_output_tokens: Some(most), ..request.clone() })
            }
            _ => Cow::Borrowed(request),
        }
    }

    /// The reply, which says how it came about where that is worth saying.
    fn sign(&self, Answered { reply, is_hedged }: Answered, passed_over: Vec<String>) -> ModelReply {
        if passed_over.is_empty() && self.owner.is_none() && !is_hedged {
            return reply;
        }
        let routed =
            Routed { model: self.model.clone(), provider: self.owner.clone(), passed_over, is_hedged };
        ModelReply { routed: Some(Box::new(routed)), ..reply }
    }
}

fn unavailable(reason: &str) -> ModelError {
    ModelError::Unavailable { retry_after: None, source: reason.into() }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use chrono::{DateTime, TimeDelta, Utc};
    use powerhouse_domain::breaker::BreakerSettings;
    use powerhouse_domain::effects::EffectRequest;
    use powerhouse_domain::model::{Message, Usage};
    use tokio::time::sleep;

    use super::*;
    use crate::models::circuits::Circuits;
    use crate::models::circuits::testing::OwnBreakers;

    const BREAKER: BreakerSettings =
        BreakerSettings { failures: 2, window: TimeDelta::seconds(60), cool_down: TimeDelta::seconds(30) };

    struct At(Mutex<i64>);

    impl Clock for At {
        fn now(&self) -> DateTime<Utc> {
            DateTime::from_timestamp(*self.0.lock().unwrap(), 0).unwrap()
        }
    }

    /// What a model does when it is asked.
    #[derive(Clone, Copy, PartialEq)]
    enum Does {
        Answer,
        /// After so many seconds.
        AnswerLate(u64),
        Fail,
        /// After its first word.
        BreakOff,
        Reject,
    }

    struct Stub {
        does: Mutex<Does>,
        asked: AtomicUsize,
        keys: Mutex<Vec<String>>,
        most: Mutex<Vec<Option<u32>>>,
    }

    #[async_trait]
    impl ModelProvider for Stub {
        async fn complete(
            &self,
            key: &CallKey,
            model: &str,
            request: &ModelRequest,
            mut deltas: Box<dyn DeltaSink>,
        ) -> Result<ModelReply, ModelError> {
            let does = *self.does.lock().unwrap();
            self.keys.lock().unwrap().push(key.to_string());
            self.most.lock().unwrap().push(request.max_output_tokens);
            let number = self.asked.fetch_add(1, Ordering::SeqCst);
            match does {
                Does::Fail => return Err(unavailable("down")),
                Does::Reject => return Err(ModelError::Rejected("no".into())),
                Does::BreakOff => {
                    deltas.push("half").await;
                    return Err(unavailable("cut"));
                }
                // Only every other call is late.
                Does::AnswerLate(seconds) if number.is_multiple_of(2) => {
                    sleep(Duration::from_secs(seconds)).await;
                }
                Does::Answer | Does::AnswerLate(_) => {}
            }
            deltas.push("42").await;
            Ok(ModelReply::text("42", Usage::of_tokens(7, 3), model))
        }
    }

    struct Heard(Arc<Mutex<String>>);

    #[async_trait]
    impl DeltaSink for Heard {
        async fn push(&mut self, text: &str) {
            self.0.lock().unwrap().push_str(text);
        }
    }

    struct Scene {
        clock: At,
        stubs: Vec<Arc<Stub>>,
        route: Route,
    }

    impl Scene {
        /// Models `m0`, `m1` and so on that do this.
        fn new(does: &[Does]) -> Self {
            let circuits = Circuits::new(OwnBreakers::with(BREAKER));
            let stub = |does: &Does| {
                let (does, asked) = (Mutex::new(*does), AtomicUsize::new(0));
                Arc::new(Stub { does, asked, keys: Mutex::default(), most: Mutex::default() })
            };
            let stubs: Vec<_> = does.iter().map(stub).collect();
            let choices = stubs.iter().enumerate().map(|(index, stub)| {
                let model = format!("m{index}");
                Choice {
                    circuit: circuits.of(None, &model),
                    model,
                    owner: None,
                    provider: Arc::clone(stub) as Arc<dyn ModelProvider>,
                    context: None,
                    max_output: None,
                    turns: None,
                }
            });
            let route = Route { choices: choices.collect(), is_hedged: true, masked: Classes::NONE };
            Self { clock: At(Mutex::new(1_700_000_000)), stubs, route }
        }

        async fn ask(&self, may_hedge: bool) -> (Result<ModelReply, ModelError>, String) {
            let request = ModelRequest { max_output_tokens: Some(100), ..request() };
            let run = "run_01h455vb4pex5vsknk084sn02q".parse().unwrap();
            let key = CallKey::of(run, &"0".parse().unwrap(), &EffectRequest::Model(request.clone()));
            let heard = Arc::new(Mutex::new(String::new()));
            let sink = Box::new(Heard(Arc::clone(&heard)));
            let reply = self.route.complete(&self.clock, &key, &request, may_hedge, sink).await;
            let text = heard.lock().unwrap().clone();
            (reply, text)
        }

        fn asked(&self) -> Vec<usize> {
            self.stubs.iter().map(|stub| stub.asked.load(Ordering::SeqCst)).collect()
        }

        fn let_pass(&self, seconds: i64) {
            *self.clock.0.lock().unwrap() += seconds;
        }
    }

    fn request() -> ModelRequest {
        ModelRequest::answer("answer", vec![Message::user("What is 6 × 7?")])
    }

    #[tokio::test]
    async fn the_first_that_can_answers_and_says_who_could_not() {
        let scene = Scene::new(&[Does::Fail, Does::Fail, Does::Answer]);
        let (reply, heard) = scene.ask(false).await;
        let reply = reply.unwrap();
        assert_eq!((reply.model.as_str(), heard.as_str()), ("m2", "42"));
        let passed_over = vec!["m0".to_owned(), "m1".to_owned()];
        let routed = Routed { model: "m2".into(), passed_over, ..Routed::default() };
        assert_eq!(reply.routed, Some(Box::new(routed)));
        let plain = Scene::new(&[Does::Answer, Does::Answer]);
        assert_eq!(plain.ask(false).await.0.unwrap().routed, None, "what is usual is not worth a word");
        assert_eq!(plain.asked(), [1, 0]);
    }

    #[tokio::test]
    async fn nobody_else_is_asked_once_something_was_heard_or_where_it_would_be_the_same() {
        let scene = Scene::new(&[Does::BreakOff, Does::Answer]);
        let (reply, heard) = scene.ask(false).await;
        assert!(matches!(reply, Err(ModelError::Unavailable { .. })));
        assert_eq!((heard.as_str(), scene.asked()), ("half", vec![1, 0]));
        let scene = Scene::new(&[Does::Reject, Does::Answer]);
        assert!(matches!(scene.ask(false).await.0, Err(ModelError::Rejected(_))));
        assert_eq!(scene.asked(), [1, 0]);
    }

    #[tokio::test]
    async fn one_that_fails_again_and_again_is_left_alone_for_a_while() {
        let scene = Scene::new(&[Does::Fail, Does::Answer]);
        for _ in 0..5 {
            assert_eq!(scene.ask(false).await.0.unwrap().model, "m1");
        }
        assert_eq!(scene.asked(), [2, 5]);
        scene.let_pass(30);
        *scene.stubs[0].does.lock().unwrap() = Does::Answer;
        assert_eq!(scene.ask(false).await.0.unwrap().model, "m0");
        assert_eq!(scene.asked(), [3, 5]);
        // Alone, it says when to come back.
        let scene = Scene::new(&[Does::Fail]);
        for _ in 0..3 {
            scene.ask(false).await.0.unwrap_err();
        }
        let error = scene.ask(false).await.0.unwrap_err();
        let ModelError::Unavailable { retry_after, .. } = error else { panic!("{error}") };
        assert_eq!((retry_after, scene.asked()), (Some(Duration::from_secs(30)), vec![2]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_answer_is_asked_for_a_second_time_and_both_are_counted() {
        let scene = Scene::new(&[Does::Answer]);
        for _ in 0..20 {
            assert!(scene.ask(true).await.0.unwrap().routed.is_none());
        }
        *scene.stubs[0].does.lock().unwrap() = Does::AnswerLate(60);
        let (reply, heard) = scene.ask(true).await;
        let reply = reply.unwrap();
        assert!(reply.routed.is_some_and(|routed| routed.is_hedged));
        assert_eq!((heard.as_str(), scene.asked()), ("42", vec![22]));
        let asked = ModelRequest { max_output_tokens: Some(100), ..request() };
        let dropped = worst_case(&asked, &Price::FREE, 100);
        assert_eq!(reply.usage, Usage::of_tokens(7, 3).plus(dropped));
        let keys = scene.stubs[0].keys.lock().unwrap().clone();
        assert_ne!(keys[20], keys[21], "a provider that heeds keys must not take it for the first");
        // Where there was not enough for both, it is waited for.
        let (reply, _) = scene.ask(false).await;
        assert!(reply.unwrap().routed.is_none());
        assert_eq!(scene.asked(), [23]);
    }

    #[tokio::test(start_paused = true)]
    async fn limits_of_a_model_are_kept() {
        let mut scene = Scene::new(&[Does::AnswerLate(5), Does::Answer]);
        scene.route.choices[0].max_output = Some(10);
        scene.route.choices[0].turns = Some(Arc::new(Semaphore::new(1)));
        let (one, other) = tokio::join!(scene.ask(false), scene.ask(false));
        assert_eq!((one.0.unwrap().model, other.0.unwrap().model), ("m0".to_owned(), "m0".to_owned()));
        assert_eq!(*scene.stubs[0].most.lock().unwrap(), [Some(10), Some(10)]);
        // It is never its turn.
        scene.route.choices[0].turns = Some(Arc::new(Semaphore::new(0)));
        assert_eq!(scene.ask(false).await.0.unwrap().model, "m1");
        assert_eq!(*scene.stubs[1].most.lock().unwrap(), [Some(100)]);
        scene.route.choices[0].context = Some(1);
        scene.route.choices.truncate(1);
        assert!(matches!(scene.ask(false).await.0, Err(ModelError::Rejected(_))));
    }
}
