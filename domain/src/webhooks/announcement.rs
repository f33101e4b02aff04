//! What is said of a run: its summary, never its task, its answer or what its steps gave.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::Announced;
use crate::ids::{MessageId, RunId, derived_uuid};
use crate::runs::{Run, RunState};

/// A run as endpoints are told of it. Whoever wants to know more asks the API, with rights of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunSummary {
    id: String,
    status: &'static str,
    agent: String,
    agent_version: u32,
    requested_by: String,
    /// Why it has failed, as a code.
    failure: Option<String>,
    input_tokens: u64,
    output_tokens: u64,
    cost_micros: u64,
    created_at: String,
    started_at: Option<String>,
    ended_at: Option<String>,
}

impl From<&Run> for RunSummary {
    fn from(run: &Run) -> Self {
        let (failure, ended_at) = match run.state() {
            RunState::Queued | RunState::Running { .. } | RunState::Waiting { .. } => (None, None),
            RunState::Failed { failure, ended_at, .. } => (Some(failure.code.clone()), Some(*ended_at)),
            RunState::Succeeded { ended_at, .. }
            | RunState::Cancelled { ended_at, .. }
            | RunState::TimedOut { ended_at, .. } => (None, Some(*ended_at)),
        };
        Self {
            id: run.id().to_string(),
            status: run.state().name().as_str(),
            agent: run.selection().agent.to_string(),
            agent_version: run.selection().agent_version,
            requested_by: run.requested_by().to_string(),
            failure,
            input_tokens: run.usage().input_tokens,
            output_tokens: run.usage().output_tokens,
            cost_micros: run.usage().cost_micros,
            created_at: instant(run.created_at()),
            started_at: run.state().started_at().map(instant),
            ended_at: ended_at.map(instant),
        }
    }
}

#[derive(Serialize)]
struct Payload<'a> {
    r#type: &'static str,
    timestamp: String,
    data: &'a serde_json::Value,
}

/// One event, as it is sent to every endpoint that wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Names it, to whoever gets it twice.
    pub message: MessageId,
    /// What happened.
    pub event: Announced,
    /// To which run.
    pub run: Option<RunId>,
    /// When.
    pub at: DateTime<Utc>,
    /// What is sent, byte for byte: it is signed.
    pub payload: String,
}

impl Announcement {
    /// Of an event with this place in a run's journal. Whoever writes it makes the same message of it.
    pub fn of_run(event: Announced, run: &Run, seq: u64, at: DateTime<Utc>) -> Self {
        let id = derived_uuid(at, &[b"announcement", run.id().as_uuid().as_bytes(), &seq.to_be_bytes()]);
        let data = serde_json::to_value(RunSummary::from(run)).unwrap_or_default();
        Self::new(MessageId::from_uuid(id), event, Some(run.id()), at, &data)
    }

    /// For trying an endpoint.
    pub fn test(message: MessageId, at: DateTime<Utc>) -> Self {
        Self::new(message, Announced::Test, None, at, &serde_json::json!({}))
    }

    fn new(
        message: MessageId,
        event: Announced,
        run: Option<RunId>,
        at: DateTime<Utc>,
        data: &serde_json::Value,
    ) -> Self {
        let payload = Payload { r#type: event.as_str(), timestamp: instant(at), data };
        let payload = serde_json::to_string(&payload).unwrap_or_default();
        Self { message, event, run, at, payload }
    }
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}
