//! Puts a reply together from its pieces.

use powerhouse_domain::model::{ModelReply, ModelRequest, StopReason, Usage};
use powerhouse_domain::tools::ToolCall;
use reqwest::StatusCode;
use serde_json::Value;

use super::wire::{CallDelta, Chunk, Consumed};
use crate::http::{Assembly, Failure, Taken, is_passing};
use crate::tokens;

/// The most tool calls that a reply may have.
const MAX_CALLS: usize = 128;

/// What has come so far.
#[derive(Default)]
pub(crate) struct Assembled {
    model: Option<String>,
    text: String,
    calls: Vec<ToolCall>,
    stop: Option<StopReason>,
    usage: Option<Consumed>,
}

impl Assembled {
    /// A call comes in pieces too; servers that leave the index out send it whole.
    fn take_call(&mut self, delta: CallDelta) -> Result<(), Failure> {
        let index = delta.index.unwrap_or(self.calls.len());
        if index > self.calls.len() || index >= MAX_CALLS {
            return Err(Failure::malformed("the reply's tool calls are out of order, or too many"));
        }
        if index == self.calls.len() {
            let id = format!("call_{index}");
            self.calls.push(ToolCall { id, name: String::new(), arguments: String::new() });
        }
        let call = &mut self.calls[index];
        if let Some(id) = delta.id.filter(|id| !id.is_empty()) {
            call.id = id;
        }
        if let Some(function) = delta.function {
            call.name.push_str(&function.name.unwrap_or_default());
            call.arguments.push_str(&function.arguments.unwrap_or_default());
        }
        Ok(())
    }
}

impl Assembly for Assembled {
    fn take(&mut self, data: &str) -> Result<Taken, Failure> {
        if data == "[DONE]" {
            return Ok(Taken::End);
        }
        let chunk: Chunk = serde_json::from_str(data).map_err(Failure::malformed)?;
        // A reply whose end was told is whole, whatever is said of it then.
        if let Some(error) = chunk.error.filter(|_| self.stop.is_none()) {
            return Err(Failure::in_stream(is_lasting(&error)));
        }
        self.model = self.model.take().or(chunk.model);
        self.usage = chunk.usage.or(self.usage);
        // One choice is asked for.
        let Some(choice) = chunk.choices.into_iter().next() else { return Ok(Taken::Silent) };
        match choice.finish_reason.as_deref() {
            Some("error") => return Err(Failure::in_stream(false)),
            Some(reason) => self.stop = Some(stop_reason(reason)),
            None => {}
        }
        if choice.delta.refusal.is_some_and(|refusal| !refusal.is_empty()) {
            self.stop = Some(StopReason::ContentFilter);
        }
        for call in choice.delta.tool_calls.into_iter().flatten() {
            self.take_call(call)?;
        }
        let Some(text) = choice.delta.content.filter(|text| !text.is_empty()) else {
            return Ok(Taken::Silent);
        };
        self.text.push_str(&text);
        Ok(Taken::Text(text))
    }

    fn has_text(&self) -> bool {
        !self.text.is_empty()
    }

    fn into_reply(self, model: &str, request: &ModelRequest) -> Result<ModelReply, Failure> {
        let stop = match self.stop {
            None => return Err(Failure::passing("the stream broke off")),
            // Some servers end a turn with tool calls as if it were an answer.
            Some(StopReason::EndTurn) if !self.calls.is_empty() => StopReason::ToolCalls,
            Some(stop) => stop,
        };
        let usage = match self.usage {
            Some(Consumed { prompt_tokens, completion_tokens, prompt_tokens_details }) => Usage {
                cache_read_tokens: prompt_tokens_details.and_then(|told| told.cached_tokens).unwrap_or(0),
                ..Usage::of_tokens(prompt_tokens, completion_tokens)
            },
            None => tokens::estimate(request, &self.text),
        };
        let model = self.model.unwrap_or_else(|| model.to_owned());
        Ok(ModelReply { tool_calls: self.calls, stop, ..ModelReply::text(self.text, usage, model) })
    }
}

/// Whether an error in the middle of a stream is the request's own, and will be the same again.
fn is_lasting(error: &Value) -> bool {
    let status = [&error["status_code"], &error["code"]].into_iter().find_map(Value::as_u64);
    let status = status.and_then(|status| StatusCode::from_u16(u16::try_from(status).ok()?).ok());
    status.map_or_else(|| error["type"] == "invalid_request_error", |status| !is_passing(status))
}

