//! Mixture of agents (Wang et al. 2024): layers of proposers that each see all proposals of the layer before, and an aggregator.
//!
//! A proposal that is empty or was cut off is left out; a layer without any is an error.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::asking::{answer, ask, ask_one_of_many, at_temperature, unparseable};
use super::kind::{About, Kind, Source, ToolUse};
use super::parameters::Parameter;
use super::{Answer, Brief, StrategyError};
use crate::effects::Effects;
use crate::model::ModelRequest;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Parameters {
    layers: u32,
    proposers: u32,
    models: Vec<String>,
    temperature: f64,
}

impl Kind for Parameters {
    const ABOUT: About = About {
        name: "Mixture of agents",
        summary: "Lets several models propose in layers, each seeing the layer before, and an aggregator answer.",
        use_when: "Open questions and texts, with different models to ask: several mediocre answers become a good one. It takes \
            many calls, and the first word of the answer comes late.",
        sources: &[Source::arxiv(
            "Wang et al.",
            2024,
            "Mixture-of-Agents Enhances Large Language Model Capabilities",
            "2406.04692",
        )],
        cost: "layers × proposers + 1",
        tools: ToolUse::Never,
        parameters: &[
            Parameter::integer("layers", 1..=4, 2, "How many layers of proposers there are."),
            Parameter::integer("proposers", 1..=8, 3, "How many proposals each layer makes."),
            Parameter::list(
                "models",
                8,
                &[],
                "The models that propose, in turn. Without any, and for the aggregator, it is the agent's model.",
            ),
            Parameter::number(
                "temperature",
                0.0..=2.0,
                0.7,
                "The temperature at which proposals are sampled.",
            ),
        ],
    };

    fn model_calls(&self) -> RangeInclusive<u32> {
        let calls = self.layers * self.proposers + 1;
        calls..=calls
    }

    async fn run(self, brief: Brief, fx: Effects) -> Result<Answer, StrategyError> {
        let mut responses = String::new();
        for layer in 0..self.layers {
            let messages = if layer == 0 {
                brief.about_task("", &[])
            } else {
                brief.about_task(SYNTHESIZE, &[("Responses", &responses)])
            };
            let models = self.models.iter().map(Some).cycle().chain([None].into_iter().cycle());
            let proposals: Vec<_> = (0..self.proposers)
                .zip(models)
                .map(|(_, model)| {
                    let request = ModelRequest::thought("propose", messages.clone()).to_model(model);
                    ask_one_of_many(&fx, at_temperature(request, self.temperature))
                })
                .collect();
            let proposals = fx.join(proposals).await?;
            responses.clear();
            for (number, proposal) in (1..).zip(proposals.iter().flatten()) {
                let _ = write!(
                    responses,
                    "{}{number}. {}",
                    if number == 1 { "" } else { "\n\n" },
                    proposal.trim()
                );
            }
            if responses.is_empty() {
                return Err(unparseable("propose", "every proposal of a layer is empty"));
            }
        }
        let messages = brief.about_task(SYNTHESIZE, &[("Responses", &responses)]);
        answer(&ask(&fx, ModelRequest::answer("aggregate", messages)).await?.text, "aggregate")
    }
}

const SYNTHESIZE: &str = "Several models have answered the task. Synthesize their responses into one answer of the highest quality. \
    Evaluate them critically, since some of what they say may be wrong; do not merely repeat them.";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Channel;
    use crate::strategies::scripted::{Script, brief, strategy};
    use crate::strategies::{AgentKind, Strategy};

    fn mixture(models: &[&str]) -> Strategy {
        strategy(AgentKind::MixtureOfAgents, json!({"layers": 2, "proposers": 3, "models": models}))
    }

    #[test]
    fn each_layer_sees_all_of_the_layer_before_and_none_of_its_own() {
        let played = Script::new(["a1", "b1", "c1", "a2", "b2", "c2", "42"]).play(&mixture(&[]), brief());
        assert_eq!((played.text(), &played.waves), ("42", &vec![3, 3, 1]));
        assert_eq!(played.purposes()[5..], ["propose", "aggregate"]);
        assert!(!played.prompt(2).contains("a1"));
        assert!(["1. a1", "2. b1", "3. c1"].iter().all(|said| played.prompt(4).contains(said)));
        assert!(played.prompt(6).contains("1. a2") && !played.prompt(6).contains("a1"));
        assert_eq!((played.requests[6].channel, played.requests[6].temperature), (Channel::Answer, None));
        assert_eq!(played.requests[0].temperature, Some(0.7));
    }

    #[test]
    fn models_propose_in_turn_and_the_agents_own_aggregates() {
        let played = Script::new(["a", "b", "c", "a", "b", "c", "42"]).play(&mixture(&["x", "y"]), brief());
        let models: Vec<_> = played.requests.iter().map(|request| request.model.as_deref()).collect();
        assert_eq!(models, [Some("x"), Some("y"), Some("x"), Some("x"), Some("y"), Some("x"), None]);
    }

    #[test]
    fn an_empty_proposal_is_left_out_and_an_empty_layer_is_the_end() {
        let played = Script::new(["a", " ", "c", "d", "e", "f", "42"]).play(&mixture(&[]), brief());
        assert!(played.prompt(3).contains("1. a\\n\\n2. c"));
        let played = Script::new(["", "", ""]).play(&mixture(&[]), brief());
        assert!(matches!(played.result, Err(StrategyError::Unparseable { .. })));
        assert_eq!(played.requests.len(), 3);
    }
}
