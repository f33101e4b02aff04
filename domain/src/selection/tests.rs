//! The choice is deterministic, keeps to the wish, and says why.

use std::time::Duration;

use chrono::DateTime;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::agents::Definition;
use crate::runs::RunLimits;
use crate::strategies::Strategy;

fn agent(number: u128, name: &str, description: &str, capabilities: &[&str]) -> Agent {
    let definition = Definition {
        description: description.into(),
        strategy: Strategy::direct(),
        instructions: String::new(),
        model: None,
        tools: Vec::new(),
        capabilities: capabilities.iter().map(ToString::to_string).collect(),
        approvals: Vec::new(),
        examples: Vec::new(),
        limits: RunLimits { steps: 8, tokens: 1_000, cost_micros: 0, wall_clock: Duration::from_mins(1) },
        max_concurrent_runs: None,
        agents: Vec::new(),
    };
    let now = DateTime::UNIX_EPOCH;
    let id = AgentId::from_uuid(Uuid::from_u128(number));
    Agent::draft(id, name.parse().unwrap(), definition, now).map(|agent| agent.publish(now).unwrap()).unwrap()
}

fn office() -> Vec<Agent> {
    vec![
        agent(1, "assistant", "Answers everyday questions", &[]),
        agent(2, "bookkeeper", "Checks invoices, payments and taxes", &["finance"]),
        agent(3, "translator", "Translates letters between languages", &["language"]),
    ]
}

#[test]
fn the_agent_that_shares_the_tasks_words_wins_and_the_reason_names_them() {
    let selection = choose("Please check the invoice of May", &office(), &Wish::default()).unwrap();
    assert_eq!(selection.agent, office()[1].id());
    assert!(
        selection.reason.contains("bookkeeper") && selection.reason.contains("invoice"),
        "{}",
        selection.reason
    );
    assert_eq!(selection.scores.len(), 3);
    assert!(selection.scores[0].1 > selection.scores[1].1);
}

#[test]
fn without_a_shared_word_the_oldest_agent_serves_and_it_is_said() {
    let selection = choose("hm", &office(), &Wish::default()).unwrap();
    assert_eq!(selection.agent, office()[0].id());
    assert!(selection.reason.contains("oldest"), "{}", selection.reason);
}

#[test]
fn a_capability_and_candidates_bind() {
    let language = Wish { capabilities: vec!["language".into()], ..Wish::default() };
    assert_eq!(choose("check invoices", &office(), &language).unwrap().agent, office()[2].id());
    let only = Wish { candidates: vec![office()[0].id()], ..Wish::default() };
    assert_eq!(choose("check invoices", &office(), &only).unwrap().agent, office()[0].id());
    let neither = Wish { candidates: only.candidates, ..language };
    assert_eq!(choose("check invoices", &office(), &neither), Err(NoAgent));
    assert_eq!(choose("check invoices", &[], &Wish::default()), Err(NoAgent));
}

proptest! {
    #[test]
    fn the_order_of_the_agents_does_not_matter(task in "[a-z ]{0,40}", turn in 0_usize..3) {
        let mut turned = office();
        turned.rotate_left(turn);
        prop_assert_eq!(choose(&task, &turned, &Wish::default()), choose(&task, &office(), &Wish::default()));
    }

    #[test]
    fn no_task_breaks_it(task in "\\PC{0,200}") {
        let selection = choose(&task, &office(), &Wish::default()).unwrap();
        prop_assert!(selection.scores.iter().all(|(_, score)| score.is_finite() && *score >= 0.0));
    }
}
