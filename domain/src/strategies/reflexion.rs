//! Reflexion (Shinn et al. 2023): trials of acting, evaluating and reflecting; what was learnt from the last ones is kept.
//!
//! An evaluation that cannot be read is no success. The last trial is not evaluated: nothing would follow from it, its answer is
//! the answer.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::acting::{Acted, Acting, DATA_NOT_ORDERS, act};
use super::asking::{answer, ask, object, text};
use super::kind::{About, Kind, Source, ToolUse};
use super::parameters::Parameter;
use super::reading::read_object;
use super::{Answer, Brief, StrategyError};
use crate::effects::Effects;
use crate::model::{Channel, ModelRequest};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Parameters {
    max_trials: u32,
    max_turns: u32,
    memory: usize,
}

impl Kind for Parameters {
    const ABOUT: About = About {
        name: "Reflexion",
        summary: "Tries, evaluates and reflects in words on what went wrong, then tries again with what it learnt.",
        use_when: "Tasks with tools whose result can be judged, and that are worth several attempts from the start. For polishing \
            one draft, `reflection` needs fewer calls.",
        sources: &[Source::arxiv(
            "Shinn et al.",
            2023,
            "Reflexion: Language Agents with Verbal Reinforcement Learning",
            "2303.11366",
        )],
        cost: "in each trial 1 for each turn and 1 more when all are used up; between trials 1 to evaluate and 1 to reflect: 1 to \
            max_trials × (max_turns + 1) + (max_trials - 1) × 2",
        tools: ToolUse::Optional,
        parameters: &[
            Parameter::integer("max_trials", 1..=5, 3, "The most trials."),
            Parameter::integer(
                "max_turns",
                1..=16,
                4,
                "The most turns of a trial in which tools may be called.",
            ),
            Parameter::integer(
                "memory",
                1..=3,
                3,
                "How many of the last reflections the next trial is shown.",
            ),
        ],
    };

    fn model_calls(&self) -> RangeInclusive<u32> {
        let fewest = if self.max_trials == 1 { 1 } else { 2 };
        fewest..=self.max_trials * (self.max_turns + 1) + (self.max_trials - 1) * 2
    }

    async fn run(self, brief: Brief, fx: Effects) -> Result<Answer, StrategyError> {
        let acting = Acting {
            tools: &brief.tools,
            max_turns: self.max_turns,
            confirm_calls: false,
            in_words: false,
            purpose: "act",
            last_purpose: "conclude",
            channel: Channel::Thought,
        };
        let mut reflections: Vec<String> = Vec::new();
        let mut trial = 1;
        loop {
            let kept = reflections[reflections.len().saturating_sub(self.memory)..].join("\n- ");
            let learnt = if kept.is_empty() { kept } else { format!("- {kept}") };
            let guidance = format!("{ACT} {DATA_NOT_ORDERS}");
            let messages = brief.about_task(&guidance, &[("Learnt from earlier trials", &learnt)]);
            let acted = act(&fx, messages, acting).await?;
            if trial == self.max_trials {
                return answer(&acted.text, "act");
            }
            let Evaluation { success, reason } = evaluate(&brief, &fx, &acted).await?;
            if success {
                return answer(&acted.text, "act");
            }
            let sections =
                [("Trial", shown(&acted)), ("Why it failed", reason), ("Learnt from earlier trials", learnt)];
            let sections = sections.each_ref().map(|(heading, text)| (*heading, text.as_str()));
            let request = ModelRequest::thought("reflect", brief.about_task(REFLECT, &sections));
            reflections.push(ask(&fx, request).await?.text.trim().to_owned());
            trial += 1;
        }
    }
}

#[derive(Deserialize)]
struct Evaluation {
    success: bool,
    #[serde(default)]
    reason: String,
}

