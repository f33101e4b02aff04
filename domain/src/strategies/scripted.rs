//! A model that replies from a script, and what holds for every kind of agent.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::{Just, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use serde_json::json;

use super::{AgentKind, Answer, Brief, ParameterError, Strategy, StrategyError};
use crate::effects::{
    Divergence, EffectFailure, EffectOutcome, EffectRequest, Execution, Issued, JournalEntry, Progress,
    ToolRequest,
};
use crate::model::{ModelReply, ModelRequest, StopReason, Usage};
use crate::tools::{ToolCall, ToolOutput, ToolSpec};

type Tool = Box<dyn Fn(&ToolRequest) -> ToolOutput>;

/// Feeds replies in the order in which calls are issued. Once they run out, replies are empty or fail.
pub(super) struct Script {
    replies: VecDeque<ModelReply>,
    tool: Tool,
    failure: Option<EffectFailure>,
    /// Whether outcomes of one poll are delivered last first.
    backwards: bool,
}

/// What happened.
pub(super) struct Played {
    pub(super) result: Result<Answer, StrategyError>,
    pub(super) requests: Vec<ModelRequest>,
    pub(super) tools: Vec<ToolRequest>,
    journal: Vec<JournalEntry>,
}

impl Script {
    pub(super) fn new(texts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::of(texts.into_iter().map(|text| reply(text)))
    }

    /// Its tools echo their arguments.
    pub(super) fn of(replies: impl IntoIterator<Item = ModelReply>) -> Self {
        let tool = Box::new(|request: &ToolRequest| ToolOutput::ok(request.arguments.to_string()));
        Self { replies: replies.into_iter().collect(), tool, failure: None, backwards: false }
    }

    pub(super) fn with_tool(mut self, tool: impl Fn(&ToolRequest) -> ToolOutput + 'static) -> Self {
        self.tool = Box::new(tool);
        self
    }

    /// Tools, and model calls past the script, fail.
    pub(super) fn failing(mut self, failure: EffectFailure) -> Self {
        self.failure = Some(failure);
        self
    }

    pub(super) fn play(mut self, strategy: Strategy, brief: Brief) -> Played {
        let (mut requests, mut tools) = (Vec::new(), Vec::new());
        let (result, journal) =
            drive(strategy, brief, Vec::new(), self.backwards, |issued| match &issued.request {
                EffectRequest::Model(request) => {
                    requests.push(request.clone());
                    match (self.replies.pop_front(), &self.failure) {
                        (Some(reply), _) => EffectOutcome::Model(reply),
                        (None, Some(failure)) => EffectOutcome::Failed(failure.clone()),
                        (None, None) => EffectOutcome::Model(reply("")),
                    }
                }
                EffectRequest::Tool(request) => {
                    tools.push(request.clone());
                    match &self.failure {
                        Some(failure) => EffectOutcome::Failed(failure.clone()),
                        None => EffectOutcome::Tool((self.tool)(request)),
                    }
                }
            });
        Played { result: result.expect("no divergence"), requests, tools, journal }
    }
}

impl Played {
    pub(super) fn text(&self) -> &str {
        &self.result.as_ref().expect("an answer").text
    }

    pub(super) fn purposes(&self) -> Vec<&str> {
        self.requests.iter().map(|request| request.purpose.as_str()).collect()
    }

    /// All messages of a model call, as JSON.
    pub(super) fn prompt(&self, call: usize) -> String {
        serde_json::to_string(&self.requests[call].messages).expect("serialises")
    }
}

type Driven = (Result<Result<Answer, StrategyError>, Divergence>, Vec<JournalEntry>);

fn drive(
    strategy: Strategy,
    brief: Brief,
    journal: Vec<JournalEntry>,
    backwards: bool,
    mut perform: impl FnMut(&Issued) -> EffectOutcome,
) -> Driven {
    let mut written = Vec::new();
    let mut execution = Execution::start(journal, |fx| strategy.execute(brief, fx));
    loop {
        match execution.poll() {
            Progress::Waiting(issued) => {
                let mut outcomes: Vec<_> = issued.iter().map(|i| (i.key.clone(), perform(i))).collect();
                if backwards {
                    outcomes.reverse();
                }
                for (key, outcome) in outcomes {
                    written.push(execution.deliver(&key, outcome).expect("it is open"));
                }
            }
            Progress::Done(result) => return (Ok(result), written),
            Progress::Diverged(divergence) => return (Err(divergence), written),
        }
    }
}

