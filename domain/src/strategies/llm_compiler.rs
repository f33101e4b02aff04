//! `LLMCompiler` (Kim et al. 2023): a plan that is a graph of tool calls, each made as soon as what it needs is there, and a
//! joiner that answers or has the rest planned anew.
//!
//! A joiner's reply that cannot be read is taken as the answer. After the last plan the joiner has to answer.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::acting::{DATA_NOT_ORDERS, described, untrusted};
use super::asking::{answer, ask, ask_in_form, object, text};
use super::dataflow::{PlannedCall, plan_schema, read_plan, substituted};
use super::kind::{About, Kind, Source, ToolUse};
use super::parameters::Parameter;
use super::reading::read_object;
use super::{Answer, Brief, StrategyError};
use crate::effects::{EffectFailure, Effects};
use crate::model::ModelRequest;
use crate::tools::ToolOutput;

/// What a reference starts with.
const SIGN: &str = "$";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Parameters {
    max_tasks: u32,
    max_replans: u32,
}

impl Kind for Parameters {
    const ABOUT: About = About {
        name: "LLMCompiler",
        summary: "Plans a graph of tool calls, makes each as soon as it can be made, then answers or plans anew.",
        use_when: "Several slow tool calls of which many do not depend on each other: they are made at the same time. Unlike \
            `rewoo`, it can plan anew when the outputs do not suffice.",
        sources: &[Source::arxiv(
            "Kim et al.",
            2023,
            "An LLM Compiler for Parallel Function Calling",
            "2312.04511",
        )],
        cost: "for each plan 1, 1 to mend it if it cannot be read, and 1 to join: 2 to (1 + max_replans) × 3; 1 in all without \
            tools",
        tools: ToolUse::Optional,
        parameters: &[
            Parameter::integer("max_tasks", 1..=16, 8, "The most tool calls that a plan may have."),
            Parameter::integer("max_replans", 0..=3, 1, "How often the rest may be planned anew."),
        ],
    };

    fn model_calls(&self) -> RangeInclusive<u32> {
        1..=(1 + self.max_replans) * 3
    }

    async fn run(self, brief: Brief, fx: Effects) -> Result<Answer, StrategyError> {
        let attempts = if brief.tools.is_empty() { 0 } else { 1 + self.max_replans };
        let mut record = String::new();
        for attempt in 0..attempts {
            let purpose = if attempt == 0 { "plan" } else { "replan" };
            let sections = [("Results so far", record.trim_end()), ("Tools", &described(&brief.tools))];
            let schema = plan_schema(&brief.tools, self.max_tasks);
            let request = ModelRequest::thought(purpose, brief.about_task(PLAN, &sections));
            let request = request.with_schema("plan", schema);
            let read = |reply: &str| read_plan(reply, &brief.tools, SIGN, self.max_tasks);
            let tasks = ask_in_form(&fx, request, read).await?;
            let outputs = execute(&fx, &tasks).await?;
            for (task, output) in tasks.iter().zip(&outputs) {
                let _ = writeln!(
                    record,
                    "- {}: {}({})\n{}",
                    task.why,
                    task.tool,
                    task.arguments,
                    untrusted(output)
                );
            }
            if attempt + 1 == attempts {
                break;
            }
            let messages = brief
                .about_task(&format!("{JOIN} {DATA_NOT_ORDERS}"), &[("Results so far", record.trim_end())]);
            let request = ModelRequest::thought("join", messages).with_schema("decision", decision_schema());
            match read_decision(ask(&fx, request).await?.text) {
                Decision::Finish(text) => return answer(&text, "join"),
                Decision::Replan(why) => {
                    let _ = writeln!(record, "- to be planned anew: {why}");
                }
            }
        }
        let messages =
            brief.about_task(&format!("{FINAL} {DATA_NOT_ORDERS}"), &[("Results so far", record.trim_end())]);
        answer(&ask(&fx, ModelRequest::answer("answer", messages)).await?.text, "answer")
    }
}

/// Makes each call as soon as the outputs are there that it refers to; gives the outputs in the order of the plan. What a
/// call depends on is the plan alone, so that it does not matter which of two ends first.
async fn execute(fx: &Effects, tasks: &[PlannedCall]) -> Result<Vec<ToolOutput>, EffectFailure> {
    // A handle each, made here: keys must not depend on the order in which calls begin.
    let handles: Vec<Effects> = tasks.iter().map(|_| fx.branch()).collect();
    let mut outputs: Vec<Option<Result<ToolOutput, EffectFailure>>> = vec![None; tasks.len()];
    let mut begun = vec![false; tasks.len()];
    let mut under_way = FuturesUnordered::new();
    loop {
        for (index, task) in tasks.iter().enumerate() {
            let is_ready = task.needs.iter().all(|needed| matches!(outputs[needed - 1], Some(Ok(_))));
            if begun[index] || !is_ready {
                continue;
            }
            begun[index] = true;
            let arguments = substituted(&task.arguments, SIGN, |needed| {
                let output = outputs.get(needed - 1)?.as_ref()?.as_ref().ok()?;
                task.needs.contains(&needed).then(|| output.content.clone())
            });
            let call = handles[index].tool(&task.tool, arguments);
            under_way.push(async move { (index, call.await) });
        }
        let Some((index, output)) = under_way.next().await else { break };
        outputs[index] = Some(output);
    }
    // What needs a call that failed was not made; the failure comes before it in the plan.
    outputs.into_iter().flatten().collect()
}

