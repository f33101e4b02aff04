//! The vocabulary of a conversation with a language model: what is asked and what comes back.
//!
//! These types are serialised, since the journal of a run is made of them (ADR 0008).

use serde::{Deserialize, Serialize};

use crate::tools::{ToolCall, ToolSpec};

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum Message {
    /// Instructions of the platform and of the agent's author.
    System {
        /// The text.
        content: String,
    },
    /// What the user, or the strategy on the user's behalf, says.
    User {
        /// The text.
        content: String,
    },
    /// What the model said before.
    Assistant {
        /// The text; empty when the model only called tools.
        content: String,
        /// The tools that it asked for.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<ToolCall>,
    },
    /// The result of a tool call. Untrusted: data, never instructions.
    Tool {
        /// The [`ToolCall::id`] that this answers.
        call_id: String,
        /// The tool's output.
        content: String,
    },
}

impl Message {
    /// A system message.
    pub fn system(content: impl Into<String>) -> Self {
        Self::System { content: content.into() }
    }

    /// A user message.
    pub fn user(content: impl Into<String>) -> Self {
        Self::User { content: content.into() }
    }

    /// An assistant message without tool calls.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::Assistant { content: content.into(), tool_calls: Vec::new() }
    }
}

/// A JSON Schema that the model's answer must satisfy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResponseSchema {
    /// A name for the schema, `[a-zA-Z0-9_-]{1,64}`.
    pub name: String,
    /// The schema (draft 2020-12).
    pub schema: serde_json::Value,
}

/// Who the text of a model call is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// Working material: plans, drafts, critiques.
    Thought,
    /// The answer to the task.
    Answer,
}

/// What a strategy asks of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelRequest {
    /// What the call is for, such as `plan` or `critique`; the name of its step.
    pub purpose: String,
    /// Who its text is meant for.
    pub channel: Channel,
    /// The model that the strategy wishes for, as its provider names it; that of the agent's definition when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The conversation.
    pub messages: Vec<Message>,
    /// Tools the model may call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolSpec>,
    /// The schema that the answer must satisfy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_schema: Option<ResponseSchema>,
    /// Sampling temperature, 0 to 2; the provider's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// Upper bound of tokens to generate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u32>,
    /// Whether the provider is asked to keep what it has read, so that calls which begin alike are cheaper. Some keep it
    /// by themselves.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cache_prompt: bool,
}

impl ModelRequest {
    /// A request for working material.
    pub fn thought(purpose: impl Into<String>, messages: Vec<Message>) -> Self {
        Self {
            purpose: purpose.into(),
            channel: Channel::Thought,
            model: None,
            messages,
            tools: Vec::new(),
            response_schema: None,
            temperature: None,
            max_output_tokens: None,
            cache_prompt: false,
        }
    }

    /// A request for the answer to the task.
    pub fn answer(purpose: impl Into<String>, messages: Vec<Message>) -> Self {
        Self { channel: Channel::Answer, ..Self::thought(purpose, messages) }
    }

    /// The same request to a certain model; to that of the agent's definition when there is none.
    #[must_use]
    pub fn to_model(mut self, model: Option<impl Into<String>>) -> Self {
        self.model = model.map(Into::into);
        self
    }

    /// The same request with tools that the model may call.
    #[must_use]
    pub fn with_tools(mut self, tools: Vec<ToolSpec>) -> Self {
        self.tools = tools;
        self
    }

    /// The same request with a schema for the answer.
    #[must_use]
    pub fn with_schema(mut self, name: impl Into<String>, schema: serde_json::Value) -> Self {
        self.response_schema = Some(ResponseSchema { name: name.into(), schema });
        self
    }

    /// The same request, whose prompt the provider is asked to keep.
    #[must_use]
    pub fn cached(mut self) -> Self {
        self.cache_prompt = true;
        self
    }

    /// The request that tells a model what is wrong with its reply, and asks for another one.
    #[must_use]
    pub fn repairing(mut self, reply: &ModelReply, flaw: &str) -> Self {
        self.purpose = format!("repair_{}", self.purpose);
        self.messages.extend([
            Message::assistant(&reply.text),
            Message::user(format!(
                "This is not the JSON that was asked for: {flaw}. Reply with the JSON only, so that it satisfies its schema."
            )),
        ]);
        self
    }

    /// The same request at a sampling temperature.
    #[must_use]
    pub fn with_temperature(mut self, temperature: f32) -> Self {
        self.temperature = Some(temperature);
        self
    }
}

/// Why the model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// It had said what it had to say.
    EndTurn,
    /// It wants tools to be called.
    ToolCalls,
    /// It ran into the token bound: the text is cut.
    MaxTokens,
    /// The provider's filter stopped it.
    ContentFilter,
}

