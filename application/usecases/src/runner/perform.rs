//! Performing one effect through the ports.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use powerhouse_domain::effects::{EffectFailure, EffectKey, EffectOutcome, FailureClass, ToolRequest};
use powerhouse_domain::idempotency::CallKey;
use powerhouse_domain::model::{Channel, ModelReply, ModelRequest, StopReason};
use powerhouse_domain::money::{Price, worst_case};
use powerhouse_domain::tools::ToolOutput;
use powerhouse_ports::Chain;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::sink::{Heard, Sink};
use super::{Toolbox, Workshop};
use crate::measure::effect_performed;
use crate::models::Route;

/// The most bytes of a tool's output that a model is shown.
const MAX_TOOL_OUTPUT: usize = 64 * 1024;

/// A piece of a model's text on its way to the journal.
#[derive(Debug)]
pub(super) struct Delta {
    pub(super) key: EffectKey,
    pub(super) channel: Channel,
    pub(super) text: String,
}

/// What an agent may use.
#[derive(Clone)]
pub(super) struct Allowed {
    /// The model that it names, which is asked unless the strategy wishes for another.
    pub(super) model: Option<String>,
    pub(super) tools: Arc<Toolbox>,
    /// Tools whose calls a person approves.
    pub(super) approvals: Arc<[String]>,
}

/// A model call that may be made.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) request: ModelRequest,
    /// Who answers.
    pub(super) route: Arc<Route>,
    /// Whether enough was set aside for making it twice.
    pub(super) may_hedge: bool,
    pub(super) heard: Heard,
}

/// What is to be performed.
pub(super) enum Work {
    Model(Box<Call>),
    Tool(ToolRequest),
}

/// Performs an effect. Dropping the future drops the connection to the model or the tool.
pub(super) async fn perform(
    workshop: Arc<Workshop>,
    allowed: Allowed,
    key: EffectKey,
    call_key: CallKey,
    work: Work,
    deltas: mpsc::Sender<Delta>,
) -> (EffectKey, EffectOutcome) {
    let begun = Instant::now();
    // A panic ends the effect: left alone it would end the drive, again and again with each lease.
    let (kind, outcome) = match work {
        Work::Model(call) => {
            let asked = ask(&workshop, (&key, &call_key), &call, deltas);
            let outcome = AssertUnwindSafe(asked).catch_unwind().await.unwrap_or_else(|_| {
                let message = "the model call failed unexpectedly".to_owned();
                EffectOutcome::Failed(EffectFailure::new(FailureClass::Unavailable, message))
            });
            ("model", outcome)
        }
        Work::Tool(request) => {
            let called =
                AssertUnwindSafe(call(&workshop, &allowed, &call_key, &request)).catch_unwind().await;
            let output = called.unwrap_or_else(|_| ToolOutput::error("the tool failed unexpectedly"));
            ("tool", EffectOutcome::Tool(output))
        }
    };
    effect_performed(kind, !outcome.is_failure(), begun.elapsed());
    (key, outcome)
}

async fn ask(
    workshop: &Workshop,
    (key, call_key): (&EffectKey, &CallKey),
    Call { request, route, may_hedge, heard }: &Call,
    deltas: mpsc::Sender<Delta>,
) -> EffectOutcome {
    let (sink, cut) = Sink::new(key, request, deltas, Arc::clone(heard));
    let reply = tokio::select! {
        biased;
        reply = route.complete(&*workshop.clock, call_key, request, *may_hedge, Box::new(sink)) => reply,
        // Dropping the call closes its connection. What it cost nobody says any more: the most that it may.
        Ok(text) = cut => {
            let once = worst_case(request, &Price::FREE, request.max_output_tokens.unwrap_or(u32::MAX));
            let used = if *may_hedge { once.plus(once) } else { once };
            Ok(ModelReply { stop: StopReason::MaxTokens, ..ModelReply::text(text, used, route.first()) })
        }
    };
    match reply {
        Ok(reply) => EffectOutcome::Model(reply),
        Err(error) => {
            tracing::warn!(
                error = %Chain(&error),
                purpose = request.purpose,
                "a model call failed"
            );
            EffectOutcome::Failed(EffectFailure::new(error.class(), error.to_string()))
        }
    }
}

/// Only what the agent's definition lists can be called, whatever the model asks for.
async fn call(workshop: &Workshop, allowed: &Allowed, key: &CallKey, request: &ToolRequest) -> ToolOutput {
    let Some(tool) = allowed.tools.get(&request.name) else {
        return ToolOutput::error("this agent has no such tool");
    };
    let limit = workshop.settings.tool_timeout;
    match tokio::time::timeout(limit, tool.call(key, &request.arguments)).await {
        Ok(output) => bounded(output),
        Err(_) => ToolOutput::error(format!("the tool took longer than {} seconds", limit.as_secs())),
    }
}

fn bounded(mut output: ToolOutput) -> ToolOutput {
    if output.content.len() > MAX_TOOL_OUTPUT {
        output.content.truncate(output.content.floor_char_boundary(MAX_TOOL_OUTPUT));
        output.content.push_str("\n[cut: the output was longer]");
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_output_is_cut_at_a_character_and_says_so() {
        let cut = bounded(ToolOutput::ok("é".repeat(MAX_TOOL_OUTPUT)));
        assert!(cut.content.ends_with("[cut: the output was longer]"));
        assert!(cut.content.len() < MAX_TOOL_OUTPUT + 64);
        assert_eq!(bounded(ToolOutput::ok("short")), ToolOutput::ok("short"));
    }
}
