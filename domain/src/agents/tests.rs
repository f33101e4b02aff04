//! The agent's life cycle under any sequence of changes, and the bounds of a definition.

use std::time::Duration;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::strategies::Strategy;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap()
}

fn definition(description: &str) -> Definition {
    Definition {
        description: description.into(),
        strategy: Strategy::direct(),
        instructions: String::new(),
        model: None,
        tools: vec!["calculator".into()],
        capabilities: Vec::new(),
        approvals: Vec::new(),
        examples: Vec::new(),
        limits: RunLimits { steps: 8, tokens: 1_000, cost_micros: 0, wall_clock: Duration::from_mins(1) },
        max_concurrent_runs: None,
        formation: None,
        agents: Vec::new(),
    }
}

fn drafted() -> Agent {
    let id = AgentId::from_uuid(Uuid::from_u128(1));
    Agent::draft(id, "helper".parse().unwrap(), definition("first"), at(0)).unwrap()
}

proptest! {
    #[test]
    fn versions_only_grow_published_ones_never_change_and_archived_is_final(
        changes in prop::collection::vec(prop::sample::select(
            &[AgentChange::Edit, AgentChange::Publish, AgentChange::Archive][..]), 0..24),
    ) {
        let mut agent = drafted();
        let mut published: Vec<PublishedVersion> = Vec::new();
        for (second, change) in (1..).zip(changes) {
            let before = agent.clone();
            let result = match change {
                AgentChange::Edit => agent.edit(definition(&format!("edit {second}"))),
                AgentChange::Publish => agent.publish(at(second)),
                AgentChange::Archive => agent.archive(at(second)),
            };
            agent = match result {
                Ok(after) => {
                    let was_archived = matches!(before.state(), AgentState::Archived { .. });
                    prop_assert!(!was_archived);
                    prop_assert_eq!(after.revision(), before.revision() + 1);
                    after
                }
                Err(refused) => {
                    prop_assert_eq!(&*refused.agent, &before);
                    *refused.agent
                }
            };
            if let Some(current) = agent.runnable() {
                match published.last() {
                    Some(last) if last.number == current.number => prop_assert_eq!(last, current),
                    last => {
                        prop_assert_eq!(current.number, last.map_or(1, |last| last.number + 1));
                        published.push(current.clone());
                    }
                }
            }
        }
    }

    #[test]
    fn a_name_is_what_its_rule_says(text in "\\PC{0,70}") {
        let valid = text.parse::<AgentName>().is_ok();
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        let rest = text.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_'));
        prop_assert_eq!(valid, first && rest && text.len() <= 63);
    }
}

#[test]
fn a_draft_does_not_run_and_an_edit_does_not_touch_what_runs() {
    let agent = drafted();
    assert!(agent.runnable().is_none());
    let agent = agent.publish(at(1)).unwrap().edit(definition("second")).unwrap();
    assert_eq!(agent.runnable().unwrap().definition.description, "first");
    let agent = agent.publish(at(2)).unwrap();
    assert_eq!((agent.runnable().unwrap().number, agent.revision()), (2, 4));
    assert_eq!(agent.publish(at(3)).unwrap_err().reason, AgentRefusal::NoDraft);
}

#[test]
fn a_definition_out_of_bounds_is_refused_by_name() {
    let refusal = |change: fn(&mut Definition)| {
        let mut bad = definition("x");
        change(&mut bad);
        drafted().edit(bad).unwrap_err().reason
    };
    let invalid = AgentRefusal::Invalid;
    assert_eq!(
        refusal(|d| d.description = "é".repeat(MAX_DESCRIPTION_CHARS + 1)),
        invalid(InvalidDefinition::TooLong { field: "description", max: MAX_DESCRIPTION_CHARS })
    );
    assert_eq!(
        refusal(|d| d.tools = vec!["a".into(), "a".into()]),
        invalid(InvalidDefinition::BadEntry { field: "tools" })
    );
    assert_eq!(
        refusal(|d| d.capabilities = (0..=MAX_LISTED).map(|n| n.to_string()).collect()),
        invalid(InvalidDefinition::TooMany { field: "capabilities" })
    );
    assert_eq!(refusal(|d| d.limits.steps = 0), invalid(InvalidDefinition::ZeroLimit { field: "steps" }));
    assert_eq!(refusal(|d| d.max_concurrent_runs = Some(0)), invalid(InvalidDefinition::NoRuns));
}

#[test]
fn every_kinds_default_parameters_survive_their_json() {
    for kind in crate::strategies::AgentKind::ALL.iter().copied() {
        let strategy = Strategy::from_parameters(kind, &serde_json::json!({})).unwrap();
        assert_eq!(Strategy::from_parameters(kind, &strategy.parameters()), Ok(strategy), "{kind}");
    }
}
