//! The JSON of the Messages API, as far as it is used here.

use powerhouse_domain::model::{Message, ModelRequest};
use powerhouse_domain::money::Price;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::schema::accepted;

/// The highest temperature that the API takes.
const MAX_TEMPERATURE: f32 = 1.0;

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u32,
    messages: Vec<Value>,
    stream: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
}

/// The body of a request.
pub(super) fn body(model: &str, request: &ModelRequest) -> Result<Vec<u8>, serde_json::Error> {
    let mut system: Vec<Value> = request.messages.iter().filter_map(instructions).collect();
    let mut messages = turns(&request.messages);
    let mut tools: Vec<Value> = request.tools.iter().map(|tool| {
        json!({"name": tool.name, "description": tool.description, "input_schema": tool.parameters})
    }).collect();
    if request.cache_prompt {
        // Each mark keeps everything before it, in this order: tools, system, messages.
        let last_turn = messages.last_mut().and_then(|turn| turn["content"].as_array_mut()?.last_mut());
        for block in [tools.last_mut(), system.last_mut(), last_turn].into_iter().flatten() {
            block["cache_control"] = json!({"type": "ephemeral"});
        }
    }
    let output_config = request
        .response_schema
        .as_ref()
        .map(|wanted| json!({"format": {"type": "json_schema", "schema": accepted(&wanted.schema)}}));
    serde_json::to_vec(&Body {
        model,
        // The API wants a bound; the runner sets the same one aside when a request has none.
        max_tokens: request.max_output_tokens.unwrap_or(Price::FREE.max_output_tokens),
        messages,
        stream: true,
        system,
        tools,
        output_config,
        temperature: request.temperature.map(|temperature| temperature.min(MAX_TEMPERATURE)),
    })
}

fn instructions(message: &Message) -> Option<Value> {
    match message {
        Message::System { content } => text(content),
        _ => None,
    }
}

/// The API refuses empty texts.
fn text(text: &str) -> Option<Value> {
    (!text.is_empty()).then(|| json!({"type": "text", "text": text}))
}

/// The conversation, in which the two sides alternate. The results of all tools that were called in a turn are the beginning
/// of the next.
fn turns(messages: &[Message]) -> Vec<Value> {
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in messages {
        let (role, blocks) = match message {
            Message::System { .. } => continue,
            Message::User { content } => ("user", text(content).into_iter().collect()),
            Message::Tool { call_id, content } => {
                ("user", vec![json!({"type": "tool_result", "tool_use_id": call_id, "content": content})])
            }
            Message::Assistant { content, tool_calls } => {
                let calls = tool_calls.iter().map(|call| {
                    let input = arguments(&call.arguments);
                    json!({"type": "tool_use", "id": call.id, "name": call.name, "input": input})
                });
                // It refuses texts that end in blanks where they are the last.
                ("assistant", text(content.trim_end()).into_iter().chain(calls).collect())
            }
        };
        match turns.last_mut() {
            _ if blocks.is_empty() => {}
            Some((last, open)) if *last == role => open.extend(blocks),
            _ => turns.push((role, blocks)),
        }
    }
    turns.into_iter().map(|(role, content)| json!({"role": role, "content": content})).collect()
}

/// The API takes an object, also where a model has written something else before.
fn arguments(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(object @ Value::Object(_)) => object,
        _ if text.is_empty() => json!({}),
        _ => json!({"malformed": text}),
    }
}

/// A piece of a reply.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Event {
    MessageStart {
        message: Started,
    },
    ContentBlockStart {
        index: usize,
        content_block: Block,
    },
    ContentBlockDelta {
        index: usize,
        delta: Delta,
    },
    MessageDelta {
        delta: Ended,
        usage: Option<Consumed>,
    },
    MessageStop,
    Error {
        error: Complaint,
    },
    /// `ping`, `content_block_stop`, and what the API may add: it says that others are to be ignored.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
