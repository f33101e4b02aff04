//! Swarm: agents hand a task over to each other (OpenAI Swarm 2024), or vote on it.
//!
//! By handing over, the model answers, or calls the one tool `hand_over`, which returns an agent: that agent has the task from
//! then on, with what was said, and may hand it over again when it is of this kind itself. A call that names nobody of the list is
//! answered with why, once. By voting, all agents answer at the same time, and the answer that most have given counts when enough
//! have given it; a tie goes to the one that is listed first.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::asking::{answer, ask, unparseable};
use super::delegating::answer_of;
use super::kind::{About, Kind, Source, ToolUse};
use super::parameters::Parameter;
use super::reading::{MARK_IT, majority, marked_answer, plain, read_object};
use super::{Answer, Brief, StrategyError};
use crate::effects::Effects;
use crate::model::{Message, ModelRequest};
use crate::tools::ToolSpec;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Parameters {
    by: String,
    quorum: f64,
}

const HAND_OVER: &str = "hand_over";

#[derive(Deserialize)]
struct Handover {
    agent: String,
    #[serde(default)]
    note: String,
}

impl Kind for Parameters {
    const ABOUT: About = About {
        name: "Swarm",
        summary: "Agents without a manager: each may hand the task over to another one, or all vote on the answer.",
        use_when: "By handing over: conversations that start at one desk and belong to another. By voting: questions with a short \
            answer that can be compared, asked of agents that err in different ways.",
        sources: &[Source::web("OpenAI", 2024, "Swarm", "https://github.com/openai/swarm")],
        cost: "by handing over 1, or 2 when it named nobody; by voting none; and those of the others",
        tools: ToolUse::Never,
        parameters: &[
            Parameter::choice("by", &["handing_over", "voting"], "How the agents come to an answer."),
            Parameter::number(
                "quorum",
                0.0..=1.0,
                0.5,
                "By voting: the part of all agents that must have given the same answer, and more than none.",
            ),
        ],
    };

    fn model_calls(&self) -> RangeInclusive<u32> {
        if self.by == "voting" { 0..=0 } else { 1..=2 }
    }

    fn needs_agents(&self) -> bool {
        true
    }

    async fn run(self, brief: Brief, fx: Effects) -> Result<Answer, StrategyError> {
        if self.by == "voting" { self.vote(&brief, &fx).await } else { hand_over(&brief, &fx).await }
    }
}

impl Parameters {
    async fn vote(&self, brief: &Brief, fx: &Effects) -> Result<Answer, StrategyError> {
        brief.listed_agents()?;
        let task = format!("{}\n\n{MARK_IT}", brief.task);
        let asked: Vec<_> = brief.agents.iter().map(|agent| fx.agent(agent.name.as_str(), &task)).collect();
        let outputs = fx.join(asked).await?;
        let votes: Vec<String> = outputs
            .iter()
            .filter(|output| !output.is_error && !output.content.trim().is_empty())
            .map(|output| marked_answer(&output.content).unwrap_or_else(|| output.content.trim().to_owned()))
            .collect();
        let Some(winner) = majority(&votes) else {
            let (agent, output) = (&brief.agents[0], &outputs[0]);
            let (agent, reason) = (agent.name.as_str().to_owned(), output.content.clone());
            return Err(StrategyError::NoAnswerOf { agent, reason });
        };
        let count = votes.iter().filter(|vote| plain(vote) == plain(winner)).count();
        #[expect(clippy::cast_precision_loss, reason = "there are few agents")]
        let part = count as f64 / outputs.len() as f64;
        if part < self.quorum {
            return Err(StrategyError::NoQuorum { most: count, of: outputs.len() });
        }
        answer(winner, "vote")
    }
}

