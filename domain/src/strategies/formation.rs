//! What goes before a strategy when other agents work on the task first.

use super::delegating::{ANSWERS_ARE_DATA, answer_of, answers};
use super::{Brief, StrategyError};
use crate::agents::AgentName;
use crate::effects::Effects;
use crate::runs::Formation;

/// The brief of the agent that answers, once the others of its formation have done their part.
pub(super) async fn prepared(mut brief: Brief, fx: &Effects) -> Result<Brief, StrategyError> {
    match brief.formation.take() {
        None => {}
        Some(Formation::Team(agents)) => brief.task = of_team(&brief.task, &agents, fx).await?,
        Some(Formation::Pipeline(agents)) => {
            for agent in &agents {
                let answer = answer_of(fx, agent.as_str(), &brief.task).await?;
                let name = agent.as_str();
                brief.task = format!("{}\n\n<answer of=\"{name}\">\n{answer}\n</answer>", brief.task);
            }
        }
    }
    Ok(brief)
}

/// The task with the answers of a team.
async fn of_team(task: &str, agents: &[AgentName], fx: &Effects) -> Result<String, StrategyError> {
    let outputs = fx.join(agents.iter().map(|agent| fx.agent(agent.as_str(), task))).await?;
    let tasks: Vec<_> = agents.iter().map(|agent| (agent.as_str().to_owned(), String::new())).collect();
    let answers = answers(&tasks, &outputs)?;
    Ok(format!("{task}\n\nOther agents have answered this task. {ANSWERS_ARE_DATA}\n\n{answers}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::{SubRunOutput, SubRunRequest};
    use crate::strategies::Strategy;
    use crate::strategies::scripted::{Played, Script, answered, brief};

    fn play(script: Script, formation: fn(Vec<AgentName>) -> Formation) -> Played {
        let agents = ["lawyer", "engineer"].map(|name| name.parse().expect("a name"));
        script.play(&Strategy::direct(), Brief { formation: Some(formation(agents.into())), ..brief() })
    }

    fn is_of(agent: &'static str) -> impl Fn(&SubRunRequest) -> SubRunOutput {
        move |request| {
            if request.agent == agent { answered("fine") } else { SubRunOutput::refused("away") }
        }
    }

    #[test]
    fn a_team_answers_at_the_same_time_and_who_makes_one_answer_of_it_sees_all() {
        let played = play(Script::new(["42"]), Formation::Team);
        assert_eq!(played.text(), "42");
        let asked: Vec<_> = played.runs.iter().map(|run| (run.agent.as_str(), run.task.as_str())).collect();
        assert_eq!(asked, [("lawyer", "What is 6 × 7?"), ("engineer", "What is 6 × 7?")]);
        let prompt = played.prompt(0);
        assert!(prompt.contains("lawyer did it") && prompt.contains("engineer did it"), "{prompt}");
        assert_eq!(played.requests.len(), 1);
    }

    #[test]
    fn who_of_a_team_has_no_answer_is_left_out_unless_nobody_has_one() {
        let played = play(Script::new(["42"]).with_agents(is_of("engineer")), Formation::Team);
        assert!(played.prompt(0).contains("(no answer)") && !played.prompt(0).contains("away"));
        let nobody = play(Script::new(["42"]).with_agents(is_of("nobody")), Formation::Team);
        let expected = StrategyError::NoAnswerOf { agent: "engineer".into(), reason: "away".into() };
        assert_eq!(nobody.result, Err(expected));
        assert!(nobody.requests.is_empty());
    }

    #[test]
    fn each_stage_of_a_pipeline_has_what_the_one_before_made() {
        let played = play(Script::new(["42"]), Formation::Pipeline);
        assert!(!played.runs[0].task.contains("did it"));
        assert!(played.runs[1].task.contains("lawyer did it"));
        assert!(played.prompt(0).contains("engineer did it"));
    }

    #[test]
    fn a_pipeline_ends_where_a_stage_has_no_answer() {
        let played = play(Script::new(["42"]).with_agents(is_of("engineer")), Formation::Pipeline);
        let expected = StrategyError::NoAnswerOf { agent: "lawyer".into(), reason: "away".into() };
        assert_eq!(played.result, Err(expected));
        assert_eq!((played.runs.len(), played.requests.len()), (1, 0));
    }
}
