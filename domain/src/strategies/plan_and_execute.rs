//! Plan and execute, after Plan-and-Solve (Wang et al. 2023) and the `LangChain` agent of that name: plan, one call
//! per step, a new plan for the rest when a step is blocked, and a final answer from the steps' results.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::kind::Bounded;
use super::{Answer, Brief, ParameterError, StrategyError, answer, ask, parse_object, unparseable};
use crate::effects::Effects;
use crate::model::{Message, ModelReply, ModelRequest};

pub(super) const MAX_STEPS: Bounded = Bounded { field: "max_steps", min: 1, max: 12, default: 6 };
pub(super) const MAX_REPLANS: Bounded = Bounded { field: "max_replans", min: 0, max: 3, default: 1 };

/// The parameters of the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    max_steps: u32,
    max_replans: u32,
}

impl Parameters {
    /// Parameters with 1 to 12 steps a plan and 0 to 3 replans.
    pub fn new(max_steps: u32, max_replans: u32) -> Result<Self, ParameterError> {
        Ok(Self { max_steps: MAX_STEPS.check(max_steps)?, max_replans: MAX_REPLANS.check(max_replans)? })
    }

    /// The most steps that a plan may have.
    pub fn max_steps(self) -> u32 {
        self.max_steps
    }

    /// How often the rest may be planned anew.
    pub fn max_replans(self) -> u32 {
        self.max_replans
    }

    pub(super) fn to_json(self) -> Value {
        serde_json::json!({ "max_steps": self.max_steps, "max_replans": self.max_replans })
    }

    pub(super) fn from_fields(fields: &Map<String, Value>) -> Result<Self, ParameterError> {
        Self::new(MAX_STEPS.read(fields)?, MAX_REPLANS.read(fields)?)
    }

    /// Each plan may need a repair; then its steps; at the end the answer.
    pub(super) fn max_model_calls(self) -> u32 {
        (1 + self.max_replans) * (2 + self.max_steps) + 1
    }
}

impl Default for Parameters {
    fn default() -> Self {
        Self { max_steps: MAX_STEPS.default, max_replans: MAX_REPLANS.default }
    }
}

#[derive(Deserialize)]
struct Plan {
    steps: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Done,
    Blocked,
}

#[derive(Deserialize)]
struct StepReport {
    status: Status,
    result: Value,
}

pub(super) async fn run(brief: Brief, parameters: Parameters, fx: Effects) -> Result<Answer, StrategyError> {
    let mut record = String::new();
    'plans: for attempt in 0..=parameters.max_replans {
        let purpose = if attempt == 0 { "plan" } else { "replan" };
        for step in plan(&brief, parameters, &fx, purpose, &record).await? {
            let messages = brief.conversation(STEP, step_prompt(&brief.task, &record, &step));
            let request = ModelRequest::thought("step", messages).with_schema("step", step_schema());
            let (status, result) = read_report(ask(&fx, request).await?.text);
            let label = if status == Status::Done { "done" } else { "blocked" };
            let _ = write!(record, "\n- {step} [{label}]\n{result}");
            if status == Status::Blocked {
                continue 'plans;
            }
        }
        break;
    }
    let messages = brief.conversation(FINAL, context(&brief.task, &record));
    answer(&ask(&fx, ModelRequest::answer("answer", messages)).await?.text, "answer")
}

async fn plan(
    brief: &Brief,
    parameters: Parameters,
    fx: &Effects,
    purpose: &str,
    record: &str,
) -> Result<Vec<String>, StrategyError> {
    let max = parameters.max_steps;
    let mut messages = brief.conversation(&plan_guidance(max), context(&brief.task, record));
    let schema = plan_schema(max);
    let request = ModelRequest::thought(purpose, messages.clone()).with_schema("plan", schema.clone());
    let ModelReply { text: reply, flaw, .. } = ask(fx, request).await?;
    let reason = match read_plan(&reply, max) {
        Ok(steps) => return Ok(steps),
        Err(reason) => reason,
    };
    if flaw.is_some() {
        // It was told so once.
        return Err(unparseable(purpose, reason));
    }
    messages.extend([Message::assistant(reply), Message::user(repair_prompt(&reason))]);
    let request = ModelRequest::thought("repair_plan", messages).with_schema("plan", schema);
    read_plan(&ask(fx, request).await?.text, max).map_err(|reason| unparseable("repair_plan", reason))
}

fn read_plan(text: &str, max: u32) -> Result<Vec<String>, String> {
    let Plan { steps } = parse_object(text)?;
    match u32::try_from(steps.len()) {
        Ok(0) => Err("the plan has no steps".into()),
        Ok(count) if count <= max => Ok(steps),
        _ => Err(format!("the plan has more than {max} steps")),
    }
}