async fn evaluate(brief: &Brief, fx: &Effects, acted: &Acted) -> Result<Evaluation, StrategyError> {
    let messages = brief.about_task(&format!("{EVALUATE} {DATA_NOT_ORDERS}"), &[("Trial", &shown(acted))]);
    let request = ModelRequest::thought("evaluate", messages).with_schema("evaluation", evaluation_schema());
    let text = ask(fx, request).await?.text;
    Ok(read_object(&text).unwrap_or(Evaluation { success: false, reason: text }))
}

fn evaluation_schema() -> Value {
    object([("success", json!({"type": "boolean"})), ("reason", text())])
}

fn shown(Acted { text, record, .. }: &Acted) -> String {
    format!("{record}\nIt answered:\n{text}").trim_start().to_owned()
}

const ACT: &str = "Do the task. Call tools to find out what you need to know, if there are any, and answer once you can. Mind \
    what was learnt from earlier trials.";
const EVALUATE: &str = "You evaluate a trial of the task strictly: is the answer right and complete? Reply with JSON: {\"success\": \
    true or false, \"reason\": \"why\"}.";
const REFLECT: &str = "The trial has failed. Say in a few sentences what went wrong, and what to do differently in the next trial.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategies::scripted::{Script, brief, calling, reply, strategy};
    use crate::strategies::{AgentKind, Strategy};
    use crate::tools::ToolOutput;

    const FAILED: &str = r#"{"success":false,"reason":"off by one"}"#;
    const PASSED: &str = r#"{"success":true,"reason":"right"}"#;

    fn reflexion(trials: u32, memory: u32) -> Strategy {
        strategy(AgentKind::Reflexion, json!({"max_trials": trials, "memory": memory, "max_turns": 1}))
    }

    #[test]
    fn a_success_ends_the_trials() {
        let played = Script::new(["42", PASSED]).play(&reflexion(3, 3), brief());
        assert_eq!((played.text(), played.purposes()), ("42", vec!["act", "evaluate"]));
        assert!(played.prompt(1).contains("It answered:\\n42"));
    }

    #[test]
    fn a_failure_is_reflected_on_and_the_next_trial_is_told() {
        let played =
            Script::new(["41", FAILED, "Count again.", "42", PASSED]).play(&reflexion(3, 3), brief());
        assert_eq!(played.purposes(), ["act", "evaluate", "reflect", "act", "evaluate"]);
        assert!(played.prompt(2).contains("off by one") && played.prompt(2).contains("It answered:\\n41"));
        assert!(played.prompt(3).contains("- Count again."));
        assert!(!played.prompt(3).contains("off by one"), "a trial starts anew, with what was learnt alone");
    }

    #[test]
    fn the_last_trial_is_the_answer_and_only_the_last_reflections_are_kept() {
        let replies = ["a", FAILED, "First.", "b", FAILED, "Second.", "c"];
        let played = Script::new(replies).play(&reflexion(3, 1), brief());
        assert_eq!((played.text(), played.requests.len()), ("c", 7));
        assert!(played.prompt(6).contains("Second.") && !played.prompt(6).contains("First."));
        let one = Script::new(["a"]).play(&reflexion(1, 1), brief());
        assert_eq!(one.purposes(), ["act"]);
    }

    #[test]
    fn an_evaluation_that_cannot_be_read_is_a_failure_with_its_text_as_the_reason() {
        let played = Script::new(["41", "Well, no.", "Hm.", "42"]).play(&reflexion(2, 3), brief());
        assert_eq!(played.text(), "42");
        assert!(played.prompt(2).contains("Well, no."));
    }

    #[test]
    fn tools_are_called_in_turns_and_their_errors_are_seen() {
        let script =
            Script::of([calling(&[("add", "{}")]), reply("41"), reply(FAILED), reply("Hm."), reply("42")]);
        let played = script.with_tool(|_| ToolOutput::error("no sum")).play(&reflexion(2, 3), brief());
        assert_eq!(played.purposes(), ["act", "conclude", "evaluate", "reflect", "act"]);
        assert!(played.prompt(1).contains("no sum"));
        assert!(played.prompt(2).contains("add({}) gave") && played.prompt(2).contains("no sum"));
    }
}
