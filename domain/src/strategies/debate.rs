//! Debate, after Du et al. 2023, with two fixed sides and a judge: openings, rounds of rebuttals, a verdict.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::kind::Bounded;
use super::{Answer, Brief, ParameterError, StrategyError, answer, ask};
use crate::effects::Effects;
use crate::model::ModelRequest;

pub(super) const ROUNDS: Bounded = Bounded { field: "rounds", min: 0, max: 4, default: 1 };

/// The parameters of the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    rounds: u32,
}

impl Parameters {
    /// Parameters with 0 to 4 rounds.
    pub fn new(rounds: u32) -> Result<Self, ParameterError> {
        Ok(Self { rounds: ROUNDS.check(rounds)? })
    }

    /// The rounds of rebuttals after the openings.
    pub fn rounds(self) -> u32 {
        self.rounds
    }

    pub(super) fn to_json(self) -> Value {
        serde_json::json!({ "rounds": self.rounds })
    }

    pub(super) fn from_fields(fields: &Map<String, Value>) -> Result<Self, ParameterError> {
        Self::new(ROUNDS.read(fields)?)
    }

    pub(super) fn max_model_calls(self) -> u32 {
        2 + 2 * self.rounds + 1
    }
}

impl Default for Parameters {
    fn default() -> Self {
        Self { rounds: ROUNDS.default }
    }
}

pub(super) async fn run(brief: Brief, parameters: Parameters, fx: Effects) -> Result<Answer, StrategyError> {
    let mut transcript = String::new();
    for round in 0..=parameters.rounds {
        let purpose = if round == 0 { "opening" } else { "rebuttal" };
        let prompt = prompt(&brief.task, &transcript);
        let speeches = SIDES.map(|(side, guidance)| {
            let messages = brief.conversation(guidance, &prompt);
            // A branch each, made here: a side's effects are its own whatever the order of polling.
            let (fx, purpose) = (fx.branch(), format!("{purpose}_{side}"));
            async move { ask(&fx, ModelRequest::thought(purpose, messages)).await }
        });
        for ((side, _), speech) in SIDES.iter().zip(fx.join(speeches).await?) {
            let _ = write!(transcript, "\n\n[{side}, round {round}]\n{}", speech.text);
        }
    }
    let messages = brief.conversation(JUDGE, prompt(&brief.task, &transcript));
    answer(&ask(&fx, ModelRequest::answer("judge", messages)).await?.text, "judge")
}

fn prompt(task: &str, transcript: &str) -> String {
    let debate = if transcript.is_empty() { "\n\nNobody has spoken yet." } else { transcript };
    format!("Task:\n{task}\n\nThe debate so far:{debate}")
}

const SIDES: [(&str, &str); 2] = [
    (
        "pro",
        "You argue in favour. State the answer you hold to be right and make the strongest honest case. \
        Answer the other side's points, if there are any.",
    ),
    (
        "con",
        "You argue against. Attack the obvious answer and make the strongest honest case for another. \
        Answer the other side's points, if there are any.",
    ),
];
const JUDGE: &str = "You are the judge. Weigh both sides by their arguments, not their order or length, and \
    answer the task. The burden of proof is on pro: if the cases are equally strong, decide for con.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Channel;
    use crate::strategies::Strategy;
    use crate::strategies::scripted::{Script, brief};

    #[test]
    fn sides_see_each_other_only_after_the_round_and_the_judge_all() {
        let strategy = Strategy::Debate(Parameters::default());
        let played = Script::new(["P0", "C0", "P1", "C1", "42"]).play(strategy, brief());
        assert_eq!(played.text(), "42");
        let purposes = ["opening_pro", "opening_con", "rebuttal_pro", "rebuttal_con", "judge"];
        assert_eq!(played.purposes(), purposes);
        assert!(!played.prompt(1).contains("P0"));
        assert!(played.prompt(2).contains("C0") && !played.prompt(3).contains("P1"));
        assert!(["P0", "C0", "P1", "C1"].iter().all(|speech| played.prompt(4).contains(speech)));
        assert!(played.prompt(4).contains("equally strong, decide for con"));
        assert_eq!(played.requests[4].channel, Channel::Answer);
    }

    #[test]
    fn no_rounds_is_three_calls_and_an_empty_verdict_an_error() {
        let strategy = Strategy::Debate(Parameters::new(0).expect("in bounds"));
        let played = Script::new(["P0", "C0", ""]).play(strategy, brief());
        assert_eq!(played.requests.len(), 3);
        assert!(matches!(played.result, Err(StrategyError::Unparseable { .. })));
    }
}