fn stop_reason(text: &str) -> StopReason {
    match text {
        "tool_calls" | "function_call" => StopReason::ToolCalls,
        "length" => StopReason::MaxTokens,
        "content_filter" => StopReason::ContentFilter,
        _ => StopReason::EndTurn,
    }
}

#[cfg(test)]
mod tests {
    use powerhouse_domain::model::Message;
    use serde_json::json;

    use super::*;

    fn assembled(chunks: &[serde_json::Value]) -> Result<ModelReply, Failure> {
        let mut assembly = Assembled::default();
        for chunk in chunks {
            assembly.take(&chunk.to_string())?;
        }
        assembly.into_reply("m", &ModelRequest::answer("answer", vec![Message::user("12345678")]))
    }

    fn calls(calls: &serde_json::Value) -> serde_json::Value {
        json!({"choices": [{"delta": {"tool_calls": calls}}]})
    }

    #[test]
    fn text_calls_and_usage_are_put_together() {
        let reply = assembled(&[
            json!({"model": "m-1", "choices": [{"delta": {"role": "assistant", "content": ""}}]}),
            json!({"choices": [{"delta": {"content": "4"}}], "usage": null}),
            json!({"choices": [{"delta": {"content": "2"}}]}),
            calls(&json!([{"index": 0, "id": "a", "function": {"name": "add", "arguments": "{\"x\""}}])),
            calls(&json!([{"index": 0, "function": {"arguments": ":1}"}}, {"index": 1, "function": {"name": "now"}}])),
            json!({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}),
            json!({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 5}}}),
        ])
        .unwrap();
        assert_eq!(
            (reply.text.as_str(), reply.model.as_str(), reply.stop),
            ("42", "m-1", StopReason::ToolCalls)
        );
        assert_eq!(reply.usage, Usage { cache_read_tokens: 5, ..Usage::of_tokens(7, 3) });
        let add = ToolCall { id: "a".into(), name: "add".into(), arguments: "{\"x\":1}".into() };
        let now = ToolCall { id: "call_1".into(), name: "now".into(), arguments: String::new() };
        assert_eq!(reply.tool_calls, [add, now]);
    }

    #[test]
    fn usage_is_estimated_and_the_name_taken_from_the_request_when_missing() {
        let reply =
            assembled(&[json!({"choices": [{"delta": {"content": "four"}, "finish_reason": "stop"}]})])
                .unwrap();
        assert_eq!((reply.usage.input_tokens, reply.usage.output_tokens), (2, 1));
        assert_eq!(reply.model, "m");
    }

    #[test]
    fn every_end_is_told_apart() {
        let end = |reason: &str| {
            assembled(&[json!({"choices": [{"delta": {}, "finish_reason": reason}]})]).unwrap().stop
        };
        assert_eq!(end("stop"), StopReason::EndTurn);
        assert_eq!(end("length"), StopReason::MaxTokens);
        assert_eq!(end("content_filter"), StopReason::ContentFilter);
        let refusal = json!({"choices": [{"delta": {"refusal": "No."}}]});
        assert_eq!(assembled(&[refusal]).unwrap().stop, StopReason::ContentFilter);
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        assert!(matches!(Assembled::default().take("{"), Err(Failure::Malformed(_))));
        let mut assembly = Assembled::default();
        let mut taken = |said: &Value| assembly.take(&said.to_string());
        for passing in [
            json!({"error": {"message": "overloaded"}}),
            json!({"error": "overloaded"}),
            json!({"error": {"code": 429, "message": "slow"}}),
            json!({"error": {"code": 502, "type": "invalid_request_error"}}),
            json!({"error": {"code": "server_error", "type": "server_error"}}),
            json!({"choices": [{"delta": {}, "finish_reason": "error"}]}),
        ] {
            assert!(matches!(taken(&passing), Err(Failure::Passing { .. })), "{passing}");
        }
        for lasting in [
            json!({"error": {"code": 400, "message": "no"}}),
            json!({"error": {"code": "tool_use_failed", "status_code": 400}}),
            json!({"error": {"code": "invalid", "type": "invalid_request_error"}}),
        ] {
            assert!(matches!(taken(&lasting), Err(Failure::Rejected(_))), "{lasting}");
        }
        assert!(!assembly.has_text());
        let gap = calls(&json!([{"index": 3, "function": {"name": "a"}}]));
        assert!(matches!(assembled(&[gap]), Err(Failure::Malformed(_))));
        let cut = json!({"choices": [{"delta": {"content": "4"}}]});
        assembly.take(&cut.to_string()).unwrap();
        assert!(assembly.has_text());
        assert!(matches!(assembled(&[cut]), Err(Failure::Passing { .. })));
    }
}
