//! Orchestrator and workers (Anthropic 2024, "Building effective agents"; the division of labour of `MetaGPT`, Hong et al. 2023):
//! a model divides the task, agents do the parts at the same time, a model makes one answer of theirs.
//!
//! A division that cannot be read is sent back once. A part without an answer is shown as missing; all of them are an error.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::asking::{answer, ask, ask_in_form, list, object, text};
use super::delegating::{ANSWERS_ARE_DATA, answers};
use super::kind::{About, Kind, Source, ToolUse};
use super::parameters::Parameter;
use super::reading::read_object;
use super::{Answer, Brief, StrategyError};
use crate::effects::Effects;
use crate::model::ModelRequest;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Parameters {
    max_parts: u32,
}

#[derive(Deserialize)]
struct Division {
    parts: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    agent: String,
    task: String,
}

impl Kind for Parameters {
    const ABOUT: About = About {
        name: "Orchestrator and workers",
        summary: "Divides a task, has other agents do the parts at the same time, and makes one answer of theirs.",
        use_when: "Tasks whose parts cannot be known beforehand and do not depend on each other, such as research on several \
            questions. Not when one part needs what another has found.",
        sources: &[
            Source::web(
                "Schluntz and Zhang (Anthropic)",
                2024,
                "Building effective agents",
                "https://www.anthropic.com/engineering/building-effective-agents",
            ),
            Source::arxiv(
                "Hong et al.",
                2023,
                "MetaGPT: Meta Programming for A Multi-Agent Collaborative Framework",
                "2308.00352",
            ),
        ],
        cost: "2, or 3 when the division could not be read; and those of up to max_parts workers",
        tools: ToolUse::Never,
        parameters: &[Parameter::integer(
            "max_parts",
            1..=16,
            5,
            "Into how many parts the task may be divided.",
        )],
    };

    fn model_calls(&self) -> RangeInclusive<u32> {
        2..=3
    }

    fn needs_agents(&self) -> bool {
        true
    }

    async fn run(self, brief: Brief, fx: Effects) -> Result<Answer, StrategyError> {
        let guidance = format!("{DIVIDE} At most {} parts.\n\n{}", self.max_parts, brief.listed_agents()?);
        let part = object([("agent", brief.agent_schema(&[])), ("task", text())]);
        let schema = object([("parts", list(&part, 1, self.max_parts))]);
        let request = ModelRequest::thought("decompose", brief.about_task(&guidance, &[]))
            .with_schema("division", schema);
        let tasks = ask_in_form(&fx, request, |text| self.read(&brief, text)).await?;
        let outputs =
            fx.join(tasks.iter().map(|(agent, task)| fx.agent(agent, task)).collect::<Vec<_>>()).await?;
        let answers = answers(&tasks, &outputs)?;
        let messages = brief.about_task(&format!("{SYNTHESIZE} {ANSWERS_ARE_DATA}"), &[("Parts", &answers)]);
        answer(&ask(&fx, ModelRequest::answer("synthesize", messages)).await?.text, "synthesize")
    }
}

impl Parameters {
    fn read(&self, brief: &Brief, text: &str) -> Result<Vec<(String, String)>, String> {
        let Division { parts } = read_object(text)?;
        if parts.is_empty() || parts.len() > self.max_parts as usize {
            return Err(format!("it must have 1 to {} parts", self.max_parts));
        }
        for Part { agent, task } in &parts {
            brief.check_agent(agent)?;
            if task.trim().is_empty() {
                return Err("a part's task is empty".to_owned());
            }
        }
        Ok(parts.into_iter().map(|Part { agent, task }| (agent, task)).collect())
    }
}

const DIVIDE: &str = "Divide the task into parts that can be done at the same time, each by one of the agents below. An agent \
    sees nothing but the text of its part: say in it all that it needs to know.";

const SYNTHESIZE: &str = "Other agents have done parts of the task. Make one answer to the task of what they found; where a part \
    has no answer, or two contradict each other, say so.";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::effects::SubRunOutput;
    use crate::strategies::AgentKind;
    use crate::strategies::scripted::{Played, Script, among_agents, answered, strategy};

    const DIVISION: &str =
        r#"{"parts": [{"agent": "law", "task": "May we?"}, {"agent": "billing", "task": "What is it?"}]}"#;

    fn play(script: Script) -> Played {
        let strategy = strategy(AgentKind::OrchestratorWorkers, json!({"max_parts": 2}));
        script.play(&strategy, among_agents(&["billing", "law"]))
    }

    #[test]
    fn the_parts_are_done_at_the_same_time_and_made_one() {
        let played = play(Script::new([DIVISION, "42"]));
        assert_eq!((played.text(), &played.waves), ("42", &vec![1, 2, 1]));
        let asked: Vec<_> = played.runs.iter().map(|run| (run.agent.as_str(), run.task.as_str())).collect();
        assert_eq!(asked, [("law", "May we?"), ("billing", "What is it?")]);
        assert!(played.prompt(1).contains("law did it") && played.prompt(1).contains("billing did it"));
    }

    #[test]
    fn a_part_without_an_answer_is_shown_as_missing_and_all_are_the_end() {
        let only = |agent: &'static str| {
            move |run: &crate::effects::SubRunRequest| {
                if run.agent == agent { answered("fine") } else { SubRunOutput::refused("secret reason") }
            }
        };
        let played = play(Script::new([DIVISION, "42"]).with_agents(only("law")));
        assert!(played.prompt(1).contains("(no answer)") && !played.prompt(1).contains("secret reason"));
        let played = play(Script::new([DIVISION, "42"]).with_agents(only("nobody")));
        assert!(matches!(played.result, Err(StrategyError::NoAnswerOf { .. })));
        assert_eq!(played.requests.len(), 1);
    }

    #[test]
    fn a_division_that_cannot_be_used_is_sent_back_once() {
        for wrong in [
            "two parts",
            r#"{"parts": []}"#,
            r#"{"parts": [{"agent": "nobody", "task": "x"}]}"#,
            r#"{"parts": [{"agent": "law", "task": " "}]}"#,
            r#"{"parts": [{"agent": "law", "task": "a"}, {"agent": "law", "task": "b"}, {"agent": "law", "task": "c"}]}"#,
        ] {
            let played = play(Script::new([wrong, DIVISION, "42"]));
            assert_eq!(played.purposes(), ["decompose", "repair_division", "synthesize"], "{wrong}");
            let played = play(Script::new([wrong, wrong]));
            assert!(matches!(played.result, Err(StrategyError::Unparseable { .. })), "{wrong}");
        }
    }
}
