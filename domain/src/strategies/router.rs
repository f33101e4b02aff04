//! Router (Anthropic 2024, "Building effective agents", the workflow of routing): a model classifies the task, and the
//! specialist of its class does it.
//!
//! A classification that cannot be read is sent back once. What fits nobody is answered by the agent itself, or refused.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::asking::{answer, ask, ask_in_form, object, text};
use super::delegating::answer_of;
use super::kind::{About, Kind, Source, ToolUse};
use super::parameters::Parameter;
use super::reading::read_object;
use super::{Answer, Brief, StrategyError};
use crate::effects::Effects;
use crate::model::ModelRequest;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Parameters {
    otherwise: String,
}

const NOBODY: &str = "none";

#[derive(Deserialize)]
struct Route {
    agent: String,
}

impl Kind for Parameters {
    const ABOUT: About = About {
        name: "Router",
        summary: "Reads what kind of task it is and hands it to the specialist for that.",
        use_when: "Tasks of distinct kinds, each with an agent that is good at it. Not when one task needs several of them.",
        sources: &[Source::web(
            "Schluntz and Zhang (Anthropic)",
            2024,
            "Building effective agents",
            "https://www.anthropic.com/engineering/building-effective-agents",
        )],
        cost: "1, or 2 when nobody fits or the class could not be read; and those of the specialist",
        tools: ToolUse::Never,
        parameters: &[Parameter::choice(
            "otherwise",
            &["answer", "refuse"],
            "What becomes of a task that fits none of the agents: it answers itself, or refuses.",
        )],
    };

    fn model_calls(&self) -> RangeInclusive<u32> {
        1..=2 + u32::from(self.otherwise == "answer")
    }

    fn needs_agents(&self) -> bool {
        true
    }

    async fn run(self, brief: Brief, fx: Effects) -> Result<Answer, StrategyError> {
        let guidance = format!("{CLASSIFY}\n\n{}", brief.listed_agents()?);
        let schema = object([("reason", text()), ("agent", brief.agent_schema(&[NOBODY]))]);
        let request =
            ModelRequest::thought("classify", brief.about_task(&guidance, &[])).with_schema("route", schema);
        let read = |text: &str| {
            let Route { agent } = read_object(text)?;
            if agent != NOBODY {
                brief.check_agent(&agent)?;
            }
            Ok(agent)
        };
        let agent = ask_in_form(&fx, request, read).await?;
        if agent != NOBODY {
            return answer(&answer_of(&fx, &agent, &brief.task).await?, "specialist");
        }
        if self.otherwise == "refuse" {
            return Err(StrategyError::UnusableTask { reason: "it is for none of the agents" });
        }
        answer(
            &ask(&fx, ModelRequest::answer("answer", brief.conversation("", &brief.task))).await?.text,
            "answer",
        )
    }
}

const CLASSIFY: &str = "You hand tasks to specialists. Do not do the task. Say in a sentence which kind of task it is, then name \
    the one agent of this list that it is for, or `none` when it is for none of them:";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::effects::SubRunOutput;
    use crate::strategies::AgentKind;
    use crate::strategies::scripted::{Played, Script, among_agents, brief, strategy};

    fn play(script: Script) -> Played {
        script.play(&strategy(AgentKind::Router, json!({})), among_agents(&["billing", "law"]))
    }

    #[test]
    fn the_specialist_does_the_task_as_it_is() {
        let played = play(Script::new([r#"{"reason": "money", "agent": "billing"}"#]));
        assert_eq!((played.text(), played.requests.len()), ("billing did it", 1));
        assert_eq!(played.runs.len(), 1);
        assert_eq!((played.runs[0].agent.as_str(), &played.runs[0].task), ("billing", &brief().task));
        assert!(played.prompt(0).contains("- law: does law"));
    }

    #[test]
    fn an_unknown_agent_is_sent_back_once() {
        let wrong = r#"{"reason": "x", "agent": "nobody"}"#;
        let played = play(Script::new([wrong, r#"{"reason": "x", "agent": "law"}"#]));
        assert_eq!((played.text(), played.purposes()), ("law did it", vec!["classify", "repair_route"]));
        let played = play(Script::new([wrong, wrong]));
        assert!(matches!(played.result, Err(StrategyError::Unparseable { .. })));
        assert!(played.runs.is_empty());
    }

    #[test]
    fn what_is_for_nobody_is_answered_or_refused() {
        let nobody = r#"{"reason": "x", "agent": "none"}"#;
        let played = play(Script::new([nobody, "42"]));
        assert_eq!((played.text(), played.purposes()), ("42", vec!["classify", "answer"]));
        let refusing = strategy(AgentKind::Router, json!({"otherwise": "refuse"}));
        let played = Script::new([nobody]).play(&refusing, among_agents(&["law"]));
        assert!(matches!(played.result, Err(StrategyError::UnusableTask { .. })));
    }

    #[test]
    fn a_specialist_without_an_answer_is_the_end() {
        let away = |_: &_| SubRunOutput::refused("away");
        let played = play(Script::new([r#"{"reason": "x", "agent": "law"}"#]).with_agents(away));
        let expected = StrategyError::NoAnswerOf { agent: "law".into(), reason: "away".into() };
        assert_eq!(played.result, Err(expected));
    }

    #[test]
    fn without_agents_there_is_nothing_to_route_to() {
        let played = Script::new(["x"]).play(&strategy(AgentKind::Router, json!({})), brief());
        assert_eq!((played.result, played.requests.len()), (Err(StrategyError::MissingAgents), 0));
    }
}
