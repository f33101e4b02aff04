//! A run's journal as a document: all that is needed to replay the run, without the server that it comes from.

use chrono::{DateTime, Utc};
use powerhouse_domain::runs::{EventBody, EventHash, Recorded, Recording, Run, RunEvent};
use powerhouse_domain::strategies::{AgentKind, Brief, Strategy};
use powerhouse_domain::threads::Conversation;
use powerhouse_domain::tools::ToolSpec;
use powerhouse_usecases::runs::RecordRun;
use salvo::oapi::{ToSchema, endpoint};
use salvo::prelude::{Depot, Request};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::body::id;
use crate::guard::principal;
use crate::problem::Problem;
use crate::reply::{Reply, instant};
use crate::routes::runs::formation::{FormationBody, SubAgentBody};

/// The form that is written, and the only one that is read.
const FORMAT: u32 = 1;

/// A run's journal with all that a replay needs.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[salvo(schema(name = "Journal"))]
pub struct JournalDocument {
    /// The form of this document: 1.
    format: u32,
    /// The run.
    run: String,
    /// Where the run was when this was written.
    status: String,
    /// What was to be done.
    task: String,
    /// Who did it.
    agent: JournalAgent,
    /// The agents that worked on the task before it, if any did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    formation: Option<FormationBody>,
    /// The tools that the agent is offered, as they are described now.
    tools: Vec<JournalTool>,
    /// What happened, in order.
    events: Vec<JournalEvent>,
    /// The event hash of all of it.
    event_hash: String,
}

/// The version of an agent that a run uses.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
struct JournalAgent {
    /// The agent.
    id: String,
    /// The version of its definition.
    version: u32,
    /// The agent's kind.
    kind: String,
    /// The kind's parameters.
    #[salvo(schema(value_type = Object))]
    parameters: Value,
    /// What it is told before every task.
    instructions: String,
    /// The agents that its runs may begin runs of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    agents: Vec<SubAgentBody>,
}

/// A tool as a model is offered it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
struct JournalTool {
    name: String,
    description: String,
    /// JSON Schema of its arguments.
    #[salvo(schema(value_type = Object))]
    parameters: Value,
}

/// An event as it is stored.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
struct JournalEvent {
    /// Its place: 1, 2, 3, …
    seq: u64,
    /// When it was written.
    at: String,
    /// What happened.
    #[salvo(schema(value_type = Object))]
    body: Value,
    /// The event hash up to here.
    hash: String,
}

/// Why a document cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotReplayable {
    /// It is of another form.
    Format(u32),
    /// A part of it is not what it must be.
    Part {
        /// The part.
        pointer: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl std::fmt::Display for NotReplayable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Format(format) => {
                write!(f, "it is a journal of form {format}, and this release reads form {FORMAT}")
            }
            Self::Part { pointer, reason } => write!(f, "{pointer} is not what it must be: {reason}"),
        }
    }
}

impl std::error::Error for NotReplayable {}

fn part<E: std::fmt::Display>(pointer: impl Into<String>) -> impl FnOnce(E) -> NotReplayable {
    move |error| NotReplayable::Part { pointer: pointer.into(), reason: error.to_string() }
}

impl JournalDocument {
    fn new(run: &Run, recording: &Recording) -> Self {
        let Recording { strategy, brief, journal } = recording;
        let tools = brief
            .tools
            .iter()
            .cloned()
            .map(|ToolSpec { name, description, parameters }| JournalTool { name, description, parameters });
        let events =
            journal.iter().map(|Recorded { event: RunEvent { seq, at, body }, hash }| JournalEvent {
                seq: *seq,
                at: instant(*at),
                // Its stored form: it cannot fail, since every key is a string.
                body: serde_json::to_value(body).unwrap_or_default(),
                hash: hash.to_string(),
            });
        Self {
            format: FORMAT,
            run: run.id().to_string(),
            status: run.state().name().to_string(),
            task: brief.task.clone(),
            agent: JournalAgent {
                id: run.selection().agent.to_string(),
                version: run.selection().agent_version,
                kind: strategy.kind().as_str().to_owned(),
                parameters: strategy.parameters(),
                instructions: brief.instructions.clone(),
                agents: brief.agents.iter().map(SubAgentBody::from).collect(),
            },
            formation: brief.formation.as_ref().map(FormationBody::from),
            tools: tools.collect(),
            events: events.collect(),
            event_hash: recording.hash().to_string(),
        }
    }

    /// The run.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// What a replay needs.
    pub fn into_recording(self) -> Result<Recording, NotReplayable> {
        if self.format != FORMAT {
            return Err(NotReplayable::Format(self.format));
        }
        let kind: AgentKind = self.agent.kind.parse().map_err(part("/agent/kind"))?;
        let strategy =
            Strategy::from_parameters(kind, &self.agent.parameters).map_err(part("/agent/parameters"))?;
        let tools = self.tools.into_iter().map(|JournalTool { name, description, parameters }| ToolSpec {
            name,
            description,
            parameters,
        });
        let formation = self.formation.unwrap_or_default().into_domain();
        let journal = self.events.into_iter().enumerate().map(|(index, event)| recorded(index, event));
        let journal = journal.collect::<Result<Vec<_>, _>>()?;
        let brief = Brief {
            task: self.task,
            instructions: self.agent.instructions,
            tools: tools.collect(),
            agents: SubAgentBody::into_domain(self.agent.agents, "/agents").map_err(part("/agent/agents"))?,
            formation: formation.map_err(part("/formation"))?,
            conversation: said_before(&journal),
        };
        let recording = Recording { strategy, brief, journal };
        if recording.hash().to_string() != self.event_hash {
            let reason = "it is not the hash of the last event".to_owned();
            return Err(NotReplayable::Part { pointer: "/event_hash".into(), reason });
        }
        Ok(recording)
    }
}

/// What was said before the run, as its journal has it.
fn said_before(journal: &[Recorded]) -> Conversation {
    let shown = journal.iter().find_map(|recorded| match &recorded.event.body {
        EventBody::ConversationShown { conversation } => Some(conversation.clone()),
        _ => None,
    });
    shown.unwrap_or_default()
}

fn recorded(index: usize, event: JournalEvent) -> Result<Recorded, NotReplayable> {
    let at = |name: &str| format!("/events/{index}/{name}");
    let JournalEvent { seq, at: written_at, body, hash } = event;
    let written_at: DateTime<Utc> = written_at.parse().map_err(part(at("at")))?;
    let body: EventBody = serde_json::from_value(body).map_err(part(at("body")))?;
    let hash: EventHash = hash.parse().map_err(part(at("hash")))?;
    Ok(Recorded { event: RunEvent { seq, at: written_at, body }, hash })
}

pub(super) struct GetJournal(pub(super) RecordRun);

/// A run's journal, with all that `powerhouse replay` needs to do the run again offline
///
/// Each event is as it is stored, with the event hash up to it: SHA-256 over what was asked, what came of it, what people
/// decided and how the run ended, and not over when or where. The hash is no signature.
#[endpoint(operation_id = "get_run_journal", tags("runs"), security(["bearer" = []]),
    parameters(("run_id" = String, Path, description = "`run_…`")),
    responses((status_code = 200, description = "The journal.", body = JournalDocument)))]
impl GetJournal {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<JournalDocument>, Problem> {
        let (run, recording) = self.0.execute(principal(depot)?, id(req, "run_id", "run")?).await?;
        Ok(Reply::ok(JournalDocument::new(&run, &recording)))
    }
}
