//! Reflection, after Self-Refine (Madaan et al. 2023): draft, feedback, refine, until the critic accepts.
//!
//! The critic may accept a draft only after it was written, so only the last round's revision is an `Answer`.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::asking::{answer, ask, object, text};
use super::kind::{About, Kind, Source, ToolUse};
use super::parameters::Parameter;
use super::reading::read_object;
use super::{Answer, Brief, StrategyError};
use crate::effects::Effects;
use crate::model::ModelRequest;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Parameters {
    max_rounds: u32,
}

impl Kind for Parameters {
    const ABOUT: About = About {
        name: "Reflection",
        summary: "Drafts an answer, then criticises and revises it until its critic accepts.",
        use_when: "Texts and code that get better when somebody reads them again. Of little use where the critic cannot tell \
            right from wrong, as with facts that the model does not know.",
        sources: &[Source::arxiv(
            "Madaan et al.",
            2023,
            "Self-Refine: Iterative Refinement with Self-Feedback",
            "2303.17651",
        )],
        cost: "1 draft, then a critique and a revision in each round: 2 to 1 + 2 × max_rounds",
        tools: ToolUse::Never,
        parameters: &[Parameter::integer(
            "max_rounds",
            1..=5,
            2,
            "The most rounds of critique and revision.",
        )],
    };

    fn model_calls(&self) -> RangeInclusive<u32> {
        2..=1 + 2 * self.max_rounds
    }

    async fn run(self, brief: Brief, fx: Effects) -> Result<Answer, StrategyError> {
        let request = ModelRequest::thought("draft", brief.conversation("", &brief.task));
        let mut draft = answer(&ask(&fx, request).await?.text, "draft")?;
        for round in 1..=self.max_rounds {
            let messages = brief.conversation(CRITIC, critique_prompt(&brief.task, &draft.text));
            let request = ModelRequest::thought("critique", messages).with_schema("critique", schema());
            let critique = read_critique(ask(&fx, request).await?.text);
            if critique.accept {
                break;
            }
            let prompt = revise_prompt(&brief.task, &draft.text, &critique.issues);
            let messages = brief.conversation("", prompt);
            let request = if round == self.max_rounds {
                ModelRequest::answer("revise", messages)
            } else {
                ModelRequest::thought("revise", messages)
            };
            draft = answer(&ask(&fx, request).await?.text, "revise")?;
        }
        Ok(draft)
    }
}

#[derive(Deserialize)]
struct Critique {
    accept: bool,
    #[serde(default)]
    issues: Vec<String>,
}

/// A critique without the form is not an acceptance: all of it is the issue.
fn read_critique(text: String) -> Critique {
    read_object(&text).unwrap_or_else(|_| Critique { accept: false, issues: vec![text] })
}

fn schema() -> Value {
    object([("accept", json!({"type": "boolean"})), ("issues", json!({"type": "array", "items": text()}))])
}

const CRITIC: &str = "You are a strict critic. Judge the draft against the task. Reply with JSON: \
    {\"accept\": true or false, \"issues\": [\"what must change\"]}. Accept only if nothing must change.";

fn critique_prompt(task: &str, draft: &str) -> String {
    format!("Task:\n{task}\n\nDraft:\n{draft}")
}

fn revise_prompt(task: &str, draft: &str, issues: &[String]) -> String {
    let issues = issues.join("\n- ");
    format!("Task:\n{task}\n\nDraft:\n{draft}\n\nIssues:\n- {issues}\n\nWrite the improved answer only.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Channel;
    use crate::strategies::scripted::{Script, brief, strategy};
    use crate::strategies::{AgentKind, Strategy};

    const REFUSE: &str = r#"{"accept":false,"issues":["too odd"]}"#;
    const ACCEPT: &str = r#"{"accept":true,"issues":[]}"#;

    fn reflect() -> Strategy {
        strategy(AgentKind::Reflection, json!({}))
    }

    #[test]
    fn an_accepted_draft_is_the_answer() {
        let played = Script::new(["42", ACCEPT]).play(&reflect(), brief());
        assert_eq!((played.text(), played.purposes()), ("42", vec!["draft", "critique"]));
    }

    #[test]
    fn revises_with_draft_and_critique_until_the_bound() {
        let played = Script::new(["41", REFUSE, "43", REFUSE, "42"]).play(&reflect(), brief());
        assert_eq!(played.text(), "42");
        assert_eq!(played.purposes(), ["draft", "critique", "revise", "critique", "revise"]);
        assert!(played.prompt(2).contains("41") && played.prompt(2).contains("too odd"));
        assert_eq!(played.requests[2].channel, Channel::Thought);
        assert_eq!(played.requests[4].channel, Channel::Answer);
    }

    #[test]
    fn an_unparseable_critique_is_an_issue() {
        let played = Script::new(["41", "Hm, off by one", "42", ACCEPT]).play(&reflect(), brief());
        assert_eq!(played.text(), "42");
        assert!(played.prompt(2).contains("Hm, off by one"));
    }
}