pub(super) fn reply(text: impl Into<String>) -> ModelReply {
    ModelReply::text(text, Usage::default(), "scripted")
}

pub(super) fn calling(calls: &[(&str, &str)]) -> ModelReply {
    let call = |(index, (name, arguments)): (usize, &(&str, &str))| ToolCall {
        id: format!("call-{index}"),
        name: (*name).into(),
        arguments: (*arguments).into(),
    };
    let tool_calls = calls.iter().enumerate().map(call).collect();
    ModelReply { tool_calls, stop: StopReason::ToolCalls, ..reply("") }
}

pub(super) fn brief() -> Brief {
    let parameters = json!({"type": "object"});
    let add = ToolSpec { name: "add".into(), description: "Adds.".into(), parameters };
    Brief { task: "What is 6 × 7?".into(), instructions: "Be brief.".into(), tools: vec![add] }
}

fn any_reply() -> impl proptest::strategy::Strategy<Value = ModelReply> {
    prop_oneof![
        Just(reply("42")),
        Just(reply("Answer: 42")),
        Just(reply("Action: add[{\"a\": 1}]")),
        Just(reply(r#"{"steps":["a","b"]}"#)),
        Just(reply(r#"{"status":"blocked","result":"no"}"#)),
        Just(reply(r#"{"accept":false,"issues":["x"]}"#)),
        Just(calling(&[("add", "{}"), ("rm", "{}"), ("add", r#"{"a":2}"#)])),
    ]
}

proptest! {
    #[test]
    fn any_prefix_of_a_journal_resumes_to_the_same_result(
        kind in prop::sample::select(AgentKind::ALL.to_vec()),
        replies in prop::collection::vec(any_reply(), 0..30),
        cut in any::<prop::sample::Index>(),
        backwards in any::<bool>(),
    ) {
        let strategy = Strategy::from_parameters(kind, &json!({})).expect("defaults");
        let whole = Script { backwards, ..Script::of(replies) }.play(strategy, brief());
        prop_assert!(whole.requests.len() <= strategy.max_model_calls() as usize);
        let known: BTreeMap<_, _> =
            whole.journal.iter().map(|entry| (entry.key.clone(), entry.outcome.clone())).collect();
        let mut prefix = whole.journal.clone();
        prefix.truncate(cut.index(whole.journal.len() + 1));
        let kept = prefix.len();
        let (result, written) =
            drive(strategy, brief(), prefix, backwards, |issued| known[&issued.key].clone());
        prop_assert_eq!(result, Ok(whole.result));
        prop_assert_eq!(written.len(), whole.journal.len() - kept);
        let mut other = brief();
        other.task.push_str(" Now.");
        let (result, _) = drive(strategy, other, whole.journal, false, |_| EffectOutcome::Model(reply("")));
        let diverged = matches!(result, Err(Divergence::ChangedRequest { .. }));
        prop_assert!(diverged);
    }
}

#[test]
fn kinds_parse_and_their_defaults_are_those_of_the_schema() {
    for kind in AgentKind::ALL {
        assert_eq!(kind.as_str().parse(), Ok(kind));
        let schema = kind.parameters_schema();
        let properties = schema["properties"].as_object().expect("an object");
        let defaults = properties.iter().map(|(field, schema)| (field.clone(), schema["default"].clone()));
        let strategy = Strategy::from_parameters(kind, &json!({}));
        assert_eq!(Strategy::from_parameters(kind, &defaults.collect()), strategy);
        assert_eq!(strategy.expect("defaults").kind(), kind);
    }
}

#[test]
fn parameters_are_refused_with_a_pointer() {
    let pointer = |value| Strategy::from_parameters(AgentKind::React, &value).map_err(|e| e.pointer());
    for value in [json!(0), json!(513), json!(-1), json!(1.5), json!("8")] {
        assert_eq!(pointer(json!({"max_turns": value})), Err("/max_turns".into()));
    }
    assert_eq!(pointer(json!({"a/b": 1})), Err("/a~1b".into()));
    assert_eq!(pointer(json!([])), Err(String::new()));
    let error = Strategy::from_parameters(AgentKind::React, &json!({"max_turns": 0}));
    assert_eq!(error, Err(ParameterError::OutOfBounds { field: "max_turns", min: 1, max: 512 }));
}
