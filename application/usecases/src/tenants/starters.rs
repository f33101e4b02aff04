//! The agents that every tenant starts with.

use std::time::Duration;

use chrono::{DateTime, Utc};
use powerhouse_domain::agents::{Agent, Definition};
use powerhouse_domain::ids::AgentId;
use powerhouse_domain::runs::RunLimits;
use powerhouse_domain::strategies::{AgentKind, Strategy};
use powerhouse_domain::tenants::Plan;
use serde_json::json;

use crate::Refused;

/// Name, kind, description, instructions, tools, examples.
type Starter =
    (&'static str, AgentKind, &'static str, &'static str, &'static [&'static str], &'static [&'static str]);

const STARTERS: [Starter; 4] = [
    (
        "assistant",
        AgentKind::React,
        "Answers everyday questions, and calculates, counts, tells the time and searches JSON with tools",
        "Answer briefly. Use a tool whenever one gives an exact result.",
        &["calculator", "current_time", "json_query", "text_statistics"],
        &["What is 12.5 % of 380?", "How many words are in this text?", "What time is it in Tokyo?"],
    ),
    (
        "planner",
        AgentKind::PlanAndExecute,
        "Breaks a large goal into steps and works through the plan",
        "Be concrete: name what is to be done, in which order.",
        &[],
        &["Plan the launch of a newsletter", "Organise a move to another office step by step"],
    ),
    (
        "writer",
        AgentKind::Reflection,
        "Writes, summarises and revises texts until a critic accepts them",
        "Write plainly. Keep to the facts that are given.",
        &[],
        &["Summarise this report", "Write an announcement", "Improve the wording of this letter"],
    ),
    (
        "debater",
        AgentKind::Debate,
        "Weighs a decision: argues for and against, then judges",
        "Name the strongest argument of each side.",
        &[],
        &["Should we rent or buy?", "Compare the pros and cons of both offers"],
    ),
];

/// Published agents within the limits of the plan.
pub(super) fn starters(
    plan: Plan,
    now: DateTime<Utc>,
    mut id: impl FnMut() -> AgentId,
) -> Result<Vec<Agent>, Refused> {
    let internal = |error: &dyn std::error::Error| Refused::Internal(format!("a starter agent: {error}"));
    let plan = plan.limits();
    let limits = RunLimits {
        steps: plan.max_run_steps,
        tokens: plan.max_run_tokens,
        cost_micros: 0,
        wall_clock: Duration::from_secs(plan.max_run_seconds.into()),
    };
    let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    STARTERS
        .iter()
        .map(|(name, kind, description, instructions, tools, examples)| {
            let definition = Definition {
                description: (*description).into(),
                strategy: Strategy::from_parameters(*kind, &json!({})).map_err(|error| internal(&error))?,
                instructions: (*instructions).into(),
                model: None,
                tools: owned(tools),
                capabilities: Vec::new(),
                approvals: Vec::new(),
                examples: owned(examples),
                limits,
                max_concurrent_runs: None,
                formation: None,
                agents: Vec::new(),
            };
            let name = name.parse().map_err(|error| internal(&error))?;
            let draft = Agent::draft(id(), name, definition, now).map_err(|error| internal(&error))?;
            draft.publish(now).map_err(|error| internal(&error))
        })
        .collect()
}
