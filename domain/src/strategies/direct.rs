//! Direct: one call, the baseline that every other kind has to beat. No paper.

use super::{Answer, Brief, StrategyError, answer, ask};
use crate::effects::Effects;
use crate::model::ModelRequest;

pub(super) async fn run(brief: Brief, fx: Effects) -> Result<Answer, StrategyError> {
    let request = ModelRequest::answer("answer", brief.conversation("", &brief.task));
    answer(&ask(&fx, request).await?.text, "answer")
}

#[cfg(test)]
mod tests {
    use crate::effects::{EffectFailure, FailureClass};
    use crate::model::StopReason;
    use crate::strategies::scripted::{Script, brief, reply};
    use crate::strategies::{Strategy, StrategyError};

    #[test]
    fn one_call_with_instructions_and_task() {
        let played = Script::new(["42"]).play(Strategy::Direct, brief());
        assert_eq!(played.text(), "42");
        assert_eq!(played.purposes(), ["answer"]);
        assert!(played.prompt(0).contains("Be brief.") && played.prompt(0).contains("What is 6 × 7?"));
    }

    #[test]
    fn failures_pass_through() {
        let failure = EffectFailure { class: FailureClass::LimitReached, message: "no budget".into() };
        let played =
            Script::new(Vec::<String>::new()).failing(failure.clone()).play(Strategy::Direct, brief());
        assert_eq!(played.result, Err(StrategyError::Effect(failure)));
    }

    #[test]
    fn empty_cut_and_filtered_replies_are_errors() {
        let error = |stop, text| {
            let mut cut = reply(text);
            cut.stop = stop;
            Script::of([cut]).play(Strategy::Direct, brief()).result.expect_err("no answer")
        };
        assert!(matches!(error(StopReason::EndTurn, " "), StrategyError::Unparseable { .. }));
        assert!(matches!(error(StopReason::MaxTokens, "4"), StrategyError::Truncated { .. }));
        assert!(matches!(error(StopReason::ContentFilter, "4"), StrategyError::Filtered { .. }));
    }
}
