//! `ReWOO` (Xu et al. 2023): a plan with variables, its tools called without the model, and an answer from the evidence.
//!
//! Steps are called in the order of the plan. What a tool gave, also if it failed, is the evidence of its step, and takes the
//! place of `#E1` in later arguments. A plan that cannot be read is mended once.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::acting::{DATA_NOT_ORDERS, described, untrusted};
use super::asking::{answer, ask, ask_in_form};
use super::dataflow::{plan_schema, read_plan, substituted};
use super::kind::{About, Kind, Source, ToolUse};
use super::parameters::Parameter;
use super::{Answer, Brief, StrategyError};
use crate::effects::Effects;
use crate::model::ModelRequest;
use crate::tools::ToolOutput;

/// What a variable starts with.
const SIGN: &str = "#E";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Parameters {
    max_steps: u32,
}

impl Kind for Parameters {
    const ABOUT: About = About {
        name: "ReWOO",
        summary: "Plans all tool calls at once, makes them without the model, and answers from what they gave.",
        use_when: "The calls can be foreseen before the first of them is made. Two model calls however many tools are called; \
            but nothing is planned anew when a call fails.",
        sources: &[Source::arxiv(
            "Xu et al.",
            2023,
            "ReWOO: Decoupling Reasoning from Observations for Efficient Augmented Language Models",
            "2305.18323",
        )],
        cost: "2 (plan, solve); 1 more when the plan has to be mended; 1 in all without tools",
        tools: ToolUse::Optional,
        parameters: &[Parameter::integer(
            "max_steps",
            1..=16,
            8,
            "The most tool calls that a plan may have.",
        )],
    };

    fn model_calls(&self) -> RangeInclusive<u32> {
        1..=3
    }

    async fn run(self, brief: Brief, fx: Effects) -> Result<Answer, StrategyError> {
        let steps = if brief.tools.is_empty() {
            Vec::new()
        } else {
            let messages = brief.about_task(PLAN, &[("Tools", &described(&brief.tools))]);
            let schema = plan_schema(&brief.tools, self.max_steps);
            let request = ModelRequest::thought("plan", messages).with_schema("plan", schema);
            ask_in_form(&fx, request, |reply| read_plan(reply, &brief.tools, SIGN, self.max_steps)).await?
        };
        let mut evidence: Vec<ToolOutput> = Vec::new();
        let mut record = String::new();
        for (number, step) in (1..).zip(&steps) {
            let arguments = substituted(&step.arguments, SIGN, |number| {
                evidence.get(number - 1).map(|output| output.content.clone())
            });
            let output = fx.tool(&step.tool, arguments.clone()).await?;
            let _ = write!(
                record,
                "{SIGN}{number} = {}({arguments}): {}\n{}\n",
                step.tool,
                step.why,
                untrusted(&output)
            );
            evidence.push(output);
        }
        let messages =
            brief.about_task(&format!("{SOLVE} {DATA_NOT_ORDERS}"), &[("Evidence", record.trim_end())]);
        answer(&ask(&fx, ModelRequest::answer("solve", messages)).await?.text, "solve")
    }
}

const PLAN: &str = "Plan which tools to call so that the task can be answered from what they give. You will not see what they \
    give; where a call needs what an earlier one gives, write #E1 for the output of the first step, #E2 for that of the second, \
    and so on. Reply with JSON: {\"steps\": [{\"why\": \"...\", \"tool\": \"name\", \"arguments\": \"the arguments, a JSON object as \
    text\"}]}. No steps, if no tool helps.";
const SOLVE: &str = "Answer the task from the evidence. Say so if the evidence does not suffice.";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::effects::{EffectFailure, FailureClass};
    use crate::strategies::scripted::{Script, brief, strategy};
    use crate::strategies::{AgentKind, Strategy};

    const PLANNED: &str = r##"{"steps":[
        {"why":"sum","tool":"add","arguments":"{\"a\": 40, \"b\": 2}"},
        {"why":"again","tool":"add","arguments":"{\"a\": \"#E1\"}"}]}"##;

    fn rewoo() -> Strategy {
        strategy(AgentKind::Rewoo, json!({"max_steps": 2}))
    }

    #[test]
    fn tools_are_called_in_order_without_the_model_and_outputs_take_the_place_of_variables() {
        let script =
            Script::new([PLANNED, "42"]).with_tool(|call| ToolOutput::ok(format!("did {}", call.arguments)));
        let played = script.play(&rewoo(), brief());
        assert_eq!((played.text(), played.purposes()), ("42", vec!["plan", "solve"]));
        assert_eq!(played.tools[1].arguments, json!({"a": "did {\"a\":40,\"b\":2}"}));
        assert!(played.prompt(0).contains("- add: Adds."));
        let solve = played.prompt(1);
        assert!(
            solve.contains("#E1 = add")
                && solve.contains("#E2 = add")
                && solve.contains("<untrusted_tool_output")
        );
    }

    #[test]
    fn a_tools_error_is_evidence_and_the_next_call_is_made() {
        let played = Script::new([PLANNED, "It failed."])
            .with_tool(|_| ToolOutput::error("no sum"))
            .play(&rewoo(), brief());
        assert_eq!((played.tools.len(), played.requests.len()), (2, 2));
        assert!(played.prompt(1).contains("status=\\\"error\\\"") && played.prompt(1).contains("no sum"));
    }

    #[test]
    fn a_plan_is_mended_once() {
        let forwards = r##"{"steps":[{"why":"","tool":"add","arguments":"{\"a\": \"#E1\"}"}]}"##;
        let played = Script::new([forwards, PLANNED, "42"]).play(&rewoo(), brief());
        assert_eq!(played.purposes(), ["plan", "repair_plan", "solve"]);
        assert!(played.prompt(1).contains("not an earlier step"));
        let played = Script::new([forwards, "no"]).play(&rewoo(), brief());
        assert!(matches!(played.result, Err(StrategyError::Unparseable { .. })));
        assert_eq!((played.requests.len(), played.tools.len()), (2, 0));
    }

    #[test]
    fn without_tools_there_is_no_plan_and_an_empty_plan_calls_none() {
        let mut without = brief();
        without.tools.clear();
        assert_eq!(Script::new(["42"]).play(&rewoo(), without).purposes(), ["solve"]);
        let played = Script::new([r#"{"steps":[]}"#, "42"]).play(&rewoo(), brief());
        assert_eq!((played.requests.len(), played.tools.len()), (2, 0));
    }

    #[test]
    fn a_failed_effect_ends_the_run() {
        let failure = EffectFailure::new(FailureClass::Rejected, "denied");
        let played = Script::new([PLANNED]).failing(failure.clone()).play(&rewoo(), brief());
        assert_eq!(played.result, Err(StrategyError::Effect(failure)));
    }
}
