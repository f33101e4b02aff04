//! Puts a reply together from its pieces.

use std::collections::BTreeMap;

use powerhouse_domain::model::{ModelReply, ModelRequest, StopReason, Usage};
use powerhouse_domain::tools::ToolCall;
use serde_json::Value;

use super::wire::{Block, Consumed, Delta, Event, Started};
use crate::http::{Assembly, Failure, Taken};
use crate::tokens;

/// The most tool calls that a reply may have.
const MAX_CALLS: usize = 128;
/// Errors in the middle of a stream that will be the same again.
const LASTING: [&str; 5] = [
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "not_found_error",
    "request_too_large",
];

/// What has come so far.
#[derive(Default)]
pub(crate) struct Assembled {
    model: Option<String>,
    text: String,
    /// By the block that each is.
    calls: BTreeMap<usize, ToolCall>,
    stop: Option<StopReason>,
    usage: Option<Consumed>,
}

impl Assembled {
    fn begin(&mut self, index: usize, block: Block) -> Result<Taken, Failure> {
        match block {
            Block::Text { text } => Ok(self.say(text)),
            Block::ToolUse { id, name, input } => {
                if self.calls.len() >= MAX_CALLS {
                    return Err(Failure::malformed("the reply has too many tool calls"));
                }
                // Some servers send the arguments at once, and not in pieces.
                let arguments = match input {
                    Value::Object(fields) if !fields.is_empty() => Value::Object(fields).to_string(),
                    _ => String::new(),
                };
                self.calls.insert(index, ToolCall { id, name, arguments });
                Ok(Taken::Silent)
            }
            Block::Other => Ok(Taken::Silent),
        }
    }

    fn add(&mut self, index: usize, delta: Delta) -> Taken {
        match delta {
            Delta::Text { text } => return self.say(text),
            Delta::InputJson { partial_json } => {
                // Those of the server's own tools are none of ours.
                if let Some(call) = self.calls.get_mut(&index) {
                    call.arguments.push_str(&partial_json);
                }
            }
            Delta::Other => {}
        }
        Taken::Silent
    }

    fn say(&mut self, text: String) -> Taken {
        if text.is_empty() {
            return Taken::Silent;
        }
        self.text.push_str(&text);
        Taken::Text(text)
    }

    fn count(&mut self, consumed: Option<Consumed>) {
        if let Some(consumed) = consumed {
            self.usage = Some(self.usage.unwrap_or_default().then(consumed));
        }
    }
}

impl Assembly for Assembled {
    fn take(&mut self, data: &str) -> Result<Taken, Failure> {
        match serde_json::from_str(data).map_err(Failure::malformed)? {
            Event::MessageStart { message: Started { model, usage } } => {
                self.model = model;
                self.count(usage);
            }
            Event::ContentBlockStart { index, content_block } => return self.begin(index, content_block),
            Event::ContentBlockDelta { index, delta } => return Ok(self.add(index, delta)),
            Event::MessageDelta { delta, usage } => {
                self.stop = delta.stop_reason.as_deref().map(stop_reason).or(self.stop);
                self.count(usage);
            }
            Event::MessageStop => return Ok(Taken::End),
            Event::Error { error } => {
                return Err(Failure::in_stream(LASTING.contains(&error.kind.as_str())));
            }
            Event::Other => {}
        }
        Ok(Taken::Silent)
    }

    fn has_text(&self) -> bool {
        !self.text.is_empty()
    }

    fn into_reply(self, model: &str, request: &ModelRequest) -> Result<ModelReply, Failure> {
        let Some(stop) = self.stop else { return Err(Failure::passing("the stream broke off")) };
        let usage = self.usage.map_or_else(|| tokens::estimate(request, &self.text), usage);
        let mut tool_calls: Vec<_> = self.calls.into_values().collect();
        for call in tool_calls.iter_mut().filter(|call| call.arguments.is_empty()) {
            call.arguments.push_str("{}");
        }
        let model = self.model.unwrap_or_else(|| model.to_owned());
        Ok(ModelReply { tool_calls, stop, ..ModelReply::text(self.text, usage, model) })
    }
}

