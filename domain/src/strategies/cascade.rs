//! A cascade of models (`FrugalGPT`, Chen et al. 2023; `RouteLLM`, Ong et al. 2024): the cheapest answers first, and only an answer
//! that scores too low goes on to the next.
//!
//! The agent's own model is the last, whose answer is not scored. A score that cannot be read is the lowest. A cheaper model that
//! is away, refuses, or gives no whole text has no answer; a limit ends the run.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::asking::{answer, ask, integer, object, text};
use super::kind::{About, Kind, Source, ToolUse};
use super::parameters::Parameter;
use super::reading::read_object;
use super::{Answer, Brief, StrategyError};
use crate::effects::{Effects, FailureClass};
use crate::model::ModelRequest;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Parameters {
    models: Vec<String>,
    scorer: Scorer,
    threshold: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Scorer {
    Judge,
    SelfReport,
}

impl Kind for Parameters {
    const ABOUT: About = About {
        name: "Cascade",
        summary: "Asks a cheap model first, and a stronger one only when the answer scores too low.",
        use_when: "Many tasks of which most are easy, with a cheap and a dear model. With tasks that are mostly hard it costs more \
            than the dear model alone.",
        sources: &[
            Source::arxiv(
                "Chen et al.",
                2023,
                "FrugalGPT: How to Use Large Language Models While Reducing Cost and Improving Performance",
                "2305.05176",
            ),
            Source::arxiv(
                "Ong et al.",
                2024,
                "RouteLLM: Learning to Route LLMs with Preference Data",
                "2406.18665",
            ),
        ],
        cost: "for each model that is tried 1, and 1 to score it with the judge; 1 for the agent's own: 1 to models × 2 + 1",
        tools: ToolUse::Never,
        parameters: &[
            Parameter::list(
                "models",
                6,
                &[],
                "Cheaper models, the cheapest first. The agent's own model comes last, and alone if there are none.",
            ),
            Parameter::choice(
                "scorer",
                &["judge", "self_report"],
                "Whether the cheapest model scores each answer in a call of its own, or models say how sure they are.",
            ),
            Parameter::integer(
                "threshold",
                1..=10,
                7,
                "The least score of an answer that is good enough, of 10.",
            ),
        ],
    };

    fn model_calls(&self) -> RangeInclusive<u32> {
        let models = u32::try_from(self.models.len()).unwrap_or(u32::MAX);
        match (models, self.scorer) {
            (0, _) => 1..=1,
            (models, Scorer::Judge) => 2..=models * 2 + 1,
            (models, Scorer::SelfReport) => 1..=models + 1,
        }
    }

    async fn run(self, brief: Brief, fx: Effects) -> Result<Answer, StrategyError> {
        for model in &self.models {
            let tried = match self.scorer {
                Scorer::Judge => self.judged(&brief, &fx, model).await,
                Scorer::SelfReport => self_reported(&brief, &fx, model).await,
            };
            if let Some((text, score)) = or_go_on(tried)?
                && score >= self.threshold
                && let Ok(answer) = answer(&text, "try")
            {
                return Ok(answer);
            }
        }
        let request = ModelRequest::answer("answer", brief.conversation("", &brief.task));
        answer(&ask(&fx, request).await?.text, "answer")
    }
}

impl Parameters {
    async fn judged(&self, brief: &Brief, fx: &Effects, model: &str) -> Result<(String, u32), StrategyError> {
        let request = ModelRequest::thought("try", brief.conversation("", &brief.task)).to_model(Some(model));
        let tried = ask(fx, request).await?.text;
        let messages = brief.about_task(JUDGE, &[("Answer", &tried)]);
        let schema = object([("reason", text()), ("score", integer(0, 10))]);
        let request = ModelRequest::thought("score", messages).with_schema("score", schema);
        let scored = ask(fx, request.to_model(self.models.first())).await?.text;
        Ok((tried, read_object::<Scored>(&scored).map_or(0, |scored| scored.score)))
    }
}

async fn self_reported(brief: &Brief, fx: &Effects, model: &str) -> Result<(String, u32), StrategyError> {
    let schema = object([("answer", text()), ("confidence", integer(0, 10))]);
    let request = ModelRequest::thought("try", brief.conversation(SELF_REPORT, &brief.task));
    let reply = ask(fx, request.with_schema("answer", schema).to_model(Some(model))).await?.text;
    let reported = read_object::<Reported>(&reply);
    Ok(reported.map_or((reply, 0), |reported| (reported.answer, reported.confidence)))
}

/// What a model has said, unless the next one is to be asked because it could not.
fn or_go_on<T>(tried: Result<T, StrategyError>) -> Result<Option<T>, StrategyError> {
    match tried {
        Ok(said) => Ok(Some(said)),
        Err(StrategyError::Effect(failure)) if failure.class == FailureClass::LimitReached => {
            Err(StrategyError::Effect(failure))
        }
        Err(_) => Ok(None),
    }
}

#[derive(Deserialize)]
struct Scored {
    score: u32,
}

#[derive(Deserialize)]
struct Reported {
    answer: String,
    confidence: u32,
}

const JUDGE: &str = "Judge how likely the answer is right and complete, from 0 (wrong) to 10 (right). Reply with JSON: {\"reason\": \
    \"...\", \"score\": 0 to 10}.";
const SELF_REPORT: &str = "Answer, and say how sure you are that the answer is right and complete, from 0 (a guess) to 10 (certain). \
    Reply with JSON: {\"answer\": \"...\", \"confidence\": 0 to 10}.";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::effects::EffectFailure;
    use crate::model::Channel;
    use crate::strategies::scripted::{Script, brief, strategy};
    use crate::strategies::{AgentKind, Strategy};

    fn cascade(parameters: Value) -> Strategy {
        strategy(AgentKind::Cascade, parameters)
    }

    fn score(of: u32) -> String {
        json!({"reason": "", "score": of}).to_string()
    }

    fn models(played: &crate::strategies::scripted::Played) -> Vec<Option<&str>> {
        played.requests.iter().map(|request| request.model.as_deref()).collect()
    }

    #[test]
    fn a_good_answer_of_the_cheapest_ends_it() {
        let two = cascade(json!({"models": ["small", "middle"]}));
        let played = Script::new(["42".to_owned(), score(7)]).play(&two, brief());
        assert_eq!((played.text(), played.purposes()), ("42", vec!["try", "score"]));
        assert_eq!(models(&played), [Some("small"), Some("small")]);
        assert!(played.prompt(1).contains("Answer:\\n42"));
    }

    #[test]
    fn below_the_threshold_the_next_is_asked_and_the_agents_own_last() {
        let two = cascade(json!({"models": ["small", "middle"]}));
        let replies = ["40".to_owned(), score(6), "41".to_owned(), "nine".to_owned(), "42".to_owned()];
        let played = Script::new(replies).play(&two, brief());
        assert_eq!((played.text(), played.requests.len()), ("42", 5));
        assert_eq!(models(&played), [Some("small"), Some("small"), Some("middle"), Some("small"), None]);
        assert_eq!(played.requests[4].channel, Channel::Answer);
        assert!(!played.prompt(4).contains("40"), "each starts anew");
    }

    #[test]
    fn models_may_say_themselves_how_sure_they_are() {
        let sure = cascade(json!({"models": ["small", "middle"], "scorer": "self_report"}));
        let said =
            |answer: &str, confidence: u32| json!({"answer": answer, "confidence": confidence}).to_string();
        let played = Script::new([said("41", 3), said("42", 9)]).play(&sure, brief());
        assert_eq!((played.text(), played.purposes()), ("42", vec!["try", "try"]));
        let played = Script::new(["41", "", "42"]).play(&sure, brief());
        assert_eq!((played.text(), played.requests.len()), ("42", 3));
    }

    #[test]
    fn without_cheaper_models_it_is_one_call() {
        let played = Script::new(["42"]).play(&cascade(json!({})), brief());
        assert_eq!((played.purposes(), models(&played)), (vec!["answer"], vec![None]));
    }

    #[test]
    fn a_model_that_is_away_is_passed_over_and_a_limit_is_the_end() {
        let one = cascade(json!({"models": ["small"]}));
        let failure = |class| EffectFailure::new(class, "no");
        let nothing = || Script::new(Vec::<String>::new());
        let away = nothing().failing(failure(FailureClass::Unavailable)).play(&one, brief());
        assert_eq!(away.purposes(), ["try", "answer"]);
        let limited = nothing().failing(failure(FailureClass::LimitReached)).play(&one, brief());
        assert_eq!(limited.purposes(), ["try"]);
    }
}
