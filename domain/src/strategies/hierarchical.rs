//! Hierarchical (`HiAgent`, Hu et al. 2024): a manager works from subgoal to subgoal. A worker pursues each; once it is done, what
//! the worker wrote is replaced by a summary, so that the manager's context grows by a few sentences and not by whole transcripts.
//!
//! A decision that cannot be read is sent back once. A subgoal without an answer is told to the manager, who may try another way.
//! After the last subgoal the manager has to answer.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::asking::{answer, ask, ask_in_form, object, text};
use super::delegating::ANSWERS_ARE_DATA;
use super::kind::{About, Kind, Source, ToolUse};
use super::parameters::Parameter;
use super::reading::read_object;
use super::{Answer, Brief, StrategyError};
use crate::effects::Effects;
use crate::model::ModelRequest;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Parameters {
    max_subgoals: u32,
}

const DONE: &str = "done";

#[derive(Deserialize)]
struct Decision {
    agent: String,
    subgoal: String,
}

impl Kind for Parameters {
    const ABOUT: About = About {
        name: "Hierarchical",
        summary: "A manager sets one subgoal after the other, other agents reach them, and only summaries stay in mind.",
        use_when: "Long tasks in which each step depends on what the ones before have found, and whole transcripts would not fit. \
            For parts that are independent, orchestrator_workers is faster.",
        sources: &[Source::arxiv(
            "Hu et al.",
            2024,
            "HiAgent: Hierarchical Working Memory Management for Solving Long-Horizon Agent Tasks with Large Language Model",
            "2408.09559",
        )],
        cost: "2 for each subgoal and 1 more, or 2 when it answers before the last; and those of the workers",
        tools: ToolUse::Never,
        parameters: &[Parameter::integer(
            "max_subgoals",
            1..=32,
            6,
            "How many subgoals are pursued, one after the other.",
        )],
    };

    fn model_calls(&self) -> RangeInclusive<u32> {
        // A decision may be sent back; the last answer needs none.
        2..=3 * self.max_subgoals + 1
    }

    fn needs_agents(&self) -> bool {
        true
    }

    async fn run(self, brief: Brief, fx: Effects) -> Result<Answer, StrategyError> {
        let agents = brief.listed_agents()?;
        let guidance = format!("{DECIDE}\n\n{agents}");
        let schema = object([("agent", brief.agent_schema(&[DONE])), ("subgoal", text())]);
        let mut finished = String::new();
        for number in 1..=self.max_subgoals {
            let request = ModelRequest::thought(
                "subgoal",
                brief.about_task(&guidance, &[("Finished subgoals", &finished)]),
            )
            .with_schema("decision", schema.clone());
            let Decision { agent, subgoal } = ask_in_form(&fx, request, |text| read(&brief, text)).await?;
            if agent == DONE {
                break;
            }
            let output = fx
                .agent(&agent, format!("{subgoal}\n\nThis is part of a larger task:\n{}", brief.task))
                .await?;
            let outcome = if output.is_error {
                "It was not reached.".to_owned()
            } else {
                let sections = [("Subgoal", subgoal.as_str()), ("What was done", output.content.as_str())];
                let messages = brief.about_task(&format!("{SUMMARIZE} {ANSWERS_ARE_DATA}"), &sections);
                ask(&fx, ModelRequest::thought("summarize", messages)).await?.text.trim().to_owned()
            };
            let _ = writeln!(finished, "{number}. {subgoal} ({agent}): {outcome}");
        }
        let messages = brief.about_task(ANSWER, &[("Finished subgoals", &finished)]);
        answer(&ask(&fx, ModelRequest::answer("answer", messages)).await?.text, "answer")
    }
}

fn read(brief: &Brief, text: &str) -> Result<Decision, String> {
    let decision: Decision = read_object(text)?;
    if decision.agent != DONE {
        brief.check_agent(&decision.agent)?;
        if decision.subgoal.trim().is_empty() {
            return Err("the subgoal is empty".to_owned());
        }
    }
    Ok(decision)
}

const DECIDE: &str = "You manage a task and do none of it yourself. Name the next subgoal, and the agent below that is to reach \
    it; say in the subgoal all that the agent needs to know of what was found before. Name `done` as the agent, with an empty \
    subgoal, once the task can be answered.";

const SUMMARIZE: &str = "Say in at most three sentences what was found for the subgoal that later subgoals or the answer need: \
    results, names and numbers, not how they were found.";

const ANSWER: &str =
    "The subgoals of the task have been pursued. Answer the task from what was found; say what is missing.";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::effects::SubRunOutput;
    use crate::strategies::AgentKind;
    use crate::strategies::scripted::{Played, Script, among_agents, strategy};

    const FIRST: &str = r#"{"agent": "law", "subgoal": "Find the law"}"#;
    const SECOND: &str = r#"{"agent": "billing", "subgoal": "Find the price"}"#;
    const DONE: &str = r#"{"agent": "done", "subgoal": ""}"#;

    fn play(script: Script) -> Played {
        let strategy = strategy(AgentKind::Hierarchical, json!({"max_subgoals": 2}));
        script.play(&strategy, among_agents(&["billing", "law"]))
    }

    #[test]
    fn only_the_summary_of_a_finished_subgoal_stays() {
        let played = play(Script::new([FIRST, "It is allowed.", SECOND, "It is 5.", "42"]));
        assert_eq!(played.text(), "42");
        assert_eq!(played.purposes(), ["subgoal", "summarize", "subgoal", "summarize", "answer"]);
        assert!(played.prompt(1).contains("law did it"));
        assert!(played.prompt(2).contains("It is allowed.") && !played.prompt(2).contains("law did it"));
        assert!(played.prompt(4).contains("1. Find the law (law): It is allowed."));
        assert!(played.prompt(4).contains("It is 5.") && !played.prompt(4).contains("billing did it"));
        assert_eq!(played.runs.len(), 2);
    }

    #[test]
    fn the_manager_stops_when_it_is_done() {
        let played = play(Script::new([DONE, "42"]));
        assert_eq!((played.text(), played.runs.len(), played.requests.len()), ("42", 0, 2));
        let played = play(Script::new([FIRST, "Found.", DONE, "42"]));
        assert_eq!((played.runs.len(), played.requests.len()), (1, 4));
    }

    #[test]
    fn a_subgoal_that_is_not_reached_is_told_and_costs_no_summary() {
        let away = |_: &_| SubRunOutput::refused("secret reason");
        let played = play(Script::new([FIRST, DONE, "42"]).with_agents(away));
        assert_eq!(played.purposes(), ["subgoal", "subgoal", "answer"]);
        assert!(
            played.prompt(1).contains("It was not reached.") && !played.prompt(1).contains("secret reason")
        );
    }

    #[test]
    fn a_decision_that_cannot_be_used_is_sent_back_once() {
        for wrong in ["law", r#"{"agent": "nobody", "subgoal": "x"}"#, r#"{"agent": "law", "subgoal": ""}"#] {
            let played = play(Script::new([wrong, DONE, "42"]));
            assert_eq!(played.purposes(), ["subgoal", "repair_decision", "answer"], "{wrong}");
            let played = play(Script::new([wrong, wrong]));
            assert!(matches!(played.result, Err(StrategyError::Unparseable { .. })), "{wrong}");
        }
    }
}
