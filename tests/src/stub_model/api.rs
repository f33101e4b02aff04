//! How models' APIs write their replies.

use serde_json::{Value, json};

use super::Answer;

/// An API that the stub serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// OpenAI's chat completions.
    ChatCompletions,
    /// Anthropic's messages.
    Messages,
}

impl Api {
    /// Where calls go, below the API's base.
    pub fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/chat/completions",
            Self::Messages => "/messages",
        }
    }

    /// The header that shows a key, and what it says.
    pub fn key_header(self, key: &str) -> (&'static str, String) {
        match self {
            Self::ChatCompletions => ("authorization", format!("Bearer {key}")),
            Self::Messages => ("x-api-key", key.to_owned()),
        }
    }

    /// A reply in these pieces of text, with this usage.
    pub fn text<'a>(
        self,
        pieces: impl IntoIterator<Item = &'a str>,
        input_tokens: u64,
        output_tokens: u64,
    ) -> Answer {
        let answer =
            pieces.into_iter().fold(self.begin(input_tokens), |answer, piece| self.say(answer, piece));
        let reason = if self == Self::Messages { "end_turn" } else { "stop" };
        self.finish(answer, reason, input_tokens, output_tokens)
    }

    /// A reply that calls tools, the arguments of each in two pieces.
    pub fn calls(self, calls: &[(&str, Value)], input_tokens: u64, output_tokens: u64) -> Answer {
        let mut answer = self.begin(input_tokens);
        for (index, (name, arguments)) in calls.iter().enumerate() {
            let arguments = arguments.to_string();
            let (first, second) = arguments.split_at(arguments.len() / 2);
            let id = format!("call_{index}");
            answer = match self {
                Self::ChatCompletions => {
                    let start =
                        json!({"index": index, "id": id, "function": {"name": name, "arguments": first}});
                    let rest = json!({"index": index, "function": {"arguments": second}});
                    answer
                        .event(&json!({"choices": [{"delta": {"tool_calls": [start]}}]}))
                        .event(&json!({"choices": [{"delta": {"tool_calls": [rest]}}]}))
                }
                Self::Messages => {
                    let block = json!({"type": "tool_use", "id": id, "name": name, "input": {}});
                    let delta = |json: &str| {
                        let delta = json!({"type": "input_json_delta", "partial_json": json});
                        json!({"type": "content_block_delta", "index": index, "delta": delta})
                    };
                    answer
                        .event(
                            &json!({"type": "content_block_start", "index": index, "content_block": block}),
                        )
                        .event(&delta(first))
                        .event(&delta(second))
                        .event(&json!({"type": "content_block_stop", "index": index}))
                }
            };
        }
        let reason = if self == Self::Messages { "tool_use" } else { "tool_calls" };
        self.finish(answer, reason, input_tokens, output_tokens)
    }

    /// A stream that has begun with this text, and goes on.
    pub fn opening(self, text: &str) -> Answer {
        self.say(self.begin(1), text)
    }

    /// An event that adds this text.
    pub fn piece(self, text: &str) -> Value {
        match self {
            Self::ChatCompletions => json!({"model": "stub-1", "choices": [{"delta": {"content": text}}]}),
            Self::Messages => {
                let delta = json!({"type": "text_delta", "text": text});
                json!({"type": "content_block_delta", "index": 0, "delta": delta})
            }
        }
    }

    fn begin(self, input_tokens: u64) -> Answer {
        match self {
            Self::ChatCompletions => Answer::stream(),
            Self::Messages => {
                let usage = json!({"input_tokens": input_tokens, "output_tokens": 1});
                let message = json!({"model": "stub-1", "usage": usage});
                Answer::stream().event(&json!({"type": "message_start", "message": message}))
            }
        }
    }

    fn say(self, answer: Answer, text: &str) -> Answer {
        answer.event(&self.piece(text))
    }

    fn finish(self, answer: Answer, reason: &str, input_tokens: u64, output_tokens: u64) -> Answer {
        match self {
            Self::ChatCompletions => {
                let usage = json!({"prompt_tokens": input_tokens, "completion_tokens": output_tokens});
                answer
                    .event(&json!({"choices": [{"delta": {}, "finish_reason": reason}]}))
                    .event(&json!({"choices": [], "usage": usage}))
                    .raw(b"data: [DONE]\n\n")
            }
            Self::Messages => {
                let (delta, usage) =
                    (json!({"stop_reason": reason}), json!({"output_tokens": output_tokens}));
                answer
                    .event(&json!({"type": "message_delta", "delta": delta, "usage": usage}))
                    .event(&json!({"type": "message_stop"}))
            }
        }
    }
}
