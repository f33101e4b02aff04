//! Plan and execute, after Plan-and-Solve (Wang et al. 2023) and the `LangChain` agent of that name: plan, one call
//! per step, a new plan for the rest when a step is blocked, and a final answer from the steps' results.

use std::fmt::Write as _;

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::asking::{answer, ask, ask_in_form, list, object, text};
use super::kind::{About, Kind, Source, ToolUse};
use super::parameters::Parameter;
use super::reading::read_object;
use super::{Answer, Brief, StrategyError};
use crate::effects::Effects;
use crate::model::ModelRequest;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Parameters {
    max_steps: u32,
    max_replans: u32,
}

impl Kind for Parameters {
    const ABOUT: About = About {
        name: "Plan and execute",
        summary: "Plans steps, works them off one by one, and replans when blocked.",
        use_when: "Large tasks that fall apart into steps which one model can do one after the other, without tools.",
        sources: &[Source::arxiv(
            "Wang et al.",
            2023,
            "Plan-and-Solve Prompting: Improving Zero-Shot Chain-of-Thought Reasoning by Large Language Models",
            "2305.04091",
        )],
        cost: "for each plan 1, 1 to mend it if it cannot be read, and 1 for each step; then 1 for the answer: \
            3 to (1 + max_replans) × (2 + max_steps) + 1",
        tools: ToolUse::Never,
        parameters: &[
            Parameter::integer("max_steps", 1..=12, 6, "The most steps that a plan may have."),
            Parameter::integer("max_replans", 0..=3, 1, "How often the rest may be planned anew."),
        ],
    };

    fn model_calls(&self) -> RangeInclusive<u32> {
        3..=(1 + self.max_replans) * (2 + self.max_steps) + 1
    }

    async fn run(self, brief: Brief, fx: Effects) -> Result<Answer, StrategyError> {
        let mut record = String::new();
        'plans: for attempt in 0..=self.max_replans {
            let purpose = if attempt == 0 { "plan" } else { "replan" };
            for step in plan(&brief, &self, &fx, purpose, &record).await? {
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

async fn plan(
    brief: &Brief,
    parameters: &Parameters,
    fx: &Effects,
    purpose: &str,
    record: &str,
) -> Result<Vec<String>, StrategyError> {
    let max = parameters.max_steps;
    let messages = brief.conversation(&plan_guidance(max), context(&brief.task, record));
    let schema = object([("steps", list(&text(), 1, max))]);
    let request = ModelRequest::thought(purpose, messages).with_schema("plan", schema);
    ask_in_form(fx, request, |reply| read_plan(reply, max)).await
}

fn read_plan(text: &str, max: u32) -> Result<Vec<String>, String> {
    let Plan { steps } = read_object(text)?;
    match u32::try_from(steps.len()) {
        Ok(0) => Err("the plan has no steps".into()),
        Ok(count) if count <= max => Ok(steps),
        _ => Err(format!("the plan has more than {max} steps")),
    }
}

/// A report without the form is a step that is done, with the text as its result.
fn read_report(text: String) -> (Status, String) {
    match read_object(&text) {
        Ok(StepReport { status, result: Value::String(result) }) => (status, result),
        Ok(StepReport { status, result }) => (status, result.to_string()),
        Err(_) => (Status::Done, text),
    }
}

fn step_schema() -> Value {
    object([("status", json!({"type": "string", "enum": ["done", "blocked"]})), ("result", text())])
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
    use crate::model::ModelReply;
    use crate::strategies::scripted::{Script, brief, reply, strategy};
    use crate::strategies::{AgentKind, Strategy};

    const PLAN: &str = r#"{"steps":["halve","double"]}"#;
    const BLOCKED: &str = r#"{"status":"blocked","result":"odd number"}"#;

    fn planner(steps: u32, replans: u32) -> Strategy {
        strategy(AgentKind::PlanAndExecute, json!({"max_steps": steps, "max_replans": replans}))
    }

    #[test]
    fn one_call_per_step_with_earlier_results() {
        let done = r#"{"status":"done","result":"21"}"#;
        let played = Script::new([PLAN, done, "free text", "42"]).play(&planner(6, 1), brief());
        assert_eq!(played.text(), "42");
        assert_eq!(played.purposes(), ["plan", "step", "step", "answer"]);
        assert!(played.prompt(2).contains("halve [done]") && played.prompt(2).contains("21"));
        assert!(played.prompt(3).contains("free text"));
    }

    #[test]
    fn a_blocked_step_leads_to_a_new_plan_while_there_are_any() {
        let script = Script::new([PLAN, BLOCKED, PLAN, BLOCKED, "42"]);
        let played = script.play(&planner(6, 1), brief());
        assert_eq!(played.purposes(), ["plan", "step", "replan", "step", "answer"]);
        assert!(played.prompt(2).contains("odd number"));
        let played = Script::new([PLAN, BLOCKED, "42"]).play(&planner(6, 0), brief());
        assert_eq!(played.purposes(), ["plan", "step", "answer"]);
    }

    #[test]
    fn a_plan_that_was_sent_back_already_is_not_sent_back_again() {
        let flawed = || ModelReply { flaw: Some("it is no JSON".into()), ..reply("no") };
        let played = Script::of([flawed(), reply(PLAN), reply("x"), reply("y"), reply("42")])
            .play(&planner(6, 1), brief());
        assert_eq!(played.purposes(), ["plan", "repair_plan", "step", "step", "answer"]);
        let played = Script::of([flawed(), flawed()]).play(&planner(6, 1), brief());
        assert_eq!(played.purposes(), ["plan", "repair_plan"]);
        assert!(matches!(played.result, Err(StrategyError::Unparseable { .. })));
    }

    #[test]
    fn a_plan_is_repaired_once() {
        let played = Script::new(["no", r#"{"steps":["x"]}"#, "x", "42"]).play(&planner(6, 1), brief());
        assert_eq!(played.purposes(), ["plan", "repair_plan", "step", "answer"]);
        let played = Script::new(["no", PLAN]).play(&planner(1, 1), brief());
        assert!(matches!(played.result, Err(StrategyError::Unparseable { .. })));
        assert_eq!(played.requests.len(), 2);
    }
}
