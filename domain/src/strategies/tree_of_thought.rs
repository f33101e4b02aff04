//! Tree of thoughts (Yao et al. 2023): thoughts are proposed and valued, and the best are followed, breadth first with a beam or
//! depth first with a threshold.
//!
//! Proposals that cannot be read are a dead end, a value that cannot be read is the lowest. Of equal values the thought comes
//! first that was proposed first. Without a single thought there is no answer.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::asking::{answer, ask, ask_one_of_many, integer, list, object, text, unparseable};
use super::kind::{About, Kind, Source, ToolUse};
use super::parameters::Parameter;
use super::reading::read_object;
use super::{Answer, Brief, StrategyError};
use crate::effects::Effects;
use crate::model::ModelRequest;

/// The highest value of a thought; one that cannot be read has none.
const BEST: u32 = 10;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Parameters {
    search: Search,
    depth: usize,
    branches: usize,
    beam: usize,
    threshold: u32,
    max_states: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Search {
    Breadth,
    Depth,
}

impl Kind for Parameters {
    const ABOUT: About = About {
        name: "Tree of thoughts",
        summary: "Proposes thoughts, values them and follows the best, breadth first or depth first.",
        use_when: "Puzzles and plans in which a wrong first step cannot be made good later, and steps can be judged on the way. It \
            takes many calls: try `self_consistency` before.",
        sources: &[Source::arxiv(
            "Yao et al.",
            2023,
            "Tree of Thoughts: Deliberate Problem Solving with Large Language Models",
            "2305.10601",
        )],
        cost: "for each state that is expanded 1 to propose and up to `branches` to value, then 1 for the answer. Breadth first, 1 \
            state is expanded at the first level and up to `beam` at each of the others; depth first, up to max_states",
        tools: ToolUse::Never,
        parameters: &[
            Parameter::choice("search", &["breadth", "depth"], "The order of the search."),
            Parameter::integer("depth", 1..=5, 2, "How many thoughts lead to an answer."),
            Parameter::integer("branches", 1..=5, 3, "How many thoughts are proposed for each state."),
            Parameter::integer("beam", 1..=5, 2, "Breadth first: how many states of a level are kept."),
            Parameter::integer(
                "threshold",
                1..=10,
                6,
                "Depth first: the least value of a thought that is followed.",
            ),
            Parameter::integer("max_states", 1..=64, 8, "Depth first: how many states are expanded at most."),
        ],
    };

    fn model_calls(&self) -> RangeInclusive<u32> {
        let count = |states: usize| u32::try_from(states).unwrap_or(u32::MAX);
        let expanded = match self.search {
            Search::Breadth => {
                let levels =
                    std::iter::successors(Some(1), |states| Some(self.beam.min(states * self.branches)));
                count(levels.take(self.depth).sum())
            }
            Search::Depth => {
                let levels = std::iter::successors(Some(1), |states| Some(states * self.branches));
                count(levels.take(self.depth).sum()).min(self.max_states)
            }
        };
        3..=expanded * (1 + count(self.branches)) + 1
    }

    async fn run(self, brief: Brief, fx: Effects) -> Result<Answer, StrategyError> {
        let tree = Tree { parameters: &self, brief: &brief, fx: &fx };
        let best = match self.search {
            Search::Breadth => tree.breadth_first().await?,
            Search::Depth => tree.depth_first().await?,
        };
        let best = best.ok_or_else(|| unparseable("propose", "no thought can be read"))?;
        let messages = brief.about_task(ANSWER, &[("Thoughts so far", &best.shown())]);
        answer(&ask(&fx, ModelRequest::answer("answer", messages)).await?.text, "answer")
    }
}

/// Thoughts that lead from the task to here.
#[derive(Clone, Debug, Default)]
struct State {
    thoughts: Vec<String>,
    /// Of the last thought.
    value: u32,
}

impl State {
    fn shown(&self) -> String {
        let numbered =
            (1..).zip(&self.thoughts).map(|(number, thought): (u32, _)| format!("{number}. {thought}"));
        numbered.collect::<Vec<_>>().join("\n")
    }
}

struct Tree<'a> {
    parameters: &'a Parameters,
    brief: &'a Brief,
    fx: &'a Effects,
}

