//! Self-consistency (Wang et al. 2022): several chains of thought, sampled at the same time, and the answer of most of them.
//!
//! A sample that cannot be read has no vote; without any vote there is no answer. Equal counts go to the answer that was
//! given first, in the order of the samples.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::asking::{ask_one_of_many, at_temperature, unparseable};
use super::chain_of_thought::reasoning_prompt;
use super::kind::{About, Kind, Source, ToolUse};
use super::parameters::Parameter;
use super::reading::{MARK_IT, majority, marked_answer};
use super::{Answer, Brief, StrategyError};
use crate::effects::Effects;
use crate::model::ModelRequest;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Parameters {
    samples: u32,
    temperature: f64,
}

impl Kind for Parameters {
    const ABOUT: About = About {
        name: "Self-consistency",
        summary: "Samples several chains of thought at the same time and gives the answer of most of them.",
        use_when: "Questions with one short answer that can be compared: a number, a name, a choice. Not for texts, of which no \
            two are the same.",
        sources: &[Source::arxiv(
            "Wang et al.",
            2022,
            "Self-Consistency Improves Chain of Thought Reasoning in Language Models",
            "2203.11171",
        )],
        cost: "samples",
        tools: ToolUse::Never,
        parameters: &[
            Parameter::integer("samples", 1..=40, 5, "How many chains of thought are sampled."),
            Parameter::number("temperature", 0.0..=2.0, 0.7, "The temperature at which they are sampled."),
        ],
    };

    fn model_calls(&self) -> RangeInclusive<u32> {
        self.samples..=self.samples
    }

    async fn run(self, brief: Brief, fx: Effects) -> Result<Answer, StrategyError> {
        let prompt = format!("{}\n\n{MARK_IT}", reasoning_prompt(&brief.task));
        let request = ModelRequest::thought("sample", brief.conversation("", prompt));
        let request = at_temperature(request, self.temperature);
        let samples: Vec<_> = (0..self.samples).map(|_| ask_one_of_many(&fx, request.clone())).collect();
        let samples = fx.join(samples).await?;
        let answers: Vec<String> =
            samples.iter().flatten().filter_map(|sample| marked_answer(sample)).collect();
        let most =
            majority(&answers).ok_or_else(|| unparseable("sample", "no sample has a line `Answer:`"))?;
        Ok(Answer { text: most.clone() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::StopReason;
    use crate::strategies::scripted::{Script, brief, reply, strategy};
    use crate::strategies::{AgentKind, Strategy};

    fn sampling(samples: u32) -> Strategy {
        strategy(AgentKind::SelfConsistency, json!({ "samples": samples }))
    }

    #[test]
    fn as_many_calls_as_samples_all_alike_and_at_the_temperature() {
        let played =
            Script::new(["Answer: 41", "Answer: 42", "So.\nAnswer: 42."]).play(&sampling(3), brief());
        assert_eq!((played.text(), played.purposes()), ("42", vec!["sample"; 3]));
        assert!(played.requests.iter().all(|request| *request == played.requests[0]));
        assert_eq!(played.requests[0].temperature, Some(0.7));
        assert!(played.prompt(0).contains("step by step") && played.prompt(0).contains(MARK_IT));
    }

    #[test]
    fn a_tie_goes_to_the_answer_that_was_first() {
        let replies = ["Answer: b", "Answer: a", "Answer: A", "Answer: B"];
        assert_eq!(Script::new(replies).play(&sampling(4), brief()).text(), "b");
        let many = (0..40).map(|sample| format!("Answer: {}", 39 - sample));
        let played = Script::new(many).backwards().play(&sampling(40), brief());
        assert_eq!((played.text(), &played.waves), ("39", &vec![40]), "whoever ends first");
    }

    #[test]
    fn a_sample_that_cannot_be_read_has_no_vote_and_without_a_vote_there_is_no_answer() {
        let mut cut = reply("Answer: 41");
        cut.stop = StopReason::MaxTokens;
        let played = Script::of([reply("41"), cut, reply("Answer: 42")]).play(&sampling(3), brief());
        assert_eq!(played.text(), "42");
        let played = Script::new(["42", "Answer:"]).play(&sampling(2), brief());
        assert!(matches!(played.result, Err(StrategyError::Unparseable { .. })));
    }
}
