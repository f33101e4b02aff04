//! The JSON of chat completions, as far as it is used here.

use powerhouse_domain::model::{Message, ModelRequest};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<Value>,
    stream: bool,
    stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

/// The body of a request.
pub(super) fn body(model: &str, request: &ModelRequest) -> Result<Vec<u8>, serde_json::Error> {
    let tools = request.tools.iter().map(|tool| {
        let function =
            json!({"name": tool.name, "description": tool.description, "parameters": tool.parameters});
        json!({"type": "function", "function": function})
    });
    let response_format = request.response_schema.as_ref().map(|wanted| {
        let schema = json!({"name": wanted.name, "schema": wanted.schema, "strict": true});
        json!({"type": "json_schema", "json_schema": schema})
    });
    serde_json::to_vec(&Body {
        model,
        messages: request.messages.iter().map(message).collect(),
        stream: true,
        stream_options: StreamOptions { include_usage: true },
        tools: tools.collect(),
        response_format,
        temperature: request.temperature,
        max_completion_tokens: request.max_output_tokens,
    })
}

fn message(message: &Message) -> Value {
    match message {
        Message::System { content } => json!({"role": "system", "content": content}),
        Message::User { content } => json!({"role": "user", "content": content}),
        Message::Assistant { content, tool_calls } if tool_calls.is_empty() => {
            json!({"role": "assistant", "content": content})
        }
        Message::Assistant { content, tool_calls } => {
            let calls = tool_calls.iter().map(|call| {
                let function = json!({"name": call.name, "arguments": call.arguments});
                json!({"id": call.id, "type": "function", "function": function})
            });
            let content = if content.is_empty() { Value::Null } else { json!(content) };
            json!({"role": "assistant", "content": content, "tool_calls": calls.collect::<Vec<_>>()})
        }
        Message::Tool { call_id, content } => {
            json!({"role": "tool", "tool_call_id": call_id, "content": content})
        }
    }
}

/// A piece of a reply.
#[derive(Deserialize)]
pub(super) struct Chunk {
    pub(super) model: Option<String>,
    #[serde(default)]
    pub(super) choices: Vec<Choice>,
    pub(super) usage: Option<Consumed>,
    pub(super) error: Option<Value>,
}

#[derive(Deserialize)]
pub(super) struct Choice {
    #[serde(default)]
    pub(super) delta: Delta,
    pub(super) finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
pub(super) struct Delta {
    pub(super) content: Option<String>,
    pub(super) refusal: Option<String>,
    pub(super) tool_calls: Option<Vec<CallDelta>>,
}

#[derive(Deserialize)]
pub(super) struct CallDelta {
    pub(super) index: Option<usize>,
    pub(super) id: Option<String>,
    pub(super) function: Option<FunctionDelta>,
}

#[derive(Deserialize)]
pub(super) struct FunctionDelta {
    pub(super) name: Option<String>,
    pub(super) arguments: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
pub(super) struct Consumed {
    #[serde(default)]
    pub(super) prompt_tokens: u64,
    #[serde(default)]
    pub(super) completion_tokens: u64,
    pub(super) prompt_tokens_details: Option<PromptTokens>,
}

#[derive(Clone, Copy, Deserialize)]
pub(super) struct PromptTokens {
    pub(super) cached_tokens: Option<u64>,
}

#[cfg(test)]
mod tests {
    use powerhouse_domain::tools::{ToolCall, ToolSpec};

    use super::*;

    #[test]
    fn a_request_has_the_shape_of_the_api() {
        let call = ToolCall { id: "c1".into(), name: "add".into(), arguments: "{}".into() };
        let messages = vec![
            Message::system("S"),
            Message::user("U"),
            Message::Assistant { content: String::new(), tool_calls: vec![call] },
            Message::Tool { call_id: "c1".into(), content: "42".into() },
            Message::assistant("A"),
        ];
        let tool = ToolSpec {
            name: "add".into(),
            description: "Adds".into(),
            parameters: json!({"type": "object"}),
        };
        let request = ModelRequest::answer("answer", messages)
            .with_tools(vec![tool])
            .with_schema("plan", json!({"type": "object"}))
            .with_temperature(0.5);
        let body: Value = serde_json::from_slice(&body("m", &request).unwrap()).unwrap();
        let call = json!({"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}});
        let function = json!({"name": "add", "description": "Adds", "parameters": {"type": "object"}});
        let schema = json!({"name": "plan", "schema": {"type": "object"}, "strict": true});
        let expected = json!({
            "model": "m",
            "messages": [
                {"role": "system", "content": "S"},
                {"role": "user", "content": "U"},
                {"role": "assistant", "content": null, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c1", "content": "42"},
                {"role": "assistant", "content": "A"},
            ],
            "stream": true,
            "stream_options": {"include_usage": true},
            "tools": [{"type": "function", "function": function}],
            "response_format": {"type": "json_schema", "json_schema": schema},
            "temperature": 0.5,
        });
        assert_eq!(body, expected);
    }
}