impl Tree<'_> {
    async fn breadth_first(&self) -> Result<Option<State>, StrategyError> {
        let mut kept = vec![State::default()];
        for _ in 0..self.parameters.depth {
            let mut children = self.expand(&kept).await?;
            if children.is_empty() {
                break;
            }
            children.truncate(self.parameters.beam);
            kept = children;
        }
        Ok(kept.into_iter().next().filter(|state| !state.thoughts.is_empty()))
    }

    /// The first state at the full depth whose thoughts all reach the threshold; else the deepest, and of these the best.
    async fn depth_first(&self) -> Result<Option<State>, StrategyError> {
        let Parameters { depth, threshold, max_states, .. } = *self.parameters;
        let mut open = vec![State::default()];
        let mut best: Option<State> = None;
        let mut expanded = 0;
        while let Some(state) = open.pop() {
            if state.thoughts.len() == depth {
                return Ok(Some(state));
            }
            if expanded == max_states {
                break;
            }
            expanded += 1;
            let children = self.expand(&[state]).await?;
            for child in &children {
                let is_better = best.as_ref().is_none_or(|best| {
                    (child.thoughts.len(), child.value) > (best.thoughts.len(), best.value)
                });
                if is_better {
                    best = Some(child.clone());
                }
            }
            // The last in is the first out.
            open.extend(children.into_iter().filter(|child| child.value >= threshold).rev());
        }
        Ok(best)
    }

    /// The children of these states, the best first.
    async fn expand(&self, states: &[State]) -> Result<Vec<State>, StrategyError> {
        let most = self.parameters.branches;
        let proposals: Vec<_> = states.iter().map(|state| self.propose(state)).collect();
        let proposals = self.fx.join(proposals).await?;
        let mut children: Vec<State> = Vec::new();
        for (state, proposal) in states.iter().zip(proposals) {
            let proposed = proposal.and_then(|text| read_object::<Proposal>(&text).ok());
            let thoughts = proposed.map(|proposed| proposed.thoughts).unwrap_or_default();
            for thought in thoughts.into_iter().filter(|thought| !thought.trim().is_empty()).take(most) {
                let thoughts = state.thoughts.iter().cloned().chain([thought]).collect();
                children.push(State { thoughts, value: 0 });
            }
        }
        let values: Vec<_> = children.iter().map(|child| self.value(child)).collect();
        for (child, reply) in children.iter_mut().zip(self.fx.join(values).await?) {
            let read = reply.and_then(|text| read_object::<Valuation>(&text).ok());
            child.value = read.map(|read| read.value).filter(|value| *value <= BEST).unwrap_or(0);
        }
        children.sort_by_key(|child| std::cmp::Reverse(child.value));
        Ok(children)
    }

    fn propose(
        &self,
        state: &State,
    ) -> impl Future<Output = Result<Option<String>, StrategyError>> + Send + 'static + use<> {
        let Parameters { depth, branches, .. } = *self.parameters;
        let guidance = format!(
            "Propose {branches} different next thoughts that could lead to the answer; {depth} thoughts in all must suffice. A thought \
             is one step, not the whole way. Reply with JSON: {{\"thoughts\": [\"...\"]}}."
        );
        let messages = self.brief.about_task(&guidance, &[("Thoughts so far", &state.shown())]);
        let most = u32::try_from(branches).unwrap_or(u32::MAX);
        let schema = object([("thoughts", list(&text(), 1, most))]);
        ask_one_of_many(self.fx, ModelRequest::thought("propose", messages).with_schema("thoughts", schema))
    }

    fn value(
        &self,
        state: &State,
    ) -> impl Future<Output = Result<Option<String>, StrategyError>> + Send + 'static + use<> {
        let messages = self.brief.about_task(VALUE, &[("Thoughts so far", &state.shown())]);
        ask_one_of_many(
            self.fx,
            ModelRequest::thought("value", messages).with_schema("value", value_schema()),
        )
    }
}

#[derive(Deserialize)]
struct Proposal {
    thoughts: Vec<String>,
}

#[derive(Deserialize)]
struct Valuation {
    value: u32,
}

fn value_schema() -> Value {
    object([("reason", text()), ("value", integer(1, BEST))])
}

const VALUE: &str = "Judge how likely these thoughts lead to the right answer, from 1 (impossible) to 10 (sure). Reply with JSON: \
    {\"reason\": \"...\", \"value\": 1 to 10}.";