fn usage(consumed: Consumed) -> Usage {
    let read = consumed.cache_read.unwrap_or(0);
    let written = consumed.cache_write.unwrap_or(0);
    let input = consumed.input.unwrap_or(0).saturating_add(read).saturating_add(written);
    Usage {
        cache_read_tokens: read,
        cache_write_tokens: written,
        ..Usage::of_tokens(input, consumed.output.unwrap_or(0))
    }
}

fn stop_reason(text: &str) -> StopReason {
    match text {
        "tool_use" => StopReason::ToolCalls,
        "max_tokens" | "model_context_window_exceeded" => StopReason::MaxTokens,
        "refusal" => StopReason::ContentFilter,
        _ => StopReason::EndTurn,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn assembled(events: &[Value]) -> Result<ModelReply, Failure> {
        let mut assembly = Assembled::default();
        for event in events {
            assembly.take(&event.to_string())?;
        }
        assembly.into_reply("m", &ModelRequest::answer("answer", Vec::new()))
    }

    fn ended(reason: &str) -> Value {
        json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 3}})
    }

    #[test]
    fn every_end_is_told_apart() {
        for (reason, stop) in [
            ("end_turn", StopReason::EndTurn),
            ("stop_sequence", StopReason::EndTurn),
            ("pause_turn", StopReason::EndTurn),
            ("tool_use", StopReason::ToolCalls),
            ("max_tokens", StopReason::MaxTokens),
            ("model_context_window_exceeded", StopReason::MaxTokens),
            ("refusal", StopReason::ContentFilter),
        ] {
            assert_eq!(assembled(&[ended(reason)]).unwrap().stop, stop, "{reason}");
        }
        assert!(matches!(assembled(&[]), Err(Failure::Passing { .. })), "it broke off");
    }

    #[test]
    fn what_a_cache_had_a_part_in_is_read_too() {
        let start = json!({"input_tokens": 5, "output_tokens": 1, "cache_read_input_tokens": 70, "cache_creation_input_tokens": 20});
        let reply =
            assembled(&[json!({"type": "message_start", "message": {"usage": start}}), ended("end_turn")]);
        let expected = Usage { cache_read_tokens: 70, cache_write_tokens: 20, ..Usage::of_tokens(95, 3) };
        assert_eq!(reply.unwrap().usage, expected);
    }

    #[test]
    fn errors_in_the_stream_pass_or_last() {
        let error = |kind: &str| json!({"type": "error", "error": {"type": kind, "message": "sk-canary"}});
        for kind in ["overloaded_error", "rate_limit_error", "api_error", "timeout_error", "new_error"] {
            assert!(matches!(assembled(&[error(kind)]), Err(Failure::Passing { .. })), "{kind}");
        }
        for kind in LASTING {
            let Err(failure @ Failure::Rejected(_)) = assembled(&[error(kind)]) else {
                panic!("{kind} passes")
            };
            assert!(!failure.to_string().contains("canary"));
        }
    }

    #[test]
    fn what_is_new_is_passed_over() {
        let reply = assembled(&[
            json!({"type": "ping"}),
            json!({"type": "weather", "is": "fine"}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}}),
            json!({"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "a", "name": "now", "input": {}}}),
            json!({"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "b", "name": "add", "input": {"x": 1}}}),
            ended("tool_use"),
        ])
        .unwrap();
        let calls: Vec<_> =
            reply.tool_calls.iter().map(|call| (call.id.as_str(), call.arguments.as_str())).collect();
        assert_eq!((reply.text.as_str(), calls), ("", vec![("a", "{}"), ("b", r#"{"x":1}"#)]));
    }
}