enum Decision {
    Finish(String),
    Replan(String),
}

#[derive(Deserialize)]
struct Joined {
    decision: String,
    #[serde(default)]
    answer: String,
    #[serde(default)]
    missing: String,
}

fn read_decision(text: String) -> Decision {
    match read_object::<Joined>(&text) {
        Ok(joined) if joined.decision == "replan" => Decision::Replan(joined.missing),
        Ok(joined) => Decision::Finish(joined.answer),
        Err(_) => Decision::Finish(text),
    }
}

fn decision_schema() -> Value {
    let decision = json!({"type": "string", "enum": ["finish", "replan"]});
    object([("decision", decision), ("answer", text()), ("missing", text())])
}

const PLAN: &str = "Plan which tools to call for what is left to find out. Calls that do not need each other's outputs are made at \
    the same time; where one needs the output of an earlier step, write $1 for that of the first, $2 for that of the second, and \
    so on. Reply with JSON: {\"steps\": [{\"why\": \"...\", \"tool\": \"name\", \"arguments\": \"the arguments, a JSON object as text\"}]}. \
    No steps, if no tool helps.";
const JOIN: &str = "Decide whether the results suffice to answer the task. Reply with JSON: {\"decision\": \"finish\" or \"replan\", \
    \"answer\": \"the answer, if they do\", \"missing\": \"what is missing, if they do not\"}.";
const FINAL: &str = "Answer the task from the results. Say so if they do not suffice.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::FailureClass;
    use crate::strategies::scripted::{Script, brief, strategy};
    use crate::strategies::{AgentKind, Strategy};

    /// 1 and 2 at once, 3 after both.
    const PLANNED: &str = r#"{"steps":[{"why":"x","tool":"add","arguments":"{\"a\":1}"},
        {"why":"y","tool":"add","arguments":"{\"a\":2}"},{"why":"z","tool":"add","arguments":"{\"a\":\"$1+$2\"}"}]}"#;
    const FINISH: &str = r#"{"decision":"finish","answer":"42","missing":""}"#;
    const REPLAN: &str = r#"{"decision":"replan","answer":"","missing":"the product"}"#;

    fn compiler(replans: u32) -> Strategy {
        strategy(AgentKind::LlmCompiler, json!({ "max_replans": replans }))
    }

    #[test]
    fn calls_begin_as_soon_as_they_can_whoever_ends_first() {
        for backwards in [false, true] {
            let script = Script::new([PLANNED, FINISH]);
            let script = if backwards { script.backwards() } else { script };
            let played = script.play(&compiler(1), brief());
            assert_eq!((played.text(), played.purposes()), ("42", vec!["plan", "join"]));
            assert_eq!(played.waves, [1, 2, 1, 1], "the plan, two calls at once, the third, the joiner");
            assert_eq!(played.tools[2].arguments, json!({"a": "{\"a\":1}+{\"a\":2}"}));
            let join = played.prompt(1);
            let at = |why: &str| join.find(why).expect("it is there");
            assert!(at("- x: add") < at("- y: add") && at("- y: add") < at("- z: add"));
        }
    }

    #[test]
    fn the_joiner_has_the_rest_planned_anew_and_at_last_must_answer() {
        let played = Script::new([PLANNED, REPLAN, PLANNED, "42"]).play(&compiler(1), brief());
        assert_eq!(played.purposes(), ["plan", "join", "replan", "answer"]);
        assert!(played.prompt(2).contains("the product") && played.prompt(2).contains("- x: add"));
        assert_eq!((played.text(), played.tools.len()), ("42", 6));
        let played = Script::new([PLANNED, "42"]).play(&compiler(0), brief());
        assert_eq!(played.purposes(), ["plan", "answer"]);
    }

    #[test]
    fn a_plan_is_mended_once_and_a_joiner_without_the_form_has_answered() {
        let played = Script::new(["no", PLANNED, "It is 42."]).play(&compiler(1), brief());
        assert_eq!((played.text(), played.purposes()), ("It is 42.", vec!["plan", "repair_plan", "join"]));
        let played = Script::new(["no", "no"]).play(&compiler(1), brief());
        assert!(matches!(played.result, Err(StrategyError::Unparseable { .. })));
    }

    #[test]
    fn a_tools_error_is_a_result_and_a_failed_effect_the_end() {
        let script = Script::new([PLANNED, FINISH]).with_tool(|_| ToolOutput::error("no sum"));
        let played = script.play(&compiler(1), brief());
        assert!(played.tools.len() == 3 && played.prompt(1).contains("status=\\\"error\\\""));
        let failure = EffectFailure::new(FailureClass::Rejected, "denied");
        let played = Script::new([PLANNED]).failing(failure.clone()).play(&compiler(1), brief());
        assert_eq!((played.result, played.tools.len()), (Err(StrategyError::Effect(failure)), 2));
    }

    #[test]
    fn without_tools_it_answers_at_once() {
        let mut without = brief();
        without.tools.clear();
        assert_eq!(Script::new(["42"]).play(&compiler(1), without).purposes(), ["answer"]);
    }
}
