//! Direct: one call, the baseline that every other kind has to beat. No paper.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::asking::{answer, ask};
use super::kind::{About, Kind, ToolUse};
use super::{Answer, Brief, StrategyError};
use crate::effects::Effects;
use crate::model::ModelRequest;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Parameters {}

impl Kind for Parameters {
    const ABOUT: About = About {
        name: "Direct",
        summary: "Answers with a single model call.",
        use_when: "The model can answer as it is. Start here: every other kind has to be worth its calls.",
        sources: &[],
        cost: "1",
        tools: ToolUse::Never,
        parameters: &[],
    };

    fn model_calls(&self) -> RangeInclusive<u32> {
        1..=1
    }

    async fn run(self, brief: Brief, fx: Effects) -> Result<Answer, StrategyError> {
        let request = ModelRequest::answer("answer", brief.conversation("", &brief.task));
        answer(&ask(&fx, request).await?.text, "answer")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::effects::{EffectFailure, FailureClass};
    use crate::model::StopReason;
    use crate::strategies::scripted::{Script, brief, reply, strategy};
    use crate::strategies::{AgentKind, Strategy, StrategyError};

    fn direct() -> Strategy {
        strategy(AgentKind::Direct, json!({}))
    }

    #[test]
    fn one_call_with_instructions_and_task() {
        let played = Script::new(["42"]).play(&direct(), brief());
        assert_eq!(played.text(), "42");
        assert_eq!(played.purposes(), ["answer"]);
        assert!(played.prompt(0).contains("Be brief.") && played.prompt(0).contains("What is 6 × 7?"));
    }

    #[test]
    fn failures_pass_through() {
        let failure = EffectFailure::new(FailureClass::LimitReached, "no budget");
        let played = Script::new(Vec::<String>::new()).failing(failure.clone()).play(&direct(), brief());
        assert_eq!(played.result, Err(StrategyError::Effect(failure)));
    }

    #[test]
    fn empty_cut_and_filtered_replies_are_errors() {
        let error = |stop, text| {
            let mut cut = reply(text);
            cut.stop = stop;
            Script::of([cut]).play(&direct(), brief()).result.expect_err("no answer")
        };
        assert!(matches!(error(StopReason::EndTurn, " "), StrategyError::Unparseable { .. }));
        assert!(matches!(error(StopReason::MaxTokens, "4"), StrategyError::Truncated { .. }));
        assert!(matches!(error(StopReason::ContentFilter, "4"), StrategyError::Filtered { .. }));
    }
}