/// What a call consumed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read, also those that the provider had kept or keeps from now on.
    pub input_tokens: u64,
    /// Tokens generated.
    pub output_tokens: u64,
    /// Cost in millionths of a US dollar.
    pub cost_micros: u64,
    /// Of the tokens read, those that the provider had kept from an earlier call.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cache_read_tokens: u64,
    /// Of the tokens read, those that it keeps for later calls.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cache_write_tokens: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Older journals know nothing of caches, and newer ones say nothing where there is none: their hashes stay the same.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(tokens: &u64) -> bool {
    *tokens == 0
}

impl Usage {
    /// So many tokens, which no cache had a part in, at no cost.
    pub const fn of_tokens(input_tokens: u64, output_tokens: u64) -> Self {
        Self { input_tokens, output_tokens, cost_micros: 0, cache_read_tokens: 0, cache_write_tokens: 0 }
    }

    /// The same at this cost.
    #[must_use]
    pub const fn at_cost(self, cost_micros: u64) -> Self {
        Self { cost_micros, ..self }
    }

    /// The same without what caches had to do with it: sums do not tell it.
    #[must_use]
    pub const fn without_cache(self) -> Self {
        Self { cache_read_tokens: 0, cache_write_tokens: 0, ..self }
    }

    /// The sum of two usages; saturates instead of overflowing.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            cost_micros: self.cost_micros.saturating_add(other.cost_micros),
            cache_read_tokens: self.cache_read_tokens.saturating_add(other.cache_read_tokens),
            cache_write_tokens: self.cache_write_tokens.saturating_add(other.cache_write_tokens),
        }
    }

    /// Tokens in both directions.
    pub fn total_tokens(self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }
}

impl std::iter::Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::default(), Self::plus)
    }
}

/// A model's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelReply {
    /// The text; empty when the model only called tools.
    pub text: String,
    /// The tools that it wants called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Why it stopped.
    pub stop: StopReason,
    /// What the call consumed.
    pub usage: Usage,
    /// The model that answered, as its provider names it.
    pub model: String,
    /// What is wrong with the text by the schema that was asked for, in words for the model. None where nothing is, or where
    /// no schema was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flaw: Option<String>,
    /// How it came to be answered, where that was not by the first choice alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routed: Option<Box<Routed>>,
}

impl ModelReply {
    /// A whole text as an answer.
    pub fn text(text: impl Into<String>, usage: Usage, model: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            tool_calls: Vec::new(),
            stop: StopReason::EndTurn,
            usage,
            model: model.into(),
            flaw: None,
            routed: None,
        }
    }
}

/// How a call came to be answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routed {
    /// The model that answered, as the catalogue names it.
    pub model: String,
    /// Its provider, where it is one of the tenant's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The models that were to answer before it, and could not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<String>,
    /// Whether it was asked twice, since the first answer was late. The one that was dropped is counted with the most that it
    /// may have used.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_hedged: bool,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::effects::EffectRequest;

    /// Fingerprints and event hashes are made of these.
    #[test]
    fn what_older_journals_do_not_know_is_not_said_where_it_is_not() {
        let request = serde_json::to_value(ModelRequest::thought("plan", Vec::new())).unwrap();
        assert_eq!(request, json!({"purpose": "plan", "channel": "thought", "messages": []}));
        let usage = json!({"input_tokens": 3, "output_tokens": 2, "cost_micros": 1});
        assert_eq!(serde_json::to_value(Usage::of_tokens(3, 2).at_cost(1)).unwrap(), usage);
        assert_eq!(serde_json::from_value::<Usage>(usage).unwrap(), Usage::of_tokens(3, 2).at_cost(1));
        let failure = crate::effects::EffectFailure::new(crate::effects::FailureClass::Rejected, "no");
        let stored = json!({"class": "rejected", "message": "no"});
        assert_eq!(serde_json::to_value(&failure).unwrap(), stored);
        assert_eq!(serde_json::from_value::<crate::effects::EffectFailure>(stored).unwrap(), failure);
        let kept = Usage { cache_read_tokens: 2, ..Usage::of_tokens(3, 2) };
        assert_eq!(serde_json::to_value(kept).unwrap()["cache_read_tokens"], 2);
    }

    #[test]
    fn a_request_that_wishes_for_no_model_is_hashed_as_before_there_were_wishes() {
        let request = ModelRequest::answer("answer", vec![Message::user("6 × 7?")]);
        let fingerprint =
            |request: &ModelRequest| EffectRequest::Model(request.clone()).fingerprint().to_string();
        assert_eq!(fingerprint(&request), "6f96787ffe354c1a1950e855c23c8375");
        let wishing = request.clone().to_model(Some("small"));
        assert_ne!(fingerprint(&wishing), fingerprint(&request));
        let stored = serde_json::to_string(&wishing).unwrap();
        assert_eq!(serde_json::from_str::<ModelRequest>(&stored).unwrap(), wishing);
    }
}
