//! What the selection of agents knows.

use powerhouse_usecases::selection::{
    AgentKnown, ChangeSelection, ReadSelection, ResetSelection, SelectionKnown,
};
use salvo::Router;
use salvo::oapi::{ToSchema, endpoint};
use salvo::prelude::{Depot, Request};
use serde::{Deserialize, Serialize};

use crate::body::{field, if_match, json};
use crate::guard::principal;
use crate::idempotency::{answer, once};
use crate::problem::Problem;
use crate::reply::{Reply, instant};

/// What the slice uses.
#[derive(Clone)]
pub struct Selection {
    /// Reads.
    pub read: ReadSelection,
    /// Changes the default agent.
    pub change: ChangeSelection,
    /// Forgets.
    pub reset: ResetSelection,
}

impl Selection {
    pub(crate) fn guarded(&self) -> Router {
        let reset = Router::with_path("reset").post(PostReset(self.reset.clone()));
        Router::with_path("selection")
            .get(GetSelection(self.read.clone()))
            .put(PutSelection(self.change.clone()))
            .push(reset)
    }
}

/// How an agent has done.
#[derive(Debug, Serialize, ToSchema)]
struct AgentRecordView {
    agent: String,
    name: String,
    /// Examples in its definition.
    examples: usize,
    /// Tasks of runs that people called good, which it learns from too.
    learnt_examples: u32,
    /// Runs that ended by themselves, of the newest of the tenant.
    runs: u32,
    /// Those with an answer.
    succeeded: u32,
    /// Those that people called good.
    good: u32,
    /// Those that people called bad.
    bad: u32,
    /// What a run takes on average, in milliseconds.
    mean_millis: u64,
    /// What a run costs on average, in millionths of a US dollar.
    mean_cost_micros: u64,
    /// What a run is expected to be worth, from 0 to 1; a half where nothing is known.
    expected: f64,
}

impl From<&AgentKnown> for AgentRecordView {
    fn from(known: &AgentKnown) -> Self {
        let record = &known.record;
        let (alpha, beta) = record.belief();
        Self {
            agent: known.id.to_string(),
            name: known.name.clone(),
            examples: known.examples,
            learnt_examples: record.learnt_examples,
            runs: record.runs,
            succeeded: record.succeeded,
            good: record.good,
            bad: record.bad,
            mean_millis: record.mean_millis,
            mean_cost_micros: record.mean_cost_micros,
            expected: alpha / (alpha + beta),
        }
    }
}

/// What the selection knows.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "SelectionKnown"))]
struct SelectionView {
    /// Who does what fits nobody.
    default_agent: Option<String>,
    /// Grows with each change; a run's selection says with which revision its agent was chosen.
    revision: u64,
    /// How well a task must fit an agent; none while fewer than two agents have five examples, when words decide.
    threshold: Option<f64>,
    /// When it last learnt something new.
    learnt_at: Option<String>,
    /// When it last was made to forget.
    reset_at: Option<String>,
    /// The agents that can be chosen, the oldest first.
    agents: Vec<AgentRecordView>,
}

impl From<&SelectionKnown> for SelectionView {
    fn from(known: &SelectionKnown) -> Self {
        let selector = &known.selector;
        Self {
            default_agent: selector.default_agent().map(|agent| agent.to_string()),
            revision: selector.revision(),
            threshold: selector.learnt().threshold,
            learnt_at: selector.learnt().at.map(instant),
            reset_at: selector.reset_at().map(instant),
            agents: known.agents.iter().map(Into::into).collect(),
        }
    }
}

/// What can be said of the selection.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SelectionSettings {
    /// The published agent that does what fits nobody; none when left out.
    #[serde(default)]
    default_agent: Option<String>,
}

fn reply(known: &SelectionKnown) -> Reply<SelectionView> {
    Reply::ok(SelectionView::from(known)).version(known.selector.revision())
}

struct GetSelection(ReadSelection);

/// What the selection of agents knows: how each has done, and what it learns from
#[endpoint(operation_id = "get_selection", tags("selection"), security(["bearer" = []]),
    responses((status_code = 200, description = "What it knows.", body = SelectionView)))]
impl GetSelection {
    async fn handle(&self, depot: &mut Depot) -> Result<Reply<SelectionView>, Problem> {
        Ok(reply(&self.0.execute(principal(depot)?).await?))
    }
}

struct PutSelection(ChangeSelection);

/// Say which agent does what fits nobody
#[endpoint(operation_id = "update_selection", tags("selection"), security(["bearer" = []]),
    request_body = SelectionSettings,
    parameters(("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status_code = 200, description = "What it knows.", body = SelectionView)))]
impl PutSelection {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<SelectionView>, Problem> {
        let revision = if_match(req)?;
        let SelectionSettings { default_agent } = json(req).await?;
        let agent = default_agent.map(|agent| field("/default_agent", &agent)).transpose()?;
        Ok(reply(&self.0.execute(principal(depot)?, revision, agent).await?))
    }
}

struct PostReset(ResetSelection);

/// Make the selection forget
///
/// Runs until now, and what people said of them, are not learnt from any more. The default agent stays, and so do the examples in
/// agents' definitions.
#[endpoint(operation_id = "reset_selection", tags("selection"), security(["bearer" = []]),
    responses((status_code = 200, description = "What it still knows.", body = SelectionView)))]
impl PostReset {
    async fn handle(&self, depot: &mut Depot) -> Result<Reply<SelectionView>, Problem> {
        answer(self.0.execute(principal(depot)?, &once(depot, reply)).await, reply)
    }
}
