//! Agents and their kinds.

mod kinds;

use std::time::Duration;

use powerhouse_domain::agents::{Agent, AgentState, Definition, PublishedVersion};
use powerhouse_domain::runs::RunLimits;
use powerhouse_domain::strategies::{AgentKind, Strategy};
use powerhouse_usecases::agents::{
    ArchiveAgent, CreateAgent, EditAgent, ListAgents, PublishAgent, ReadAgent,
};
use salvo::Router;
use salvo::oapi::{ToSchema, endpoint};
use salvo::prelude::{Depot, Request};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::body::{field, id, if_match, invalid, json, page};
use crate::cursor;
use crate::guard::principal;
use crate::idempotency::{answer, once};
use crate::problem::Problem;
use crate::reply::{Reply, instant};
use crate::routes::runs::{FormationBody, SubAgentBody};

/// What the slice uses.
#[derive(Clone)]
pub struct Agents {
    /// Lists.
    pub list: ListAgents,
    /// Reads.
    pub read: ReadAgent,
    /// Drafts.
    pub create: CreateAgent,
    /// Edits.
    pub edit: EditAgent,
    /// Publishes.
    pub publish: PublishAgent,
    /// Retires.
    pub archive: ArchiveAgent,
}

impl Agents {
    pub(crate) fn guarded(&self) -> Router {
        let one = Router::with_path("{agent_id}")
            .get(GetAgent(self.read.clone()))
            .put(UpdateAgent(self.edit.clone()))
            .delete(DeleteAgent(self.archive.clone()))
            .push(Router::with_path("publish").post(PublishDraft(self.publish.clone())));
        let all =
            Router::with_path("agents").get(GetAgents(self.list.clone())).post(NewDraft(self.create.clone()));
        Router::new().push(all.push(one)).push(kinds::guarded())
    }
}

/// What an agent does and how.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[salvo(schema(name = "Definition"))]
struct DefinitionBody {
    /// One of `GET /v1/agent-kinds`.
    #[salvo(schema(example = "react"))]
    kind: String,
    /// The kind's parameters; what is left out has its default.
    #[serde(default = "empty")]
    #[salvo(schema(value_type = Object))]
    parameters: Value,
    /// What it is good at, for people and for selection.
    description: String,
    /// What it is told before every task.
    #[serde(default)]
    instructions: String,
    /// The model; the platform's default when left out.
    #[serde(default)]
    model: Option<String>,
    /// The tools it may call.
    #[serde(default)]
    tools: Vec<String>,
    /// What it can do, for runs to ask for.
    #[serde(default)]
    capabilities: Vec<String>,
    /// Tasks that it is meant for.
    #[serde(default)]
    examples: Vec<String>,
    /// What each of its runs may use; never more than the plan has.
    #[serde(default)]
    limits: LimitsBody,
    /// Tools of which a person approves each call: see `GET /v1/approvals`.
    #[serde(default)]
    approvals: Vec<String>,
    /// How many of its runs may be worked on at the same time; as many as the plan allows when left out.
    #[serde(default)]
    max_concurrent_runs: Option<u32>,
    /// Agents that its runs may begin runs of, for kinds that do.
    #[serde(default)]
    agents: Vec<SubAgentBody>,
    /// Names of agents that all answer each task first; this one has their answers. So it is a team that can be chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    team: Option<Vec<String>>,
    /// Names of agents that work on each task first, one after the other; this one is the last. A team, or a pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pipeline: Option<Vec<String>>,
}

fn empty() -> Value {
    Value::Object(serde_json::Map::new())
}

/// What a run may use.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[salvo(schema(name = "Limits"))]
pub(crate) struct LimitsBody {
    /// Model and tool calls together.
    steps: u32,
    /// Tokens, in both directions.
    tokens: u64,
    /// Millionths of a US dollar; 0 sets no bound.
    cost_micros: u64,
    /// Seconds from the start.
    seconds: u32,
}

impl Default for LimitsBody {
    fn default() -> Self {
        Self { steps: 50, tokens: 100_000, cost_micros: 0, seconds: 600 }
    }
}

