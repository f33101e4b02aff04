//! What holds for every kind of agent.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};
use serde_json::{Map, Value, json};

use super::scripted::{among_agents, answered, brief, calling, drive, reply, strategy};
use super::{AgentKind, Brief, Strategy};
use crate::effects::{Divergence, EffectOutcome, EffectRequest, Issued, SubRunOutput};
use crate::model::{ModelReply, ModelRequest};
use crate::tools::{ToolOutput, ToolSpec};

/// Every kind as it is by default, and as it is when it works in another way.
fn all() -> Vec<Strategy> {
    let others = [
        (AgentKind::ChainOfThought, json!({"mode": "one_call"})),
        (AgentKind::React, json!({"protocol": "text", "confirm_calls": true})),
        (AgentKind::Evaluator, json!({"mode": "pairwise"})),
        (AgentKind::TreeOfThought, json!({"search": "depth"})),
        (AgentKind::Debate, json!({"agents": 3, "style": "peers", "verdict": "vote"})),
        (AgentKind::MixtureOfAgents, json!({"models": ["small", "large"]})),
        (AgentKind::Cascade, json!({"models": ["small", "middle"]})),
        (AgentKind::Cascade, json!({"models": ["small", "middle"], "scorer": "self_report"})),
        (AgentKind::Router, json!({"otherwise": "refuse"})),
        (AgentKind::Swarm, json!({"by": "voting"})),
        (AgentKind::MetaEvolver, json!({"examples": ["a => 1", "b => 2"], "score": "judge"})),
        (AgentKind::Governor, json!({"policies": [], "protected_tools": ["add"]})),
    ];
    let defaults = AgentKind::ALL.iter().map(|kind| (*kind, json!({})));
    defaults.chain(others).map(|(kind, parameters)| strategy(kind, parameters)).collect()
}

/// A task that every kind can work on, with the tools and the agents that some cannot work without.
fn work() -> Brief {
    let tool =
        |name: &str| ToolSpec { name: name.into(), description: "Does it.".into(), parameters: json!({}) };
    let tools = ["sql_schema", "sql_query", "run_code", "knowledge_search", "memory_search", "memory_apply"]
        .map(tool);
    let tools = brief().tools.into_iter().chain(tools).collect();
    let task = "What is 6 × 7?\n6 × 7 => 42\nAnswer A: 42\nAnswer B: 41".into();
    Brief { task, tools, ..among_agents(&["helper", "other"]) }
}

/// A model that says what fits, and now and then something else, as the numbers have it.
struct Fickle(VecDeque<u8>);

