//! Debate (Du et al. 2023): several agents answer, then see each other's answers and answer again, round by round; at the end
//! a judge answers, or the majority.
//!
//! With `style` `sides`, as in Liang et al. 2023, they are not peers but argue for and against in turn. A vote counts the line
//! `Answer:` that each agent's last speech ends with; one without has no vote, equal counts go to the agent that comes first.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::asking::{answer, ask, unparseable};
use super::kind::{About, Kind, Source, ToolUse};
use super::parameters::Parameter;
use super::reading::{MARK_IT, majority, marked_answer};
use super::{Answer, Brief, StrategyError};
use crate::effects::Effects;
use crate::model::ModelRequest;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Parameters {
    agents: usize,
    rounds: u32,
    style: Style,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Style {
    Sides,
    Peers,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Judge,
    Vote,
}

impl Kind for Parameters {
    const ABOUT: About = About {
        name: "Debate",
        summary: "Lets several agents argue in rounds, then a judge or the majority answers.",
        use_when: "Decisions with good reasons on both sides (`sides`), and questions where agents can correct each other's \
            mistakes (`peers`).",
        sources: &[
            Source::arxiv(
                "Du et al.",
                2023,
                "Improving Factuality and Reasoning in Language Models through Multiagent Debate",
                "2305.14325",
            ),
            Source::arxiv(
                "Liang et al.",
                2023,
                "Encouraging Divergent Thinking in Large Language Models through Multi-Agent Debate",
                "2305.19118",
            ),
        ],
        cost: "agents × (1 + rounds), and 1 for the judge if there is one",
        tools: ToolUse::Never,
        parameters: &[
            Parameter::integer("agents", 2..=6, 2, "How many agents argue."),
            Parameter::integer("rounds", 0..=4, 1, "How often each answers the others, after its opening."),
            Parameter::choice(
                "style",
                &["sides", "peers"],
                "Whether the agents argue for and against in turn, or each looks for the right answer.",
            ),
            Parameter::choice(
                "verdict",
                &["judge", "vote"],
                "Whether one more call judges the debate, or the answer counts that most agents end with.",
            ),
        ],
    };

    fn model_calls(&self) -> RangeInclusive<u32> {
        let speeches = u32::try_from(self.agents).unwrap_or(u32::MAX) * (1 + self.rounds);
        let calls = speeches + u32::from(self.verdict == Verdict::Judge);
        calls..=calls
    }

    async fn run(self, brief: Brief, fx: Effects) -> Result<Answer, StrategyError> {
        let names: Vec<String> = (0..self.agents).map(|index| self.name(index)).collect();
        let mut transcript = String::new();
        let mut last = Vec::new();
        for round in 0..=self.rounds {
            let purpose = if round == 0 { "opening" } else { "rebuttal" };
            let prompt = prompt(&brief.task, &transcript);
            let speeches = names.iter().enumerate().map(|(index, name)| {
                let messages = brief.conversation(&self.guidance(index), &prompt);
                // A branch each: the keys that journals of debates have always had.
                ask(&fx.branch(), ModelRequest::thought(format!("{purpose}_{name}"), messages))
            });
            let speeches: Vec<_> = speeches.collect();
            last = fx.join(speeches).await?;
            for (name, speech) in names.iter().zip(&last) {
                let _ = write!(transcript, "\n\n[{name}, round {round}]\n{}", speech.text);
            }
        }
        if self.verdict == Verdict::Vote {
            let votes: Vec<String> = last.iter().filter_map(|speech| marked_answer(&speech.text)).collect();
            let most =
                majority(&votes).ok_or_else(|| unparseable("vote", "no speech has a line `Answer:`"))?;
            return Ok(Answer { text: most.clone() });
        }
        let judge = if self.style == Style::Sides { JUDGE_OF_SIDES } else { JUDGE_OF_PEERS };
        let messages = brief.conversation(judge, prompt(&brief.task, &transcript));
        answer(&ask(&fx, ModelRequest::answer("judge", messages)).await?.text, "judge")
    }
}

impl Parameters {
    fn name(&self, index: usize) -> String {
        match (self.style, index) {
            (Style::Peers, index) => format!("agent_{}", index + 1),
            (Style::Sides, 0) => "pro".into(),
            (Style::Sides, 1) => "con".into(),
            (Style::Sides, index) => format!("{}_{}", ["pro", "con"][index % 2], index / 2 + 1),
        }
    }

    fn guidance(&self, index: usize) -> String {
        let guidance = match self.style {
            Style::Peers => PEER,
            Style::Sides => SIDES[index % 2],
        };
        match self.verdict {
            Verdict::Judge => guidance.to_owned(),
            Verdict::Vote => format!("{guidance} {MARK_IT}"),
        }
    }
}

fn prompt(task: &str, transcript: &str) -> String {
    let debate = if transcript.is_empty() { "\n\nNobody has spoken yet." } else { transcript };
    format!("Task:\n{task}\n\nThe debate so far:{debate}")
}

const SIDES: [&str; 2] = [
    "You argue in favour. State the answer you hold to be right and make the strongest honest case. \
     Answer the other side's points, if there are any.",
    "You argue against. Attack the obvious answer and make the strongest honest case for another. \
     Answer the other side's points, if there are any.",
];
const PEER: &str = "You are one of several agents that look for the right answer. Give yours with your reasons. If others have \
    answered, examine their reasons, and keep or correct your answer.";
const JUDGE_OF_SIDES: &str = "You are the judge. Weigh both sides by their arguments, not their order or length, and \
    answer the task. The burden of proof is on pro: if the cases are equally strong, decide for con.";
const JUDGE_OF_PEERS: &str = "You are the judge. Weigh the answers by their reasons, not their order, length or number, and answer \
    the task. If the reasons are equally strong, decide for the answer that came first.";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::Channel;
    use crate::strategies::scripted::{Script, brief, strategy};
    use crate::strategies::{AgentKind, Strategy};

    fn debate(parameters: Value) -> Strategy {
        strategy(AgentKind::Debate, parameters)
    }

    #[test]
    fn sides_see_each_other_only_after_the_round_and_the_judge_all() {
        let played = Script::new(["P0", "C0", "P1", "C1", "42"]).play(&debate(json!({})), brief());
        assert_eq!(played.text(), "42");
        let purposes = ["opening_pro", "opening_con", "rebuttal_pro", "rebuttal_con", "judge"];
        assert_eq!((played.purposes(), &played.waves), (purposes.into(), &vec![2, 2, 1]));
        assert!(!played.prompt(1).contains("P0"));
        assert!(played.prompt(2).contains("C0") && !played.prompt(3).contains("P1"));
        assert!(["P0", "C0", "P1", "C1"].iter().all(|speech| played.prompt(4).contains(speech)));
        assert!(played.prompt(4).contains("equally strong, decide for con"));
        assert_eq!(played.requests[4].channel, Channel::Answer);
    }

    #[test]
    fn no_rounds_is_three_calls_and_an_empty_verdict_an_error() {
        let played = Script::new(["P0", "C0", ""]).play(&debate(json!({"rounds": 0})), brief());
        assert_eq!(played.requests.len(), 3);
        assert!(matches!(played.result, Err(StrategyError::Unparseable { .. })));
    }

    #[test]
    fn peers_vote_with_their_last_answers_and_a_tie_goes_to_the_first() {
        let voting = json!({"agents": 3, "style": "peers", "verdict": "vote"});
        let replies =
            ["Answer: 40", "Answer: 40", "Answer: 40", "Answer: 41", "I see.\nAnswer: 42", "answer 43"];
        let played = Script::new(replies).play(&debate(voting.clone()), brief());
        assert_eq!((played.text(), played.requests.len()), ("41", 6), "one vote each, the third has none");
        assert_eq!(played.purposes()[2..4], ["opening_agent_3", "rebuttal_agent_1"]);
        assert!(played.prompt(3).contains("[agent_2, round 0]") && played.prompt(0).contains(MARK_IT));
        let played = Script::new(["41"; 6]).play(&debate(voting), brief());
        assert!(matches!(played.result, Err(StrategyError::Unparseable { .. })));
    }

    #[test]
    fn more_than_two_take_sides_in_turn() {
        let played = Script::new(["x"; 5]).play(&debate(json!({"agents": 4, "rounds": 0})), brief());
        assert_eq!(
            played.purposes(),
            ["opening_pro", "opening_con", "opening_pro_2", "opening_con_2", "judge"]
        );
    }
}