const ANSWER: &str = "Answer the task, following these thoughts.";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::strategies::scripted::{Script, brief, strategy};
    use crate::strategies::{AgentKind, Strategy};

    fn tree(parameters: Value) -> Strategy {
        strategy(AgentKind::TreeOfThought, parameters)
    }

    fn thoughts(of: &[&str]) -> String {
        json!({ "thoughts": of }).to_string()
    }

    fn valued(value: u32) -> String {
        json!({"reason": "", "value": value}).to_string()
    }

    #[test]
    fn breadth_first_values_all_keeps_the_beam_and_follows_it() {
        let replies = [
            thoughts(&["a", "b", "c"]),
            valued(3),
            valued(9),
            valued(5),
            thoughts(&["b1", "b2"]),
            thoughts(&["c1"]),
            valued(2),
            valued(7),
            valued(8),
            "42".into(),
        ];
        let played = Script::new(replies).play(&tree(json!({})), brief());
        assert_eq!((played.text(), &played.waves), ("42", &vec![1, 3, 2, 3, 1]));
        assert!(
            played.prompt(4).contains("1. b") && played.prompt(5).contains("1. c"),
            "b and c are the beam"
        );
        assert!(played.prompt(9).contains("1. c\\n2. c1"), "the best of the last level");
    }

    #[test]
    fn a_tie_goes_to_the_thought_that_was_proposed_first() {
        let replies = [thoughts(&["a", "b"]), valued(5), valued(5), "42".into()];
        let played = Script::new(replies).play(&tree(json!({"depth": 1, "branches": 2})), brief());
        assert!(played.prompt(3).contains("1. a"));
    }

    #[test]
    fn depth_first_follows_the_best_turns_back_below_the_threshold_and_stops_at_the_first_way() {
        let replies = [
            thoughts(&["a", "b"]),
            valued(7),
            valued(9),
            thoughts(&["b1"]),
            valued(2),
            thoughts(&["a1", "a2"]),
            valued(6),
            valued(1),
            "42".into(),
        ];
        let deep = tree(json!({"search": "depth", "branches": 2}));
        let played = Script::new(replies).play(&deep, brief());
        assert_eq!((played.text(), played.requests.len()), ("42", 9));
        assert!(played.prompt(3).contains("1. b") && played.prompt(5).contains("1. a"));
        assert!(played.prompt(8).contains("1. a\\n2. a1"));
    }

    #[test]
    fn depth_first_ends_with_the_deepest_and_best_when_nothing_reaches_the_threshold_or_states_run_out() {
        let replies = [thoughts(&["a", "b"]), valued(3), valued(4), "42".into()];
        let deep = tree(json!({"search": "depth", "branches": 2}));
        let played = Script::new(replies).play(&deep, brief());
        assert!(played.requests.len() == 4 && played.prompt(3).contains("1. b"));
        let one_state = tree(json!({"search": "depth", "branches": 2, "max_states": 1}));
        let played = Script::new([thoughts(&["a"]), valued(9), "42".into()]).play(&one_state, brief());
        assert_eq!((played.requests.len(), one_state.max_model_calls()), (3, 4));
    }

    #[test]
    fn what_cannot_be_read_is_a_dead_end_or_the_lowest_value() {
        let replies = [
            thoughts(&["a", "b"]),
            "good".into(),
            valued(1),
            "no thoughts".into(),
            String::new(),
            "42".into(),
        ];
        let played = Script::new(replies).play(&tree(json!({"branches": 2})), brief());
        assert_eq!((played.text(), played.requests.len()), ("42", 6));
        assert!(played.prompt(5).contains("1. b") && !played.prompt(5).contains("2."));
        let played = Script::new(["no thoughts"]).play(&tree(json!({})), brief());
        assert!(matches!(played.result, Err(StrategyError::Unparseable { .. })));
        assert_eq!(played.requests.len(), 1);
    }

    #[test]
    fn the_most_calls_are_those_of_a_full_search() {
        assert_eq!(
            tree(json!({"depth": 3, "branches": 3, "beam": 2})).max_model_calls(),
            (1 + 2 + 2) * 4 + 1
        );
        let deep = json!({"search": "depth", "depth": 3, "branches": 2, "max_states": 64});
        assert_eq!(tree(deep).max_model_calls(), (1 + 2 + 4) * 3 + 1);
    }
}
