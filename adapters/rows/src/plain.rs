//! Work in the plain case, as PostgreSQL's function `record_work` reads it.

use chrono::{DateTime, NaiveDate, Utc};
use powerhouse_domain::model::Usage;
use powerhouse_domain::money::UsageKey;
use powerhouse_domain::runs::RunStatus;
use powerhouse_domain::webhooks::Announced;
use powerhouse_ports::store::{NewEvent, Plain, Work};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::rows::signed;
use crate::rows::stored::{StoredState, write};
use crate::rows::usage::agent_id;

/// Some of the work, as JSON.
pub struct Part {
    /// An array of it.
    pub json: String,
    /// For each item, which one it is of the whole.
    pub items: Vec<usize>,
}

/// The work in the order of its tenants, in parts of at most so many bytes, where each item is less than that.
pub fn parts(work: &[Plain<'_>], most: usize) -> Result<Vec<Part>, serde_json::Error> {
    let mut order: Vec<usize> = (0..work.len()).collect();
    order.sort_by_key(|index| work[*index].work.lease.scope().tenant_id());
    let mut parts: Vec<Part> = Vec::new();
    for index in order {
        let row = serde_json::to_string(&Row::from(&work[index]))?;
        match parts.last_mut().filter(|part| part.json.len() + row.len() < most) {
            Some(part) => {
                part.json.push(',');
                part.json.push_str(&row);
                part.items.push(index);
            }
            None => parts.push(Part { json: format!("[{row}"), items: vec![index] }),
        }
    }
    for part in &mut parts {
        part.json.push(']');
    }
    Ok(parts)
}

/// Work as the function `record_work` reads it.
#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "a row of a table")]
struct Row {
    tenant: Uuid,
    id: Uuid,
    token: i64,
    seen: u64,
    status: &'static str,
    state: Value,
    version: i64,
    input_tokens: i64,
    output_tokens: i64,
    cost_micros: i64,
    count: usize,
    is_progress: bool,
    is_running: bool,
    is_announced: bool,
    is_free: bool,
    rules: Option<i64>,
    due_at: Option<DateTime<Utc>>,
    events: Vec<EventRow>,
    used: Vec<UsedRow>,
}

#[derive(Serialize)]
struct EventRow {
    at: DateTime<Utc>,
    body: Value,
}

impl From<&NewEvent> for EventRow {
    fn from(event: &NewEvent) -> Self {
        Self { at: event.at, body: write(&event.body) }
    }
}

#[derive(Serialize)]
struct UsedRow {
    day: NaiveDate,
    agent: Uuid,
    by: Uuid,
    model: String,
    calls: u64,
    input: u64,
    output: u64,
    cost: u64,
}

impl From<&(UsageKey, u64, Usage)> for UsedRow {
    fn from((key, calls, usage): &(UsageKey, u64, Usage)) -> Self {
        Self {
            day: key.day,
            agent: agent_id(key.agent),
            by: key.user.as_uuid(),
            model: key.model.clone(),
            calls: *calls,
            input: usage.input_tokens,
            output: usage.output_tokens,
            cost: usage.cost_micros,
        }
    }
}

impl From<&Plain<'_>> for Row {
    fn from(plain: &Plain<'_>) -> Self {
        let Work { lease, run, events, rules } = plain.work;
        let (status, usage) = (run.state().name(), run.usage());
        Self {
            tenant: lease.scope().tenant_id().as_uuid(),
            id: run.id().as_uuid(),
            seen: plain.seen,
            token: signed(lease.token().0),
            status: status.as_str(),
            state: write(&StoredState::from(run.state())),
            version: signed(run.version()),
            input_tokens: signed(usage.input_tokens),
            output_tokens: signed(usage.output_tokens),
            cost_micros: signed(usage.cost_micros),
            count: events.len(),
            is_progress: events.iter().any(|event| event.body.is_progress()),
            is_running: status == RunStatus::Running,
            is_announced: events.iter().any(|event| Announced::of(&event.body).is_some()),
            is_free: plain.is_free,
            rules: rules.map(signed),
            due_at: run.due_at(),
            events: events.iter().map(EventRow::from).collect(),
            used: plain.used.iter().map(UsedRow::from).collect(),
        }
    }
}
