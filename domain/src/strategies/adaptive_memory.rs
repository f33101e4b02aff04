//! A memory stream whose parts come to mind by recency, importance and relevance, as in Generative Agents (Park et al. 2023, §4.1):
//! the task is done with what has the highest sum of the three, and what happened is kept as an observation with its
//! importance.
//!
//! An observation that cannot be read, or says nothing, is not kept.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::asking::{ask, integer, object, text};
use super::kind::{About, Kind, Source, ToolUse};
use super::parameters::Parameter;
use super::reading::read_object;
use super::remembering::{self, By, Mind, adding, listed};
use super::{Answer, Brief, StrategyError};
use crate::effects::Effects;
use crate::model::ModelRequest;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Parameters {
    recalled: usize,
    max_turns: u32,
}

impl Kind for Parameters {
    const ABOUT: About = About {
        name: "Adaptive memory",
        summary: "Remembers what happened, and recalls what is recent, important and relevant, all three together.",
        use_when: "Work that goes on over many runs, where what happened lately matters as much as what is alike. For facts that are \
            to be kept right, take `memory`.",
        sources: &[Source::arxiv(
            "Park et al.",
            2023,
            "Generative Agents: Interactive Simulacra of Human Behavior",
            "2304.03442",
        )],
        cost: "1 for each turn and 1 more when all are used up, and 1 to note what happened: 2 to max_turns + 2",
        tools: ToolUse::Needed,
        parameters: &[
            Parameter::integer("recalled", 1..=30, 10, "How many memories are recalled."),
            Parameter::integer("max_turns", 1..=16, 4, "The most turns in which tools may be called."),
        ],
    };

    fn model_calls(&self) -> RangeInclusive<u32> {
        2..=self.max_turns + 2
    }

    fn needed_tools(&self) -> Vec<String> {
        remembering::tools()
    }

    async fn run(self, brief: Brief, fx: Effects) -> Result<Answer, StrategyError> {
        let mind = Mind { brief: &brief, fx: &fx };
        let recalled = mind.recall(&brief.task, self.recalled, &[], By::Weight).await?;
        let tools = mind.other_tools();
        let sections = [("What you remember", listed(&recalled))];
        let sections = sections.each_ref().map(|(heading, text)| (*heading, text.as_str()));
        let answer = mind.act(ACT, &sections, &tools, self.max_turns).await?;
        let noted = note(&mind, &answer).await?;
        mind.apply(
            noted
                .and_then(|noted| adding("observation", &noted.observation, noted.importance))
                .into_iter()
                .collect(),
        )
        .await?;
        Ok(answer)
    }
}

#[derive(Deserialize)]
struct Noted {
    observation: String,
    importance: u32,
}

async fn note(mind: &Mind<'_>, answer: &Answer) -> Result<Option<Noted>, StrategyError> {
    let messages = mind.brief.about_task(NOTE, &[("Answer", &answer.text)]);
    let schema = object([("observation", text()), ("importance", integer(1, 10))]);
    let request = ModelRequest::thought("note", messages).with_schema("observation", schema);
    Ok(read_object(&ask(mind.fx, request).await?.text).ok())
}

const ACT: &str = "Do the task. What you remember of earlier runs is below; where the task says something else, the task is right.";
const NOTE: &str = "Note what has happened, in one or two sentences that can be understood later: what was wanted, and what came of it. \
    On the scale of 1 to 10, where 1 is purely mundane and 10 is extremely poignant, rate the likely poignancy of it. Reply with \
    JSON: {\"observation\": \"…\", \"importance\": 1 to 10}.";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::effects::ToolRequest;
    use crate::strategies::remembering::scripted::{found, minded, operations};
    use crate::strategies::remembering::{APPLY, SEARCH};
    use crate::strategies::scripted::{Played, Script, brief, calling, reply, strategy};
    use crate::strategies::{AgentKind, Strategy};
    use crate::tools::ToolOutput;

    fn adaptive() -> Strategy {
        strategy(AgentKind::AdaptiveMemory, json!({"recalled": 2, "max_turns": 1}))
    }

    fn stream(request: &ToolRequest) -> ToolOutput {
        if request.name == SEARCH { found(&[("memory_a", "Ada was late", 3)]) } else { ToolOutput::ok("{}") }
    }

    fn play(replies: &[&str]) -> Played {
        Script::new(replies.iter().copied()).with_tool(stream).play(&adaptive(), minded())
    }

    #[test]
    fn all_three_decide_what_comes_to_mind_and_what_happened_is_kept() {
        let played = play(&["42", r#"{"observation":"Ada asked for a product.","importance":3}"#]);
        assert_eq!((played.text(), played.purposes()), ("42", vec!["act", "note"]));
        let searched = json!({"query": "What is 6 × 7?", "k": 2, "scoring": "weighted"});
        assert_eq!(played.tools[0].arguments, searched);
        assert!(played.prompt(0).contains("- Ada was late"));
        assert!(played.prompt(1).contains("Answer:\\n42"));
        let kept =
            json!({"op": "ADD", "kind": "observation", "text": "Ada asked for a product.", "importance": 3});
        assert_eq!(operations(&played.tools), [kept]);
    }

    #[test]
    fn an_observation_that_is_none_is_not_kept() {
        for bad in ["It went well.", r#"{"observation":" ","importance":3}"#, r#"{"observation":"x"}"#] {
            let played = play(&["42", bad]);
            assert_eq!((played.text(), played.tools.len()), ("42", 1), "{bad}");
        }
    }

    #[test]
    fn other_tools_are_called_in_turns() {
        let brief = Brief { tools: [minded().tools, brief().tools].concat(), ..brief() };
        let script = Script::of([calling(&[("add", "{}")]), reply("42"), reply("-")]).with_tool(stream);
        let played = script.play(&adaptive(), brief);
        assert_eq!(played.purposes(), ["act", "conclude", "note"]);
        let offered: Vec<_> = played.requests[0].tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(offered, ["add"]);
    }

    #[test]
    fn a_memory_that_is_away_ends_the_run_and_one_that_keeps_nothing_does_not() {
        let failing = |name: &'static str| {
            let script = Script::new(["42", r#"{"observation":"x","importance":3}"#]);
            let tool = move |request: &ToolRequest| {
                if request.name == name { ToolOutput::error("away") } else { stream(request) }
            };
            script.with_tool(tool).play(&adaptive(), minded()).result.map(|answer| answer.text)
        };
        let expected = StrategyError::ToolFailed { tool: SEARCH.into(), reason: "away".into() };
        assert_eq!((failing(SEARCH), failing(APPLY)), (Err(expected), Ok("42".to_owned())));
    }
}
