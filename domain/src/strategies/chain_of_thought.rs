//! Chain of thought (Wei et al. 2022), zero-shot in two calls as in Kojima et al. 2022: reason, then extract.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::asking::{answer, ask, unparseable};
use super::kind::{About, Kind, Source, ToolUse};
use super::parameters::Parameter;
use super::reading::{MARK_IT, marked_answer};
use super::{Answer, Brief, StrategyError};
use crate::effects::Effects;
use crate::model::{Message, ModelRequest};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Parameters {
    mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    TwoCalls,
    OneCall,
}

impl Kind for Parameters {
    const ABOUT: About = About {
        name: "Chain of thought",
        summary: "Reasons step by step, then extracts the answer.",
        use_when: "Arithmetic, logic and other tasks whose answer takes several steps of reasoning and no tools. Models that \
            reason by themselves gain little from it.",
        sources: &[
            Source::arxiv(
                "Wei et al.",
                2022,
                "Chain-of-Thought Prompting Elicits Reasoning in Large Language Models",
                "2201.11903",
            ),
            Source::arxiv(
                "Kojima et al.",
                2022,
                "Large Language Models are Zero-Shot Reasoners",
                "2205.11916",
            ),
        ],
        cost: "2 (reason, extract); 1 with mode one_call",
        tools: ToolUse::Never,
        parameters: &[Parameter::choice(
            "mode",
            &["two_calls", "one_call"],
            "How the answer is told from the reasoning: by a second call that extracts it, or by a line `Answer:` that the one \
             call has to end with.",
        )],
    };

    fn model_calls(&self) -> RangeInclusive<u32> {
        match self.mode {
            Mode::OneCall => 1..=1,
            Mode::TwoCalls => 2..=2,
        }
    }

    async fn run(self, brief: Brief, fx: Effects) -> Result<Answer, StrategyError> {
        let mut messages = brief.conversation("", reasoning_prompt(&brief.task));
        match self.mode {
            Mode::OneCall => {
                messages.push(Message::user(MARK_IT));
                let reply = ask(&fx, ModelRequest::answer("reason", messages)).await?;
                let found = marked_answer(&reply.text);
                answer(&found.ok_or_else(|| unparseable("reason", "it has no line `Answer:`"))?, "reason")
            }
            Mode::TwoCalls => {
                let reasoning = ask(&fx, ModelRequest::thought("reason", messages.clone())).await?.text;
                messages.extend([Message::assistant(reasoning), Message::user(EXTRACT)]);
                answer(&ask(&fx, ModelRequest::answer("extract", messages)).await?.text, "extract")
            }
        }
    }
}

/// The task with what makes a model reason.
pub(super) fn reasoning_prompt(task: &str) -> String {
    format!("{task}\n\n{TRIGGER}")
}

const TRIGGER: &str = "Let's think step by step.";
const EXTRACT: &str = "Therefore, what is the answer? Give only the answer, without the reasoning.";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::strategies::AgentKind;
    use crate::strategies::scripted::{Script, brief, strategy};

    #[test]
    fn two_calls_hand_the_reasoning_to_the_extraction() {
        let two_calls = strategy(AgentKind::ChainOfThought, json!({}));
        let played = Script::new(["6 × 7 is 40 + 2", "42"]).play(&two_calls, brief());
        assert_eq!(played.text(), "42");
        assert_eq!(played.purposes(), ["reason", "extract"]);
        assert!(played.prompt(0).contains(TRIGGER));
        assert!(played.prompt(1).contains("40 + 2") && played.prompt(1).contains(EXTRACT));
    }

    #[test]
    fn one_call_takes_the_last_marker_and_needs_one() {
        let one_call = strategy(AgentKind::ChainOfThought, json!({"mode": "one_call"}));
        let played = Script::new(["Answer: 41\nNo.\nAnswer: 42"]).play(&one_call, brief());
        assert_eq!((played.text(), played.requests.len()), ("42", 1));
        let error = Script::new(["42"]).play(&one_call, brief()).result.expect_err("no marker");
        assert!(matches!(error, StrategyError::Unparseable { .. }));
    }
}
