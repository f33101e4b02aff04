//! Reflection, after Self-Refine (Madaan et al. 2023): draft, feedback, refine, until the critic accepts.
//!
//! The critic may accept a draft only after it was written, so only the last round's revision is an `Answer`.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::kind::Bounded;
use super::{Answer, Brief, ParameterError, StrategyError, answer, ask, parse_object};
use crate::effects::Effects;
use crate::model::ModelRequest;

pub(super) const MAX_ROUNDS: Bounded = Bounded { field: "max_rounds", min: 1, max: 5, default: 2 };

/// The parameters of the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    max_rounds: u32,
}

impl Parameters {
    /// Parameters with 1 to 5 rounds.
    pub fn new(max_rounds: u32) -> Result<Self, ParameterError> {
        Ok(Self { max_rounds: MAX_ROUNDS.check(max_rounds)? })
    }

    /// The most rounds of critique and revision.
    pub fn max_rounds(self) -> u32 {
        self.max_rounds
    }

    pub(super) fn to_json(self) -> Value {
        serde_json::json!({ "max_rounds": self.max_rounds })
    }

    pub(super) fn from_fields(fields: &Map<String, Value>) -> Result<Self, ParameterError> {
        Self::new(MAX_ROUNDS.read(fields)?)
    }

    pub(super) fn max_model_calls(self) -> u32 {
        1 + 2 * self.max_rounds
    }
}

impl Default for Parameters {
    fn default() -> Self {
        Self { max_rounds: MAX_ROUNDS.default }
    }
}

#[derive(Deserialize)]
struct Critique {
    accept: bool,
    #[serde(default)]
    issues: Vec<String>,
}

pub(super) async fn run(brief: Brief, parameters: Parameters, fx: Effects) -> Result<Answer, StrategyError> {
    let request = ModelRequest::thought("draft", brief.conversation("", &brief.task));
    let mut draft = answer(&ask(&fx, request).await?.text, "draft")?;
    for round in 1..=parameters.max_rounds {
        let messages = brief.conversation(CRITIC, critique_prompt(&brief.task, &draft.text));
        let request = ModelRequest::thought("critique", messages).with_schema("critique", schema());
        let critique = read_critique(ask(&fx, request).await?.text);
        if critique.accept {
            break;
        }
        let prompt = revise_prompt(&brief.task, &draft.text, &critique.issues);
        let messages = brief.conversation("", prompt);
        let request = if round == parameters.max_rounds {
            ModelRequest::answer("revise", messages)
        } else {
            ModelRequest::thought("revise", messages)
        };
        draft = answer(&ask(&fx, request).await?.text, "revise")?;
    }
    Ok(draft)
}

/// A critique without the form is not an acceptance: all of it is the issue.
fn read_critique(text: String) -> Critique {
    parse_object(&text).unwrap_or_else(|_| Critique { accept: false, issues: vec![text] })
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "accept": {"type": "boolean"},
            "issues": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["accept", "issues"],
        "additionalProperties": false,
    })
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
    use crate::strategies::Strategy;
    use crate::strategies::scripted::{Script, brief};

    const REFUSE: &str = r#"{"accept":false,"issues":["too odd"]}"#;
    const ACCEPT: &str = r#"{"accept":true,"issues":[]}"#;

    fn reflect() -> Strategy {
        Strategy::Reflection(Parameters::default())
    }

    #[test]
    fn an_accepted_draft_is_the_answer() {
        let played = Script::new(["42", ACCEPT]).play(reflect(), brief());
        assert_eq!((played.text(), played.purposes()), ("42", vec!["draft", "critique"]));
    }

    #[test]
    fn revises_with_draft_and_critique_until_the_bound() {
        let played = Script::new(["41", REFUSE, "43", REFUSE, "42"]).play(reflect(), brief());
        assert_eq!(played.text(), "42");
        assert_eq!(played.purposes(), ["draft", "critique", "revise", "critique", "revise"]);
        assert!(played.prompt(2).contains("41") && played.prompt(2).contains("too odd"));
        assert_eq!(played.requests[2].channel, Channel::Thought);
        assert_eq!(played.requests[4].channel, Channel::Answer);
    }

    #[test]
    fn an_unparseable_critique_is_an_issue() {
        let played = Script::new(["41", "Hm, off by one", "42", ACCEPT]).play(reflect(), brief());
        assert_eq!(played.text(), "42");
        assert!(played.prompt(2).contains("Hm, off by one"));
    }
}
