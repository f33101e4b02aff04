//! Chain of thought (Wei et al. 2022), zero-shot in two calls as in Kojima et al. 2022: reason, then extract.

use serde_json::{Map, Value, json};

use super::{Answer, Brief, ParameterError, StrategyError, answer, ask, unparseable};
use crate::effects::Effects;
use crate::model::{Message, ModelRequest};

/// How the answer is told from the reasoning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// One call; the answer is what follows the last `Answer:` that starts a line.
    OneCall,
    /// A second call extracts it.
    #[default]
    TwoCalls,
}

/// The parameters of the kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    mode: Mode,
}

impl Parameters {
    /// Parameters with a mode.
    pub fn new(mode: Mode) -> Self {
        Self { mode }
    }

    /// How the answer is told from the reasoning.
    pub fn mode(self) -> Mode {
        self.mode
    }

    pub(super) fn to_json(self) -> Value {
        let mode = match self.mode {
            Mode::OneCall => "one_call",
            Mode::TwoCalls => "two_calls",
        };
        json!({ "mode": mode })
    }

    pub(super) fn from_fields(fields: &Map<String, Value>) -> Result<Self, ParameterError> {
        match fields.get("mode").map(Value::as_str) {
            None => Ok(Self::default()),
            Some(Some("one_call")) => Ok(Self::new(Mode::OneCall)),
            Some(Some("two_calls")) => Ok(Self::new(Mode::TwoCalls)),
            Some(_) => Err(ParameterError::wrong_type("mode", "`one_call` or `two_calls`")),
        }
    }

    pub(super) fn max_model_calls(self) -> u32 {
        match self.mode {
            Mode::OneCall => 1,
            Mode::TwoCalls => 2,
        }
    }
}

pub(super) fn properties() -> Map<String, Value> {
    let mode = json!({"type": "string", "enum": ["one_call", "two_calls"], "default": "two_calls"});
    Map::from_iter([("mode".to_owned(), mode)])
}

pub(super) async fn run(brief: Brief, parameters: Parameters, fx: Effects) -> Result<Answer, StrategyError> {
    let mut messages = brief.conversation("", format!("{}\n\n{TRIGGER}", brief.task));
    match parameters.mode {
        Mode::OneCall => {
            messages.push(Message::user(FORM));
            let reply = ask(&fx, ModelRequest::answer("reason", messages)).await?;
            let found = after_last_marker(&reply.text);
            answer(&found.ok_or_else(|| unparseable("reason", "it has no line `Answer:`"))?, "reason")
        }
        Mode::TwoCalls => {
            let reasoning = ask(&fx, ModelRequest::thought("reason", messages.clone())).await?.text;
            messages.extend([Message::assistant(reasoning), Message::user(EXTRACT)]);
            answer(&ask(&fx, ModelRequest::answer("extract", messages)).await?.text, "extract")
        }
    }
}

fn after_last_marker(text: &str) -> Option<String> {
    let lines: Vec<_> = text.lines().collect();
    let last = lines.iter().rposition(|line| line.trim_start().starts_with(MARKER))?;
    let first_line = lines[last].trim_start().trim_start_matches(MARKER);
    Some([&[first_line], &lines[last + 1..]].concat().join("\n"))
}

const MARKER: &str = "Answer:";
const TRIGGER: &str = "Let's think step by step.";
const FORM: &str = "End with a line that starts with `Answer:` and holds only the answer.";
const EXTRACT: &str = "Therefore, what is the answer? Give only the answer, without the reasoning.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategies::Strategy;
    use crate::strategies::scripted::{Script, brief};

    #[test]
    fn two_calls_hand_the_reasoning_to_the_extraction() {
        let strategy = Strategy::ChainOfThought(Parameters::default());
        let played = Script::new(["6 × 7 is 40 + 2", "42"]).play(strategy, brief());
        assert_eq!(played.text(), "42");
        assert_eq!(played.purposes(), ["reason", "extract"]);
        assert!(played.prompt(0).contains(TRIGGER));
        assert!(played.prompt(1).contains("40 + 2") && played.prompt(1).contains(EXTRACT));
    }

    #[test]
    fn one_call_takes_the_last_marker_and_needs_one() {
        let strategy = Strategy::ChainOfThought(Parameters::new(Mode::OneCall));
        let played = Script::new(["Answer: 41\nNo.\nAnswer: 42"]).play(strategy, brief());
        assert_eq!((played.text(), played.requests.len()), ("42", 1));
        let error = Script::new(["42"]).play(strategy, brief()).result.expect_err("no marker");
        assert!(matches!(error, StrategyError::Unparseable { .. }));
    }
}
