//! A model that says what a test tells it to, and remembers what it was asked.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use powerhouse_domain::idempotency::CallKey;
use powerhouse_domain::model::{ModelReply, ModelRequest, StopReason};
use powerhouse_domain::tools::ToolCall;
use powerhouse_ports::models::{DeltaSink, ModelError, ModelProvider};

use crate::flaws::checked;
use crate::tokens;

/// One turn of a script.
#[derive(Debug)]
pub struct Scripted {
    delay: Duration,
    turn: Turn,
}

#[derive(Debug)]
enum Turn {
    Say(String),
    Call(Vec<ToolCall>),
    Reply(ModelReply),
    Fail(ModelError),
}

impl Scripted {
    /// Says a text; its usage is estimated.
    pub fn say(text: impl Into<String>) -> Self {
        Self::new(Turn::Say(text.into()))
    }

    /// Calls tools.
    pub fn call(calls: impl IntoIterator<Item = ToolCall>) -> Self {
        Self::new(Turn::Call(calls.into_iter().collect()))
    }

    /// Gives exactly this reply.
    pub fn reply(reply: ModelReply) -> Self {
        Self::new(Turn::Reply(reply))
    }

    /// Fails.
    pub fn fail(error: ModelError) -> Self {
        Self::new(Turn::Fail(error))
    }

    /// The same turn, so much later.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    fn new(turn: Turn) -> Self {
        Self { delay: Duration::ZERO, turn }
    }
}

/// A model with a script. Calls take its turns in the order of their arrival; after the last it rejects.
#[derive(Debug, Default)]
pub struct ScriptedModel {
    turns: Mutex<VecDeque<Scripted>>,
    asked: Mutex<Vec<(String, ModelRequest)>>,
}

impl ScriptedModel {
    /// A model with these turns.
    pub fn new(turns: impl IntoIterator<Item = Scripted>) -> Self {
        Self { turns: Mutex::new(turns.into_iter().collect()), asked: Mutex::default() }
    }

    /// Every request so far with the name of the model that was asked for, in the order of their arrival.
    pub fn asked(&self) -> Vec<(String, ModelRequest)> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn next(&self, model: &str, request: &ModelRequest) -> Option<Scripted> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push((model.to_owned(), request.clone()));
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

#[async_trait]
impl ModelProvider for ScriptedModel {
    async fn complete(
        &self,
        _: &CallKey,
        model: &str,
        request: &ModelRequest,
        mut deltas: Box<dyn DeltaSink>,
    ) -> Result<ModelReply, ModelError> {
        let Scripted { delay, turn } =
            self.next(model, request).ok_or_else(|| ModelError::Rejected("the script has ended".into()))?;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let reply = match turn {
            Turn::Fail(error) => return Err(error),
            Turn::Reply(reply) => reply,
            Turn::Say(text) => {
                let usage = tokens::estimate(request, &text);
                ModelReply::text(text, usage, model)
            }
            Turn::Call(tool_calls) => ModelReply {
                tool_calls,
                stop: StopReason::ToolCalls,
                ..ModelReply::text("", tokens::estimate(request, ""), model)
            },
        };
        for word in reply.text.split_inclusive(' ') {
            deltas.push(word).await;
        }
        Ok(checked(reply, request))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use powerhouse_domain::effects::EffectRequest;
    use powerhouse_domain::model::Message;

    use super::*;

    /// Keeps what is pushed.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<String>>>);

    #[async_trait]
    impl DeltaSink for Kept {
        async fn push(&mut self, text: &str) {
            self.0.lock().unwrap().push(text.to_owned());
        }
    }

    fn key() -> CallKey {
        let request = EffectRequest::Model(ModelRequest::answer("answer", Vec::new()));
        let run = "run_01h455vb4pex5vsknk084sn02q".parse().unwrap();
        CallKey::of(run, &"0".parse().unwrap(), &request)
    }

    #[tokio::test(start_paused = true)]
    async fn turns_come_in_order_are_streamed_and_end() {
        let failure = ModelError::Unavailable { retry_after: None, source: "down".into() };
        let late = Scripted::say("one two").after(Duration::from_secs(9));
        let model = ScriptedModel::new([late, Scripted::fail(failure), Scripted::call([])]);
        let request = ModelRequest::answer("answer", vec![Message::user("Count.")]);
        let (kept, key) = (Kept::default(), key());
        let started = tokio::time::Instant::now();
        let reply = model.complete(&key, "m", &request, Box::new(kept.clone())).await.unwrap();
        assert_eq!((reply.text.as_str(), started.elapsed()), ("one two", Duration::from_secs(9)));
        assert_eq!(*kept.0.lock().unwrap(), ["one ", "two"]);
        let error = model.complete(&key, "m", &request, Box::new(kept.clone())).await.unwrap_err();
        assert!(matches!(error, ModelError::Unavailable { .. }));
        let calls = model.complete(&key, "m", &request, Box::new(kept.clone())).await.unwrap();
        assert_eq!(calls.stop, StopReason::ToolCalls);
        let error = model.complete(&key, "n", &request, Box::new(kept)).await.unwrap_err();
        assert!(matches!(error, ModelError::Rejected(_)));
        assert_eq!(model.asked().len(), 4);
        assert_eq!(model.asked()[3], ("n".into(), request));
    }
}
