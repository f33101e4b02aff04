//! The world outside the process, which outlives it: a model whose answers depend on nothing but what it is asked, tools
//! that count what they did, and a clock.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use powerhouse_domain::idempotency::CallKey;
use powerhouse_domain::model::{Message, ModelReply, ModelRequest, StopReason, Usage};
use powerhouse_domain::tools::{ToolCall, ToolOutput, ToolSpec};
use powerhouse_ports::clock::Clock;
use powerhouse_ports::models::{DeltaSink, ModelError, ModelProvider};
use powerhouse_ports::tools::Tool;
use serde_json::{Value, json};

use crate::mortal::Life;

/// How much later it is when a process has died: later than any lease.
const LEASE_IS_OVER: TimeDelta = TimeDelta::minutes(2);

/// A clock that is put forward.
#[derive(Default)]
pub(crate) struct Later(Mutex<TimeDelta>);

impl Later {
    pub(crate) fn skip(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += LEASE_IS_OVER;
    }
}

impl Clock for Later {
    fn now(&self) -> DateTime<Utc> {
        Utc::now() + *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often each call took effect, by tool and arguments.
#[derive(Default)]
pub(crate) struct Downstream(Mutex<BTreeMap<String, u32>>);

impl Downstream {
    fn effect(&self, tool: &str, arguments: &Value) {
        *self.lock().entry(format!("{tool} {arguments}")).or_default() += 1;
    }

    pub(crate) fn count(&self, tool: &str, arguments: &Value) -> u32 {
        self.lock().get(&format!("{tool} {arguments}")).copied().unwrap_or_default()
    }

    pub(crate) fn counts(&self) -> BTreeMap<String, u32> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A tool as a model is offered it.
pub(crate) fn spec(tool: &str) -> ToolSpec {
    ToolSpec { name: tool.into(), description: String::new(), parameters: json!({"type": "object"}) }
}

/// A program that fails.
const BROKEN: &str = "1 / 0";

/// A tool of one process on the world. `pay` must not be repeated, `look` and `run_code` may.
pub(crate) struct Hand {
    pub(crate) name: &'static str,
    /// Whether its calls stay in the process.
    pub(crate) stays_here: bool,
    pub(crate) downstream: Arc<Downstream>,
    pub(crate) life: Arc<Life>,
}

#[async_trait]
impl Tool for Hand {
    fn spec(&self) -> ToolSpec {
        spec(self.name)
    }

    fn is_safe_to_repeat(&self) -> bool {
        self.name != "pay"
    }

    fn leaves_the_process(&self) -> bool {
        !self.stays_here
    }

    async fn call(&self, _: &CallKey, arguments: &Value) -> ToolOutput {
        self.life.change(async { self.downstream.effect(self.name, arguments) }).await;
        let output = output(self.name, arguments);
        if output.contains(BROKEN) { ToolOutput::error(output) } else { ToolOutput::ok(output) }
    }
}

/// What a call gives, whenever it is made.
pub(crate) fn output(tool: &str, arguments: &Value) -> String {
    let said = format!("{tool} did {arguments}");
    if arguments.get("k").is_some() {
        // It is searched for passages.
        return json!({"passages": [{"citation": "doc_x#0", "start": 0, "end": 9, "text": said}]})
            .to_string();
    }
    said
}

/// A model of one process: `turns` times it calls both tools at once, then it answers.
pub(crate) struct Oracle {
    pub(crate) turns: usize,
    pub(crate) life: Arc<Life>,
}

#[async_trait]
impl ModelProvider for Oracle {
    async fn complete(
        &self,
        _: &CallKey,
        model: &str,
        request: &ModelRequest,
        mut deltas: Box<dyn DeltaSink>,
    ) -> Result<ModelReply, ModelError> {
        self.life.moment().await;
        let turn =
            request.messages.iter().filter(|message| matches!(message, Message::Assistant { .. })).count();
        let may_act = !request.tools.is_empty() && turn < self.turns;
        let text = if may_act { String::new() } else { said(request, self.turns) };
        deltas.push(&text).await;
        self.life.moment().await;
        // What is asked for in a form is sent back once.
        let is_flawed = request.response_schema.is_some() && !request.purpose.starts_with("repair_");
        Ok(ModelReply {
            flaw: is_flawed.then(|| "it is no JSON".to_owned()),
            tool_calls: if may_act { calls(turn, request) } else { Vec::new() },
            stop: if may_act { StopReason::ToolCalls } else { StopReason::EndTurn },
            ..ModelReply::text(text, Usage::of_tokens(3, 2), model)
        })
    }
}

/// Calls of both tools; the same for the same agent, task and turn alone.
fn calls(turn: usize, request: &ModelRequest) -> Vec<ToolCall> {
    let mut told = DefaultHasher::new();
    serde_json::to_string(&request.messages[..request.messages.len().min(2)])
        .unwrap_or_default()
        .hash(&mut told);
    let arguments = json!({ "turn": turn, "told": told.finish() }).to_string();
    let call = |tool: &str| ToolCall {
        id: format!("{tool}-{turn}"),
        name: tool.into(),
        arguments: arguments.clone(),
    };
    vec![call("pay"), call("look")]
}

/// An answer that every strategy can read: a plan, a verdict or a text, by what is asked.
fn said(request: &ModelRequest, turns: usize) -> String {
    let wants = |name: &str| request.response_schema.as_ref().is_some_and(|wanted| wanted.name == name);
    let plans_calls = wants("plan")
        && request.response_schema.as_ref().is_some_and(|wanted| {
            wanted.schema["properties"]["steps"]["items"]["properties"].get("tool").is_some()
        });
    match &request.response_schema {
        Some(wanted) if plans_calls => plan_of_calls(&wanted.schema).to_string(),
        Some(wanted) if wanted.schema["properties"].get("subgoal").is_some() => {
            let finished =
                serde_json::to_string(&request.messages).unwrap_or_default().matches("(helper)").count();
            json!({"agent": "helper", "subgoal": format!("goal {finished}")}).to_string()
        }
        None if request.purpose == "answer" && cites(request) => "So it is [1].".to_owned(),
        None if request.purpose == "sample" => "Answer: 42".to_owned(),
        None if is_programming(request) => program(request, turns),
        None if request.purpose == "write" => written(request, turns),
        Some(schema) if schema.schema["properties"].get("steps").is_some() => {
            json!({"steps": ["first", "second"]}).to_string()
        }
        Some(schema) => example(&schema.schema).to_string(),
        None => format!("{} of {} messages", request.purpose, request.messages.len()),
    }
}

/// Whether it is to answer from passages.
fn cites(request: &ModelRequest) -> bool {
    request
        .messages
        .iter()
        .any(|message| matches!(message, Message::User { content } if content.contains("\nPassages:\n[1]")))
}

/// Calls of both tools, and where that is allowed one that is given what the first one gave.
fn plan_of_calls(schema: &Value) -> Value {
    let may_extract = schema["properties"]["steps"]["items"]["properties"].get("action").is_some();
    let step = |tool: &str, arguments: Value| {
        json!({"why": tool, "tool": tool, "arguments": arguments.to_string(), "action": "call", "from": 0, "what": "",
            "form": "text"})
    };
    let mut steps = vec![step("pay", json!({"turn": 0})), step("look", json!({"turn": 0}))];
    if !may_extract {
        steps.push(step("look", json!({"after": "#E1 or $1"})));
    }
    json!({ "steps": steps })
}

/// Whether it may write programs, which are run.
fn is_programming(request: &ModelRequest) -> bool {
    let is_told =
        |message: &Message| matches!(message, Message::System { content } if content.contains("```python"));
    request.purpose != "answer" && request.messages.iter().any(is_told)
}

/// A program as long as there are turns, of which the first fails; then what it is all about.
fn program(request: &ModelRequest, turns: usize) -> String {
    match request.messages.iter().filter(|message| matches!(message, Message::Assistant { .. })).count() {
        0 => format!("```python\n{BROKEN}\n```"),
        turn if turn < turns => format!("```python\nprint({turn})\n```"),
        turn => format!("So it is, after {turn} programs."),
    }
}

/// A text with a call in it, as long as there are turns.
fn written(request: &ModelRequest, turns: usize) -> String {
    let spliced = serde_json::to_string(&request.messages).unwrap_or_default().matches(") → ").count();
    if spliced < turns {
        format!("Part {spliced}: [{}({{\"turn\": {spliced}}})], I guess", ["pay", "look"][spliced % 2])
    } else {
        " and so on.".to_owned()
    }
}

/// The least that a schema allows.
fn example(schema: &Value) -> Value {
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    match schema["type"].as_str() {
        Some("object") => {
            let properties = schema["properties"].as_object();
            let fields = properties.into_iter().flatten().map(|(name, schema)| match name.as_str() {
                "sql" => (name.clone(), json!("SELECT 1")),
                _ => (name.clone(), example(schema)),
            });
            Value::Object(fields.collect())
        }
        Some("array") => json!([example(&schema["items"])]),
        Some("boolean") => json!(true),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(1)),
        _ => json!("text"),
    }
}