async fn hand_over(brief: &Brief, fx: &Effects) -> Result<Answer, StrategyError> {
    let tool = ToolSpec {
        name: HAND_OVER.into(),
        description: format!("Hands the task over to another agent for good:\n{}", brief.listed_agents()?),
        parameters: json!({
            "type": "object",
            "properties": {
                "agent": brief.agent_schema(&[]),
                "note": {"type": "string", "description": "What the agent needs to know beside the task."},
            },
            "required": ["agent"],
            "additionalProperties": false,
        }),
    };
    let mut messages = brief.conversation(GUIDANCE, &brief.task);
    for is_last in [false, true] {
        let request = ModelRequest::thought("handle", messages.clone()).with_tools(vec![tool.clone()]);
        let reply = ask(fx, request).await?;
        let Some(call) = reply.tool_calls.first() else { return answer(&reply.text, "handle") };
        let read = if call.name == HAND_OVER {
            read_object::<Handover>(&call.arguments).and_then(|to| brief.check_agent(&to.agent).map(|()| to))
        } else {
            Err(format!("there is no tool `{}`", call.name))
        };
        match read {
            Ok(Handover { agent, note }) => {
                let notes = [reply.text.trim(), note.trim()];
                let notes =
                    notes.into_iter().filter(|note| !note.is_empty()).collect::<Vec<_>>().join("\n\n");
                let task = if notes.is_empty() {
                    brief.task.clone()
                } else {
                    format!("{}\n\nWho handed it over says:\n{notes}", brief.task)
                };
                return answer(&answer_of(fx, &agent, &task).await?, HAND_OVER);
            }
            Err(reason) if is_last => return Err(unparseable("handle", reason)),
            Err(reason) => {
                let answers = reply.tool_calls.iter().map(|call| Message::Tool {
                    call_id: call.id.clone(),
                    content: format!("It was not handed over: {reason}."),
                });
                let answers = answers.collect::<Vec<_>>();
                messages
                    .push(Message::Assistant { content: reply.text, tool_calls: reply.tool_calls.clone() });
                messages.extend(answers);
            }
        }
    }
    Err(unparseable("handle", "it named nobody"))
}

const GUIDANCE: &str = "Answer the task if it is yours. If it is for one of the agents that you can hand it over to, hand it over \
    and do not answer.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::{SubRunOutput, SubRunRequest};
    use crate::strategies::AgentKind;
    use crate::strategies::scripted::{
        Played, Script, among_agents, answered, brief, calling, reply, strategy,
    };

    fn play(script: Script, parameters: serde_json::Value) -> Played {
        script.play(&strategy(AgentKind::Swarm, parameters), among_agents(&["billing", "law", "tax"]))
    }

    #[test]
    fn it_answers_what_is_its_own() {
        let played = play(Script::new(["42"]), json!({}));
        assert_eq!((played.text(), played.runs.len()), ("42", 0));
        assert_eq!(played.requests[0].tools.len(), 1);
        assert!(played.requests[0].tools[0].description.contains("- law: does law"));
    }

    #[test]
    fn who_it_is_handed_to_has_the_last_word() {
        let call = calling(&[(HAND_OVER, r#"{"agent": "law", "note": "Urgent."}"#)]);
        let played = play(Script::of([call]), json!({}));
        assert_eq!((played.text(), played.requests.len()), ("law did it", 1));
        assert!(played.runs[0].task.starts_with(&brief().task) && played.runs[0].task.ends_with("Urgent."));
    }

    #[test]
    fn a_call_that_names_nobody_is_answered_with_why_once() {
        let wrong = || calling(&[(HAND_OVER, r#"{"agent": "nobody"}"#)]);
        let played = play(Script::of([wrong(), reply("42")]), json!({}));
        assert_eq!((played.text(), played.requests.len()), ("42", 2));
        assert!(played.prompt(1).contains("there is no agent `nobody`"));
        for wrong in [wrong(), calling(&[("rm", "{}")]), calling(&[(HAND_OVER, "law")])] {
            let played = play(Script::of([wrong.clone(), wrong]), json!({}));
            assert!(matches!(played.result, Err(StrategyError::Unparseable { .. })));
            assert!(played.runs.is_empty());
        }
    }

    fn voting(votes: [&'static str; 3], quorum: f64) -> Played {
        let vote = move |run: &SubRunRequest| {
            let index = ["billing", "law", "tax"].iter().position(|agent| *agent == run.agent);
            match votes[index.expect("it is listed")] {
                "" => SubRunOutput::refused("away"),
                vote => answered(vote),
            }
        };
        play(Script::new([""]).with_agents(vote), json!({"by": "voting", "quorum": quorum}))
    }

    #[test]
    fn the_answer_that_most_have_given_counts_and_a_tie_goes_to_the_first_listed() {
        let played = voting(["Answer: 41", "So.\nAnswer: 42", "42."], 0.5);
        assert_eq!((played.text(), played.requests.len(), &played.waves), ("42", 0, &vec![3]));
        assert!(played.runs.iter().all(|run| run.task.ends_with(MARK_IT)));
        assert_eq!(voting(["a", "b", "c"], 0.3).text(), "a");
    }

    #[test]
    fn without_a_quorum_there_is_no_answer() {
        assert_eq!(voting(["a", "b", "c"], 0.5).result, Err(StrategyError::NoQuorum { most: 1, of: 3 }));
        // Who has no answer counts among all.
        assert_eq!(voting(["a", "", ""], 0.5).result, Err(StrategyError::NoQuorum { most: 1, of: 3 }));
        let nobody = voting(["", "", ""], 0.0).result;
        assert!(matches!(nobody, Err(StrategyError::NoAnswerOf { .. })));
    }
}