impl From<&RunLimits> for LimitsBody {
    fn from(limits: &RunLimits) -> Self {
        Self {
            steps: limits.steps,
            tokens: limits.tokens,
            cost_micros: limits.cost_micros,
            seconds: u32::try_from(limits.wall_clock.as_secs()).unwrap_or(u32::MAX),
        }
    }
}

impl DefinitionBody {
    fn into_domain(self) -> Result<Definition, Problem> {
        let kind: AgentKind = field("/definition/kind", &self.kind)?;
        let strategy = Strategy::from_parameters(kind, &self.parameters)
            .map_err(|error| invalid(&format!("/definition/parameters{}", error.pointer()), error))?;
        let agents = SubAgentBody::into_domain(self.agents, "/definition/agents")?;
        let formation = FormationBody { team: self.team, pipeline: self.pipeline }.into_domain();
        let formation = formation.map_err(|problem| problem.below("/definition"))?;
        let LimitsBody { steps, tokens, cost_micros, seconds } = self.limits;
        Ok(Definition {
            description: self.description,
            strategy,
            instructions: self.instructions,
            model: self.model,
            tools: self.tools,
            capabilities: self.capabilities,
            examples: self.examples,
            limits: RunLimits { steps, tokens, cost_micros, wall_clock: Duration::from_secs(seconds.into()) },
            approvals: self.approvals,
            max_concurrent_runs: self.max_concurrent_runs,
            agents,
            formation,
        })
    }
}

impl From<&Definition> for DefinitionBody {
    fn from(definition: &Definition) -> Self {
        let FormationBody { team, pipeline } =
            definition.formation.as_ref().map(FormationBody::from).unwrap_or_default();
        Self {
            kind: definition.strategy.kind().to_string(),
            parameters: definition.strategy.parameters(),
            description: definition.description.clone(),
            instructions: definition.instructions.clone(),
            model: definition.model.clone(),
            tools: definition.tools.clone(),
            capabilities: definition.capabilities.clone(),
            examples: definition.examples.clone(),
            approvals: definition.approvals.clone(),
            limits: (&definition.limits).into(),
            max_concurrent_runs: definition.max_concurrent_runs,
            agents: definition.agents.iter().map(SubAgentBody::from).collect(),
            team,
            pipeline,
        }
    }
}

/// A new agent.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewAgent {
    /// Unique in the tenant: 1 to 63 lower-case letters, digits, `-` and `_`.
    #[salvo(schema(example = "bookkeeper"))]
    name: String,
    /// Its first draft.
    definition: DefinitionBody,
}

/// The next draft of an agent.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AgentDraft {
    /// The draft, whole.
    definition: DefinitionBody,
}

/// An agent.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Agent"))]
struct AgentView {
    id: String,
    name: String,
    /// `draft`, `published` or `archived`.
    status: &'static str,
    /// What runs use.
    published: Option<PublishedView>,
    /// What is being written.
    draft: Option<DefinitionBody>,
    created_at: String,
}

/// A published version. It never changes.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "PublishedVersion"))]
struct PublishedView {
    version: u32,
    published_at: String,
    definition: DefinitionBody,
}

impl From<&PublishedVersion> for PublishedView {
    fn from(version: &PublishedVersion) -> Self {
        Self {
            version: version.number,
            published_at: instant(version.published_at),
            definition: (&version.definition).into(),
        }
    }
}

impl From<&Agent> for AgentView {
    fn from(agent: &Agent) -> Self {
        let (status, published, draft) = match agent.state() {
            AgentState::Draft { draft } => ("draft", None, Some(draft)),
            AgentState::Published { current, draft } => ("published", Some(current), draft.as_ref()),
            AgentState::Archived { last, .. } => ("archived", last.as_ref(), None),
        };
        Self {
            id: agent.id().to_string(),
            name: agent.name().as_str().to_owned(),
            status,
            published: published.map(Into::into),
            draft: draft.map(Into::into),
            created_at: instant(agent.created_at()),
        }
    }
}

fn reply(agent: &Agent) -> Reply<AgentView> {
    Reply::ok(AgentView::from(agent)).version(agent.revision())
}