impl Fickle {
    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.0.pop_front().unwrap_or_default()) % bound.max(1)
    }

    fn say(&mut self, request: &ModelRequest) -> ModelReply {
        const ODD: [&str; 6] = [
            "",
            "42",
            "{}",
            "Action: add[{\"a\": 1}]",
            "[add({})] is it",
            "```json\n{\"steps\": [\"a\"]}\n```",
        ];
        match (self.below(6), &request.response_schema) {
            (0, _) => reply(ODD[self.below(ODD.len())]),
            (_, Some(schema)) => reply(self.instance("", &schema.schema).to_string()),
            (1 | 2, None) => calling(&[("add", "{}"), ("rm", "{}"), ("add", r#"{"a":2}"#)]),
            (_, None) => reply(format!("So [{}].\nAnswer: {}", self.below(3), self.below(3))),
        }
    }

    fn instance(&mut self, name: &str, schema: &Value) -> Value {
        if let Some(choices) = schema["enum"].as_array() {
            return choices[self.below(choices.len())].clone();
        }
        let bound = |name: &str, default: u64| schema[name].as_u64().unwrap_or(default);
        match schema["type"].as_str() {
            Some("object") => {
                let members = schema["properties"].as_object().expect("it has members");
                let member = |(name, schema): (&String, &Value)| (name.clone(), self.instance(name, schema));
                Value::Object(members.iter().map(member).collect::<Map<_, _>>())
            }
            Some("array") => {
                let (least, most) = (bound("minItems", 0), bound("maxItems", 3));
                let length = least + self.below(3) as u64;
                (0..length.min(most)).map(|_| self.instance(name, &schema["items"])).collect()
            }
            Some("boolean") => json!(self.below(3) > 0),
            Some("integer" | "number") => {
                let (least, most) = (bound("minimum", 0), bound("maximum", 3));
                json!(least + self.below(usize::try_from(most - least + 1).expect("it is small")) as u64)
            }
            _ if name == "arguments" => {
                json!(["{}", r#"{"a":"$1 and $2"}"#, r##"{"a":"#E1"}"##, "none"][self.below(4)])
            }
            _ if name == "sql" => json!(["SELECT 1", "DROP TABLE t"][self.below(2)]),
            _ => json!(format!("text {}", self.below(3))),
        }
    }

    fn perform(&mut self, issued: &Issued) -> EffectOutcome {
        match &issued.request {
            EffectRequest::Model(request) => EffectOutcome::Model(self.say(request)),
            EffectRequest::Tool(request) if self.below(5) == 0 => {
                EffectOutcome::Tool(ToolOutput::error(format!("{} failed", request.name)))
            }
            EffectRequest::Tool(request) if request.name == "knowledge_search" => {
                let passage = |n: usize| json!({"citation": format!("doc_x#{n}"), "start": n, "end": n + 1, "text": "x"});
                let passages: Vec<Value> = (0..self.below(4)).map(passage).collect();
                EffectOutcome::Tool(ToolOutput::ok(json!({ "passages": passages }).to_string()))
            }
            EffectRequest::Tool(request) => {
                EffectOutcome::Tool(ToolOutput::ok(request.arguments.to_string()))
            }
            EffectRequest::Run(request) if self.below(5) == 0 => {
                EffectOutcome::Run(SubRunOutput::refused(format!("{} is away", request.agent)))
            }
            EffectRequest::Run(request) => EffectOutcome::Run(answered(&request.agent)),
        }
    }
}

proptest! {
    #[test]
    fn any_prefix_of_a_journal_resumes_to_the_same_result(
        strategy in prop::sample::select(all()),
        numbers in prop::collection::vec(any::<u8>(), 0..200),
        cut in any::<prop::sample::Index>(),
        backwards in any::<bool>(),
    ) {
        let mut model = Fickle(numbers.into());
        let mut calls = 0;
        let whole = drive(&strategy, work(), Vec::new(), backwards, |issued| {
            calls += u32::from(matches!(issued.request, EffectRequest::Model(_)));
            model.perform(issued)
        });
        let result = whole.result.expect("nothing is journalled yet");
        prop_assert!(calls <= strategy.max_model_calls(), "{calls} calls");
        prop_assert!(result.is_err() || calls >= *strategy.model_calls().start(), "{calls} calls: {result:?}");

        let known: BTreeMap<_, _> =
            whole.written.iter().map(|entry| (entry.key.clone(), entry.outcome.clone())).collect();
        let mut prefix = whole.written.clone();
        prefix.truncate(cut.index(whole.written.len() + 1));
        let kept = prefix.len();
        let resumed =
            drive(&strategy, work(), prefix, !backwards, |issued| known[&issued.key].clone());
        prop_assert_eq!(resumed.result, Ok(result));
        prop_assert_eq!(resumed.written.len(), whole.written.len() - kept);

        let mut other = work();
        other.task.push_str(" Now.");
        let other = drive(&strategy, other, whole.written, false, |_| EffectOutcome::Model(reply("")));
        let has_diverged = matches!(other.result, Err(Divergence::ChangedRequest { .. }));
        // Only a strategy that has not asked its model yet can have said nothing of its task.
        prop_assert!(has_diverged || calls == 0);
    }
}

#[test]
fn the_fickle_model_takes_every_kind_to_an_answer() {
    for strategy in all() {
        let answers = (0..400_u32).filter(|seed| {
            let mixed = |n: u32| {
                seed.wrapping_mul(2_654_435_761).wrapping_add(n.wrapping_mul(40_503)).to_be_bytes()[2]
            };
            let mut model = Fickle((0..200).map(mixed).collect());
            drive(&strategy, work(), Vec::new(), false, |issued| model.perform(issued))
                .result
                .is_ok_and(|r| r.is_ok())
        });
        assert!(answers.count() > 3, "{strategy:?}");
    }
}

#[test]
fn kinds_parse_and_their_defaults_are_those_of_the_schema() {
    for kind in AgentKind::ALL.iter().copied() {
        assert_eq!(kind.as_str().parse(), Ok(kind));
        let schema = kind.about().parameters_schema();
        let properties = schema["properties"].as_object().expect("an object");
        let defaults = properties.iter().map(|(field, schema)| (field.clone(), schema["default"].clone()));
        let strategy = Strategy::from_parameters(kind, &json!({})).expect("defaults");
        assert_eq!(Strategy::from_parameters(kind, &defaults.collect()), Ok(strategy.clone()));
        assert_eq!(strategy.parameters().as_object().map(Map::len), Some(properties.len()), "{kind}");
        assert_eq!(strategy.kind(), kind);
    }
}

#[test]
fn the_catalogue_says_what_a_reader_needs() {
    for kind in AgentKind::ALL {
        let about = kind.about();
        assert!(about.summary.ends_with('.') && about.use_when.ends_with('.'), "{kind}");
        assert!(!about.cost.is_empty() && !about.name.is_empty(), "{kind}");
        assert!(about.sources.iter().all(|source| source.url().starts_with("https://")), "{kind}");
        assert!(!about.sources.is_empty() || kind.as_str() == "direct", "{kind}");
        let schema = about.parameters_schema();
        for (name, parameter) in schema["properties"].as_object().expect("an object") {
            assert!(
                parameter["description"].as_str().is_some_and(|text| text.ends_with('.')),
                "{kind}: {name}"
            );
        }
    }
    let unique: std::collections::BTreeSet<_> = AgentKind::ALL.iter().map(|kind| kind.about().name).collect();
    assert_eq!(unique.len(), AgentKind::ALL.len());
}

#[test]
fn parameters_are_refused_with_a_pointer() {
    let pointer = |value| Strategy::from_parameters(AgentKind::React, &value).map_err(|e| e.pointer());
    for value in [json!(0), json!(513), json!(-1), json!(1.5), json!("8")] {
        assert_eq!(pointer(json!({"max_turns": value})), Err("/max_turns".into()));
    }
    assert_eq!(pointer(json!({"confirm_calls": "yes"})), Err("/confirm_calls".into()));
    assert_eq!(pointer(json!({"a/b": 1})), Err("/a~1b".into()));
    assert_eq!(pointer(json!([])), Err(String::new()));
}
