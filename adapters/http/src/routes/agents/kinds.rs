//! The catalogue of kinds: what an agent can be, and what that costs.

use powerhouse_domain::strategies::{About, AgentKind, Source, Strategy};
use powerhouse_usecases::Refused;
use salvo::Router;
use salvo::oapi::{ToSchema, endpoint};
use salvo::prelude::Request;
use serde::Serialize;
use serde_json::Value;

use super::empty;
use crate::body::id;
use crate::problem::Problem;
use crate::reply::Reply;

pub(super) fn guarded() -> Router {
    Router::with_path("agent-kinds").get(get_kinds).push(Router::with_path("{kind}").get(get_kind))
}

/// A kind of agent.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "AgentKind"))]
struct KindView {
    /// What a definition names it by.
    #[salvo(schema(example = "react"))]
    kind: &'static str,
    /// Its name, for people.
    name: &'static str,
    /// What it does, in a sentence.
    summary: &'static str,
    /// When to take it, and when not.
    use_when: &'static str,
    /// Where it is described.
    sources: Vec<SourceView>,
    /// How many model calls an answer takes.
    model_calls: ModelCalls,
    /// Whether it calls tools: `never`, `optional` or `needed`.
    tools: &'static str,
    /// The tools that it cannot work without, with default parameters.
    needed_tools: Vec<String>,
    /// Whether it cannot work without `agents` in its definition: others that it may have do something.
    needs_agents: bool,
    /// JSON Schema (draft 2020-12) of its parameters, with defaults and bounds.
    #[salvo(schema(value_type = Object))]
    parameters: Value,
}

/// Where a kind is described.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "AgentKindSource"))]
struct SourceView {
    authors: &'static str,
    year: u16,
    title: &'static str,
    /// Its identifier at arXiv, if it is there.
    arxiv: Option<&'static str>,
    url: String,
}

/// How many model calls an answer takes.
#[derive(Debug, Serialize, ToSchema)]
struct ModelCalls {
    /// The fewest, with default parameters.
    min: u32,
    /// The most, with default parameters.
    max: u32,
    /// In words, with the names of the parameters.
    formula: &'static str,
}

impl From<&Source> for SourceView {
    fn from(source: &Source) -> Self {
        Self {
            authors: source.authors,
            year: source.year,
            title: source.title,
            arxiv: source.arxiv_id(),
            url: source.url(),
        }
    }
}

fn view(kind: AgentKind) -> Result<KindView, Problem> {
    let About { name, summary, use_when, sources, cost, tools, .. } = kind.about();
    let defaults = Strategy::from_parameters(kind, &empty())
        .map_err(|error| Refused::Internal(format!("the defaults of {kind}: {error}")))?;
    let (min, max) = defaults.model_calls().into_inner();
    Ok(KindView {
        kind: kind.as_str(),
        name,
        summary,
        use_when,
        sources: sources.iter().map(Into::into).collect(),
        model_calls: ModelCalls { min, max, formula: cost },
        tools: tools.as_str(),
        needed_tools: defaults.needed_tools(),
        needs_agents: defaults.needs_agents(),
        parameters: kind.about().parameters_schema(),
    })
}

/// The kinds of agents.
#[derive(Debug, Serialize, ToSchema)]
struct Kinds {
    items: Vec<KindView>,
}

/// The kinds of agents: what each does, where it is described, what it costs, and its parameters
#[endpoint(operation_id = "list_agent_kinds", tags("agents"), security(["bearer" = []]),
    responses((status_code = 200, description = "The kinds.", body = Kinds)))]
fn get_kinds() -> Result<Reply<Kinds>, Problem> {
    let items = AgentKind::ALL.iter().copied().map(view).collect::<Result<_, _>>()?;
    Ok(Reply::ok(Kinds { items }))
}

/// A kind of agent
#[endpoint(operation_id = "get_agent_kind", tags("agents"), security(["bearer" = []]),
    parameters(("kind" = String, Path, description = "One of `GET /v1/agent-kinds`")),
    responses((status_code = 200, description = "The kind.", body = KindView)))]
fn get_kind(req: &mut Request) -> Result<Reply<KindView>, Problem> {
    Ok(Reply::ok(view(id(req, "kind", "kind of agent")?)?))
}
