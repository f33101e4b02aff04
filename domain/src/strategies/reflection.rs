//! Reflection: Self-Refine (Madaan et al. 2023). Draft, then critique and revise until the critic accepts.

use serde::Deserialize;
use serde_json::json;

use super::{Answer, Brief, StrategyError};
use crate::effects::Effects;
use crate::model::{Message, ModelRequest};

/// How often the draft is criticised at most: 1 to 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rounds(u8);

/// A number of rounds out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rounds must be 1 to 5")]
pub struct RoundsOutOfBounds;

impl Rounds {
    /// Checks a number of rounds.
    pub const fn new(rounds: u8) -> Result<Self, RoundsOutOfBounds> {
        if rounds >= 1 && rounds <= 5 { Ok(Self(rounds)) } else { Err(RoundsOutOfBounds) }
    }
}

impl Default for Rounds {
    fn default() -> Self {
        Self(2)
    }
}

/// The critic's verdict.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Critique {
    accept: bool,
    #[serde(default)]
    issues: Vec<String>,
}

/// 1 call for the draft, and 2 for each round; 1 for the round in which the critic accepts.
pub(super) async fn run(brief: Brief, rounds: Rounds, fx: Effects) -> Result<Answer, StrategyError> {
    let ask = |prompt: String| vec![Message::system(brief.instructions.clone()), Message::user(prompt)];
    let mut draft = fx.model(ModelRequest::answer("draft", ask(brief.task.clone()))).await?.text;
    for _ in 0..rounds.0 {
        let request = ModelRequest::thought("critique", ask(critique_prompt(&brief.task, &draft)));
        let critique =
            read_critique(&fx.model(request.with_schema("critique", critique_schema())).await?.text);
        if critique.accept {
            break;
        }
        let prompt = revise_prompt(&brief.task, &draft, &critique.issues);
        draft = fx.model(ModelRequest::answer("revise", ask(prompt))).await?.text;
    }
    Ok(Answer { text: draft })
}

/// A critique that cannot be parsed does not accept, and is one issue as a whole.
fn read_critique(text: &str) -> Critique {
    serde_json::from_str(text).unwrap_or_else(|_| Critique { accept: false, issues: vec![text.to_owned()] })
}

fn critique_schema() -> serde_json::Value {
    json!({
        "type": "object",
        "properties": {
            "accept": { "type": "boolean" },
            "issues": { "type": "array", "items": { "type": "string" } },
        },
        "required": ["accept", "issues"],
        "additionalProperties": false,
    })
}

fn critique_prompt(task: &str, draft: &str) -> String {
    format!(
        "Task:\n{task}\n\nDraft:\n{draft}\n\nJudge the draft. Answer in JSON: \"accept\" is true when nothing of \
         substance is to be mended; \"issues\" lists what is, each with what to do about it."
    )
}

fn revise_prompt(task: &str, draft: &str, issues: &[String]) -> String {
    format!(
        "Task:\n{task}\n\nDraft:\n{draft}\n\nIssues:\n- {}\n\nWrite the draft anew without them.",
        issues.join("\n- ")
    )
}
