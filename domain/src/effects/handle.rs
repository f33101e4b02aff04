//! The handle that strategies hold.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use super::{
    EffectKey, EffectOutcome, EffectRequest, EffectResult, SharedLedger, SubRunOutput, SubRunRequest,
    ToolRequest, expect_model, expect_run, expect_tool, lock,
};
use crate::model::{ModelReply, ModelRequest};
use crate::tools::ToolOutput;

/// A strategy's only way to the world. Asks, and does nothing by itself.
#[derive(Debug)]
pub struct Effects {
    scope: EffectKey,
    next: AtomicU32,
    ledger: SharedLedger,
}

impl Effects {
    pub(super) fn root(ledger: SharedLedger) -> Self {
        Self { scope: EffectKey::default(), next: AtomicU32::new(0), ledger }
    }

    /// Calls the agent's model. A reply that does not satisfy the schema that was asked for is sent back once, as an effect
    /// of its own below the first; what comes of that is given whatever it is, and says with
    /// [`flaw`](ModelReply::flaw) if it is no better.
    pub fn model(
        &self,
        request: ModelRequest,
    ) -> impl Future<Output = EffectResult<ModelReply>> + Send + 'static + use<> {
        let (key, ledger) = (self.next_key(), Arc::clone(&self.ledger));
        async move {
            let again = request.response_schema.is_some().then(|| request.clone());
            let repair = key.child(0);
            let effect = |key, request| {
                let request = Some(EffectRequest::Model(request));
                Effect { key, request, ledger: Arc::clone(&ledger) }
            };
            let reply = expect_model(effect(key, request).await)?;
            match (&reply.flaw, again) {
                (Some(flaw), Some(request)) => {
                    expect_model(effect(repair, request.repairing(&reply, flaw)).await)
                }
                _ => Ok(reply),
            }
        }
    }

    /// Calls a tool. A tool's own failure is an `Ok` output with `is_error`, so that the model can react.
    pub fn tool(
        &self,
        name: impl Into<String>,
        arguments: serde_json::Value,
    ) -> impl Future<Output = EffectResult<ToolOutput>> + Send + 'static {
        self.call(ToolRequest::new(name, arguments))
    }

    /// Calls a tool once a person has approved the call, for this reason. A call that is refused has an `Ok` output with
    /// `is_error`, which says so.
    pub fn tool_once_approved(
        &self,
        name: impl Into<String>,
        arguments: serde_json::Value,
        reason: impl Into<String>,
    ) -> impl Future<Output = EffectResult<ToolOutput>> + Send + 'static {
        self.call(ToolRequest { approval: Some(reason.into()), ..ToolRequest::new(name, arguments) })
    }

    /// Has another agent of the tenant do a task, in a run of its own, and waits for its end. A run without an answer is
    /// an `Ok` output with `is_error`, so that the strategy can react.
    pub fn agent(
        &self,
        name: impl Into<String>,
        task: impl Into<String>,
    ) -> impl Future<Output = EffectResult<SubRunOutput>> + Send + 'static {
        let request = SubRunRequest { agent: name.into(), task: task.into() };
        let effect = self.ask(EffectRequest::Run(request));
        async move { expect_run(effect.await) }
    }

    fn call(
        &self,
        request: ToolRequest,
    ) -> impl Future<Output = EffectResult<ToolOutput>> + Send + 'static + use<> {
        let effect = self.ask(EffectRequest::Tool(request));
        async move { expect_tool(effect.await) }
    }

    /// A handle whose effects are numbered below this point. A branch that makes several effects one after
    /// another while others do the same needs one; [`Effects::join`] of single effects does not.
    #[must_use]
    pub fn branch(&self) -> Self {
        Self { scope: self.next_key(), next: AtomicU32::new(0), ledger: Arc::clone(&self.ledger) }
    }

    /// Runs futures at the same time; their results in the order given, or the first error in that order once
    /// all have ended.
    pub async fn join<T, E, F>(&self, futures: impl IntoIterator<Item = F>) -> Result<Vec<T>, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        futures::future::join_all(futures).await.into_iter().collect()
    }

    fn ask(&self, request: EffectRequest) -> Effect {
        Effect { key: self.next_key(), request: Some(request), ledger: Arc::clone(&self.ledger) }
    }

    fn next_key(&self) -> EffectKey {
        self.scope.child(self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// One effect on its way. Numbered when it is made, asked for when it is first polled.
struct Effect {
    key: EffectKey,
    request: Option<EffectRequest>,
    ledger: SharedLedger,
}

impl Future for Effect {
    type Output = EffectOutcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<EffectOutcome> {
        let Self { key, request, ledger } = &mut *self;
        lock(ledger).poll_effect(key, request, context.waker())
    }
}