pub(super) struct Started {
    pub(super) model: Option<String>,
    pub(super) usage: Option<Consumed>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Block {
    Text {
        #[serde(default)]
        text: String,
    },
    ToolUse {
        id: String,
        name: String,
        #[serde(default)]
        input: Value,
    },
    /// What the model thinks, and what the server's own tools do.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
pub(super) enum Delta {
    #[serde(rename = "text_delta")]
    Text { text: String },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: String },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
pub(super) struct Ended {
    pub(super) stop_reason: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Complaint {
    #[serde(rename = "type", default)]
    pub(super) kind: String,
}

/// Sums so far. What a cache had a part in is not in `input`.
#[derive(Clone, Copy, Default, Deserialize)]
pub(super) struct Consumed {
    #[serde(rename = "input_tokens")]
    pub(super) input: Option<u64>,
    #[serde(rename = "output_tokens")]
    pub(super) output: Option<u64>,
    #[serde(rename = "cache_creation_input_tokens")]
    pub(super) cache_write: Option<u64>,
    #[serde(rename = "cache_read_input_tokens")]
    pub(super) cache_read: Option<u64>,
}

impl Consumed {
    /// What is known now: later events repeat some of it.
    pub(super) fn then(self, later: Self) -> Self {
        Self {
            input: later.input.or(self.input),
            output: later.output.or(self.output),
            cache_write: later.cache_write.or(self.cache_write),
            cache_read: later.cache_read.or(self.cache_read),
        }
    }
}

#[cfg(test)]
mod tests {
    use powerhouse_domain::tools::{ToolCall, ToolSpec};

    use super::*;

    fn sent(request: &ModelRequest) -> Value {
        serde_json::from_slice(&body("m", request).unwrap()).unwrap()
    }

    fn call(id: &str, arguments: &str) -> ToolCall {
        ToolCall { id: id.into(), name: "add".into(), arguments: arguments.into() }
    }

    fn conversation() -> ModelRequest {
        let calls = vec![call("c1", r#"{"a":1}"#), call("c2", "oops"), call("c3", "")];
        let result = |id: &str| Message::Tool { call_id: id.into(), content: "42".into() };
        let messages = vec![
            Message::system("S"),
            Message::user("U"),
            Message::Assistant { content: String::new(), tool_calls: calls },
            result("c1"),
            result("c2"),
            result("c3"),
            Message::user("V"),
            Message::system(""),
            Message::assistant("A \n"),
            Message::assistant(""),
        ];
        let tool = ToolSpec {
            name: "add".into(),
            description: "Adds".into(),
            parameters: json!({"type": "object"}),
        };
        ModelRequest::answer("answer", messages).with_tools(vec![tool]).with_temperature(1.5)
    }

    #[test]
    fn a_request_has_the_shape_of_the_api() {
        let request = conversation().with_schema("plan", json!({"type": "object", "maxProperties": 2}));
        let used =
            |id: &str, input: &Value| json!({"type": "tool_use", "id": id, "name": "add", "input": input});
        let result = |id: &str| json!({"type": "tool_result", "tool_use_id": id, "content": "42"});
        let text = |text: &str| json!({"type": "text", "text": text});
        let schema = json!({"type": "object", "additionalProperties": false});
        let expected = json!({
            "model": "m",
            "max_tokens": 8192,
            "stream": true,
            "system": [text("S")],
            "messages": [
                {"role": "user", "content": [text("U")]},
                {"role": "assistant", "content": [
                    used("c1", &json!({"a": 1})), used("c2", &json!({"malformed": "oops"})), used("c3", &json!({})),
                ]},
                {"role": "user", "content": [result("c1"), result("c2"), result("c3"), text("V")]},
                {"role": "assistant", "content": [text("A")]},
            ],
            "tools": [{"name": "add", "description": "Adds", "input_schema": {"type": "object"}}],
            "output_config": {"format": {"type": "json_schema", "schema": schema}},
            "temperature": 1.0,
        });
        assert_eq!(sent(&request), expected);
    }

    #[test]
    fn what_is_to_be_kept_is_marked_at_its_ends() {
        let sent = sent(&conversation().cached());
        let mark = json!({"type": "ephemeral"});
        assert_eq!(sent["tools"][0]["cache_control"], mark);
        assert_eq!(sent["system"][0]["cache_control"], mark);
        assert_eq!(sent["messages"][3]["content"][0]["cache_control"], mark);
        assert_eq!(sent.to_string().matches("cache_control").count(), 3, "the API takes four at most");
    }
}