fn drafted(agent: &Agent) -> Reply<AgentView> {
    let location = format!("/v1/agents/{}", agent.id());
    Reply::created(location, AgentView::from(agent)).version(agent.revision())
}

/// A page of agents.
#[derive(Debug, Serialize, ToSchema)]
struct AgentPage {
    items: Vec<AgentView>,
    /// Where the next page begins; none when this is the last.
    next_cursor: Option<String>,
}

struct GetAgents(ListAgents);

/// A page of agents
#[endpoint(operation_id = "list_agents", tags("agents"), security(["bearer" = []]),
    parameters(("limit" = Option<u16>, Query, description = "1 to 100, 20 by default"),
               ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status_code = 200, description = "A page.", body = AgentPage)))]
impl GetAgents {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<AgentPage>, Problem> {
        let (after, limit) = page(req)?;
        let page = self.0.execute(principal(depot)?, after, limit).await?;
        let items = page.items.iter().map(Into::into).collect();
        Ok(Reply::ok(AgentPage { items, next_cursor: page.next.as_ref().map(cursor::encode) }))
    }
}

struct NewDraft(CreateAgent);

/// Draft a new agent
#[endpoint(operation_id = "create_agent", tags("agents"), security(["bearer" = []]), request_body = NewAgent,
    responses((status_code = 201, description = "The draft.", body = AgentView)))]
impl NewDraft {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<AgentView>, Problem> {
        let NewAgent { name, definition } = json(req).await?;
        let (name, definition) = (field("/name", &name)?, definition.into_domain()?);
        let once = once(depot, drafted);
        answer(self.0.execute(principal(depot)?, name, definition, &once).await, drafted)
    }
}

struct GetAgent(ReadAgent);

/// An agent
#[endpoint(operation_id = "get_agent", tags("agents"), security(["bearer" = []]),
    parameters(("agent_id" = String, Path, description = "`agent_…`")),
    responses((status_code = 200, description = "The agent.", body = AgentView)))]
impl GetAgent {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<AgentView>, Problem> {
        let id = id(req, "agent_id", "agent")?;
        Ok(reply(&self.0.execute(principal(depot)?, id).await?))
    }
}

struct UpdateAgent(EditAgent);

/// Write the draft of the next version
#[endpoint(operation_id = "update_agent", tags("agents"), security(["bearer" = []]), request_body = AgentDraft,
    parameters(("agent_id" = String, Path, description = "`agent_…`"),
               ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status_code = 200, description = "The agent with its draft.", body = AgentView)))]
impl UpdateAgent {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<AgentView>, Problem> {
        let (id, revision) = (id(req, "agent_id", "agent")?, if_match(req)?);
        let AgentDraft { definition } = json(req).await?;
        let agent = self.0.execute(principal(depot)?, id, revision, definition.into_domain()?).await?;
        Ok(reply(&agent))
    }
}

struct PublishDraft(PublishAgent);

/// Make the draft what new runs use
#[endpoint(operation_id = "publish_agent", tags("agents"), security(["bearer" = []]),
    parameters(("agent_id" = String, Path, description = "`agent_…`"),
               ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status_code = 200, description = "The agent as published.", body = AgentView)))]
impl PublishDraft {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<AgentView>, Problem> {
        let (id, revision) = (id(req, "agent_id", "agent")?, if_match(req)?);
        answer(self.0.execute(principal(depot)?, id, revision, &once(depot, reply)).await, reply)
    }
}

struct DeleteAgent(ArchiveAgent);

/// Retire an agent; its finished runs still name it
#[endpoint(operation_id = "delete_agent", tags("agents"), security(["bearer" = []]),
    parameters(("agent_id" = String, Path, description = "`agent_…`"),
               ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status_code = 200, description = "The agent as archived.", body = AgentView)))]
impl DeleteAgent {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<AgentView>, Problem> {
        let (id, revision) = (id(req, "agent_id", "agent")?, if_match(req)?);
        Ok(reply(&self.0.execute(principal(depot)?, id, revision).await?))
    }
}
