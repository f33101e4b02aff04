//! Calling the model, and getting a reply of a certain form.

use serde_json::{Map, Value, json};

use super::{Answer, StrategyError};
use crate::effects::Effects;
use crate::model::{Message, ModelReply, ModelRequest, StopReason};

/// Calls the model; a reply that was cut off or filtered is an error. The effect is made here and now, not when the future
/// is first polled: calls that are joined have the keys of the order in which they were made.
pub(super) fn ask(
    fx: &Effects,
    request: ModelRequest,
) -> impl Future<Output = Result<ModelReply, StrategyError>> + Send + 'static + use<> {
    let purpose = request.purpose.clone();
    let effect = fx.model(request);
    async move {
        let reply = effect.await?;
        match reply.stop {
            StopReason::EndTurn | StopReason::ToolCalls => Ok(reply),
            StopReason::MaxTokens => Err(StrategyError::Truncated { purpose }),
            StopReason::ContentFilter => Err(StrategyError::Filtered { purpose }),
        }
    }
}

/// Calls the model for one reply of several: one that was cut off or filtered is none, and fails nothing.
pub(super) fn ask_one_of_many(
    fx: &Effects,
    request: ModelRequest,
) -> impl Future<Output = Result<Option<String>, StrategyError>> + Send + 'static + use<> {
    let reply = ask(fx, request);
    async move {
        match reply.await {
            Ok(reply) => Ok(Some(reply.text).filter(|text| !text.trim().is_empty())),
            Err(StrategyError::Truncated { .. } | StrategyError::Filtered { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Calls the model for a reply in the form of the request's schema. One that cannot be read is sent back once, with what is
/// wrong with it; the second time it is an error.
pub(super) async fn ask_in_form<T>(
    fx: &Effects,
    request: ModelRequest,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<T, StrategyError> {
    let form = request.response_schema.as_ref().map_or("reply", |schema| &schema.name).to_owned();
    let mut again = request.clone();
    let ModelReply { text: reply, flaw, .. } = ask(fx, request).await?;
    let reason = match read(&reply) {
        Ok(read) => return Ok(read),
        Err(reason) => reason,
    };
    if flaw.is_some() {
        // It was sent back already, since it does not satisfy the schema.
        return Err(unparseable(&again.purpose, reason));
    }
    let complaint = format!("This {form} cannot be used: {reason}. Reply with the JSON object only.");
    again.messages.extend([Message::assistant(reply), Message::user(complaint)]);
    again.purpose = format!("repair_{form}");
    let purpose = again.purpose.clone();
    read(&ask(fx, again).await?.text).map_err(|reason| unparseable(&purpose, reason))
}

/// The same request at a sampling temperature of 0 to 2.
#[expect(clippy::cast_possible_truncation, reason = "a temperature has few digits")]
pub(super) fn at_temperature(request: ModelRequest, temperature: f64) -> ModelRequest {
    request.with_temperature(temperature as f32)
}

/// The answer; a text without a word is none.
pub(super) fn answer(text: &str, purpose: &str) -> Result<Answer, StrategyError> {
    match text.trim() {
        "" => Err(unparseable(purpose, "it is empty")),
        text => Ok(Answer { text: text.into() }),
    }
}

pub(super) fn unparseable(purpose: &str, reason: impl Into<String>) -> StrategyError {
    StrategyError::Unparseable { purpose: purpose.into(), reason: reason.into() }
}

/// The schema of an object that has all of these properties and no other.
pub(super) fn object<const N: usize>(properties: [(&str, Value); N]) -> Value {
    let required = properties.each_ref().map(|(name, _)| *name).to_vec();
    let properties: Map<String, Value> =
        properties.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// The schema of a text.
pub(super) fn text() -> Value {
    json!({"type": "string"})
}

/// The schema of an integer within bounds.
pub(super) fn integer(min: u32, max: u32) -> Value {
    json!({"type": "integer", "minimum": min, "maximum": max})
}

/// The schema of a list of so many of these.
pub(super) fn list(of: &Value, min: u32, max: u32) -> Value {
    json!({"type": "array", "items": of, "minItems": min, "maxItems": max})
}