/// A report without the form is a step that is done, with the text as its result.
fn read_report(text: String) -> (Status, String) {
    match parse_object(&text) {
        Ok(StepReport { status, result: Value::String(result) }) => (status, result),
        Ok(StepReport { status, result }) => (status, result.to_string()),
        Err(_) => (Status::Done, text),
    }
}

fn plan_schema(max: u32) -> Value {
    json!({
        "type": "object",
        "properties": {"steps": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": max}},
        "required": ["steps"],
        "additionalProperties": false,
    })
}

fn step_schema() -> Value {
    json!({
        "type": "object",
        "properties": {"status": {"type": "string", "enum": ["done", "blocked"]}, "result": {"type": "string"}},
        "required": ["status", "result"],
        "additionalProperties": false,
    })
}

const STEP: &str = "Do only the current step. Reply with JSON: {\"status\": \"done\" or \"blocked\", \
    \"result\": \"what came of it, or why it cannot be done\"}.";
const FINAL: &str = "Answer the task from the results of the steps. Say so if a blocked step leaves a gap.";

fn plan_guidance(max: u32) -> String {
    format!(
        "First understand the task, then devise a plan for what is left to do, in at most {max} steps. \
         Reply with JSON: {{\"steps\": [\"...\"]}}."
    )
}

fn repair_prompt(reason: &str) -> String {
    format!("This plan cannot be used: {reason}. Reply with the JSON object only.")
}

fn context(task: &str, record: &str) -> String {
    let record = if record.is_empty() { "\nnone" } else { record };
    format!("Task:\n{task}\n\nSteps so far:{record}")
}

fn step_prompt(task: &str, record: &str, step: &str) -> String {
    format!("{}\n\nCurrent step:\n{step}", context(task, record))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategies::Strategy;
    use crate::strategies::scripted::{Script, brief, reply};

    const PLAN: &str = r#"{"steps":["halve","double"]}"#;
    const BLOCKED: &str = r#"{"status":"blocked","result":"odd number"}"#;

    fn planner(steps: u32, replans: u32) -> Strategy {
        Strategy::PlanAndExecute(Parameters::new(steps, replans).expect("in bounds"))
    }

    #[test]
    fn one_call_per_step_with_earlier_results() {
        let done = r#"{"status":"done","result":"21"}"#;
        let played = Script::new([PLAN, done, "free text", "42"]).play(planner(6, 1), brief());
        assert_eq!(played.text(), "42");
        assert_eq!(played.purposes(), ["plan", "step", "step", "answer"]);
        assert!(played.prompt(2).contains("halve [done]") && played.prompt(2).contains("21"));
        assert!(played.prompt(3).contains("free text"));
    }

    #[test]
    fn a_blocked_step_leads_to_a_new_plan_while_there_are_any() {
        let script = Script::new([PLAN, BLOCKED, PLAN, BLOCKED, "42"]);
        let played = script.play(planner(6, 1), brief());
        assert_eq!(played.purposes(), ["plan", "step", "replan", "step", "answer"]);
        assert!(played.prompt(2).contains("odd number"));
        let played = Script::new([PLAN, BLOCKED, "42"]).play(planner(6, 0), brief());
        assert_eq!(played.purposes(), ["plan", "step", "answer"]);
    }

    #[test]
    fn a_plan_that_was_sent_back_already_is_not_sent_back_again() {
        let flawed = || ModelReply { flaw: Some("it is no JSON".into()), ..reply("no") };
        let played = Script::of([flawed(), reply(PLAN), reply("x"), reply("y"), reply("42")])
            .play(planner(6, 1), brief());
        assert_eq!(played.purposes(), ["plan", "repair_plan", "step", "step", "answer"]);
        let played = Script::of([flawed(), flawed()]).play(planner(6, 1), brief());
        assert_eq!(played.purposes(), ["plan", "repair_plan"]);
        assert!(matches!(played.result, Err(StrategyError::Unparseable { .. })));
    }

    #[test]
    fn a_plan_is_repaired_once() {
        let played = Script::new(["no", r#"{"steps":["x"]}"#, "x", "42"]).play(planner(6, 1), brief());
        assert_eq!(played.purposes(), ["plan", "repair_plan", "step", "answer"]);
        let played = Script::new(["no", PLAN]).play(planner(1, 1), brief());
        assert!(matches!(played.result, Err(StrategyError::Unparseable { .. })));
        assert_eq!(played.requests.len(), 2);
    }
}
