//! What agents remember.

use powerhouse_domain::ids::{AgentId, IdError, UserId};
use powerhouse_domain::memory::{
    Importance, MAX_FOUND, Memory, MemoryKind, NewMemory, Ranked, Scoring, Whose,
};
use powerhouse_usecases::memories::{
    AddMemory, EraseMemories, ForgetMemory, ListMemories, ReadMemory, Search, SearchMemories,
};
use salvo::Router;
use salvo::oapi::{ToSchema, endpoint};
use salvo::prelude::{Depot, Request};
use serde::{Deserialize, Serialize};

use crate::body::{field, id, invalid, json, page};
use crate::cursor;
use crate::guard::principal;
use crate::idempotency::{self, answer};
use crate::problem::Problem;
use crate::reply::{NoContent, Reply, instant};

/// What stands for all users alike, in the place of a user.
const ALL: &str = "all";
/// The most characters of a question.
const MAX_QUERY: usize = 4_000;

/// What the slice uses.
#[derive(Clone)]
pub struct Memories {
    /// Lists.
    pub list: ListMemories,
    /// Reads.
    pub read: ReadMemory,
    /// Searches.
    pub search: SearchMemories,
    /// Adds.
    pub add: AddMemory,
    /// Removes one.
    pub forget: ForgetMemory,
    /// Removes all of somebody.
    pub erase: EraseMemories,
}

impl Memories {
    pub(crate) fn guarded(&self) -> Router {
        let one = Router::with_path("{memory_id}")
            .get(GetMemory(self.read.clone()))
            .delete(RemoveMemory(self.forget.clone()));
        Router::with_path("agents/{agent_id}/memories")
            .get(GetMemories(self.list.clone()))
            .post(NewMemories(self.add.clone()))
            .delete(RemoveMemories(self.erase.clone()))
            .push(Router::with_path("search").get(FindMemories(self.search.clone())))
            .push(one)
    }
}

/// Something for an agent to remember.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[salvo(schema(name = "NewMemory"))]
struct MemoryBody {
    /// What it says: at most 4,000 characters.
    #[salvo(schema(example = "Drinks tea, never coffee."))]
    text: String,
    /// `fact`, `observation`, `reflection`, `skill` or `plan`.
    #[serde(default = "fact")]
    kind: String,
    /// How much it matters: 1 to 10.
    #[serde(default = "middling")]
    importance: u8,
    /// Of whom: `user_…`, or `all` for all who use the agent; yourself when left out.
    #[serde(default)]
    user: Option<String>,
}

fn fact() -> String {
    MemoryKind::Fact.as_str().to_owned()
}

fn middling() -> u8 {
    Importance::default().get()
}

/// Something that an agent remembers.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Memory"))]
struct MemoryView {
    id: String,
    agent: String,
    /// Of whom; nobody, when it is of all who use the agent.
    user: Option<String>,
    kind: &'static str,
    text: String,
    importance: u8,
    created_at: String,
    /// When it last came to a run's mind.
    accessed_at: String,
    /// The model of embeddings by which it is found; without one, it is found by its words.
    embedding_model: Option<String>,
    /// The run that remembered it, if one did.
    run: Option<String>,
}

impl From<&Memory> for MemoryView {
    fn from(memory: &Memory) -> Self {
        Self {
            id: memory.id.to_string(),
            agent: memory.whose.agent.to_string(),
            user: memory.whose.user.map(|user| user.to_string()),
            kind: memory.kind.as_str(),
            text: memory.text.as_str().to_owned(),
            importance: memory.importance.get(),
            created_at: instant(memory.created_at),
            accessed_at: instant(memory.accessed_at),
            embedding_model: memory.vector.as_ref().map(|vector| vector.model.clone()),
            run: memory.run.map(|run| run.to_string()),
        }
    }
}

/// A page of what an agent remembers.
#[derive(Debug, Serialize, ToSchema)]
struct MemoryPage {
    items: Vec<MemoryView>,
    /// Where the next page begins; none when this is the last.
    next_cursor: Option<String>,
}

/// Something that was found.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "FoundMemory"))]
struct FoundView {
    #[serde(flatten)]
    memory: MemoryView,
    /// From 0 to 1 by relevance or age, from 0 to 3 when weighted.
    score: f64,
}

/// What was found, best first.
#[derive(Debug, Serialize, ToSchema)]
struct FoundMemories {
    items: Vec<FoundView>,
}

impl From<&Ranked> for FoundView {
    fn from(ranked: &Ranked) -> Self {
        Self { memory: (&ranked.memory).into(), score: ranked.score }
    }
}

/// A user, or all; who asks, when nothing is said.
fn user(text: Option<&str>, me: UserId) -> Result<Option<UserId>, IdError> {
    match text {
        None => Ok(Some(me)),
        Some(ALL) => Ok(None),
        Some(text) => text.parse().map(Some),
    }
}

/// The agent of the path, and the user of the query.
fn whose(req: &Request, depot: &Depot) -> Result<Whose, Problem> {
    let agent: AgentId = id(req, "agent_id", "agent")?;
    let named = req.queries().get("user").map(String::as_str);
    let user = user(named, principal(depot)?.user_id()).map_err(|_| Problem::not_found("user"))?;
    Ok(Whose { agent, user })
}

fn query<T: std::str::FromStr>(req: &Request, name: &str, detail: &str) -> Result<Option<T>, Problem> {
    let wrong = || Problem::bad_request("query_invalid", format!("`{name}` {detail}"));
    req.queries().get(name).map(|text| text.parse().map_err(|_| wrong())).transpose()
}

const KINDS: &str = "is one of `fact`, `observation`, `reflection`, `skill` and `plan`";

struct GetMemories(ListMemories);

/// What an agent remembers of you, or of another
#[endpoint(operation_id = "list_memories", tags("memories"), security(["bearer" = []]),
    parameters(("agent_id" = String, Path, description = "`agent_…`"),
               ("user" = Option<String>, Query, description = "`user_…`, or `all`; yourself by default"),
               ("kind" = Option<String>, Query, description = "`fact`, `observation`, `reflection`, `skill` or `plan`"),
               ("limit" = Option<u16>, Query, description = "1 to 100, 20 by default"),
               ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status_code = 200, description = "A page.", body = MemoryPage)))]
impl GetMemories {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<MemoryPage>, Problem> {
        let (after, limit) = page(req)?;
        let (whose, kind) = (whose(req, depot)?, query(req, "kind", KINDS)?);
        let page = self.0.execute(principal(depot)?, whose, kind, after, limit).await?;
        let items = page.items.iter().map(Into::into).collect();
        Ok(Reply::ok(MemoryPage { items, next_cursor: page.next.as_ref().map(cursor::encode) }))
    }
}

struct FindMemories(SearchMemories);

/// What would come to an agent's mind for a question
///
/// The question's vector counts against the budgets of the tenant, of yourself and of the agent; where one has too little left, the
/// answer is 409 with `limit_reached`.
#[endpoint(operation_id = "search_memories", tags("memories"), security(["bearer" = []]),
    parameters(("agent_id" = String, Path, description = "`agent_…`"),
               ("query" = String, Query, description = "The question"),
               ("user" = Option<String>, Query, description = "`user_…`, or `all`; yourself by default"),
               ("kind" = Option<String>, Query, description = "`fact`, `observation`, `reflection`, `skill` or `plan`"),
               ("scoring" = Option<String>, Query, description = "`relevance`, the usual, `weighted` or `recent`"),
               ("limit" = Option<u16>, Query, description = "1 to 50, 20 by default")),
    responses((status_code = 200, description = "What was found, best first.", body = FoundMemories)))]
impl FindMemories {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<FoundMemories>, Problem> {
        let whose = whose(req, depot)?;
        let question = req.queries().get("query").map(|text| text.trim().to_owned()).unwrap_or_default();
        if question.is_empty() || question.chars().nth(MAX_QUERY).is_some() {
            let detail = format!("`query` is the question: 1 to {MAX_QUERY} characters");
            return Err(Problem::bad_request("query_invalid", detail));
        }
        let scoring =
            query(req, "scoring", "is `relevance`, `weighted` or `recent`")?.unwrap_or(Scoring::Relevance);
        let (_, limit) = page::<String>(req)?;
        let search = Search {
            query: question,
            most: usize::from(limit.get()).min(MAX_FOUND),
            kinds: query(req, "kind", KINDS)?.into_iter().collect(),
            scoring,
        };
        let found = self.0.execute(principal(depot)?, whose, &search).await?;
        Ok(Reply::ok(FoundMemories { items: found.iter().map(Into::into).collect() }))
    }
}

fn created(memory: &Memory) -> Reply<MemoryView> {
    let location = format!("/v1/agents/{}/memories/{}", memory.whose.agent, memory.id);
    Reply::created(location, memory.into())
}

struct NewMemories(AddMemory);

/// Have an agent remember something; where it remembers as much as it may, the least valuable is lost
///
/// Its vector counts against the budgets of the tenant, of yourself and of the agent; where one has too little left, the answer is
/// 409 with `limit_reached`.
#[endpoint(operation_id = "create_memory", tags("memories"), security(["bearer" = []]), request_body = MemoryBody,
    parameters(("agent_id" = String, Path, description = "`agent_…`")),
    responses((status_code = 201, description = "The memory.", body = MemoryView)))]
impl NewMemories {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<MemoryView>, Problem> {
        let agent = id(req, "agent_id", "agent")?;
        let MemoryBody { text, kind, importance, user: of } = json(req).await?;
        let me = principal(depot)?;
        let user = user(of.as_deref(), me.user_id())
            .map_err(|error| invalid("/user", format!("{error}, or `all`")))?;
        let new = NewMemory {
            kind: field("/kind", &kind)?,
            text: field("/text", &text)?,
            importance: Importance::new(importance).map_err(|error| invalid("/importance", error))?,
        };
        let once = idempotency::once(depot, created);
        answer(self.0.execute(me, Whose { agent, user }, new, &once).await, created)
    }
}

struct GetMemory(ReadMemory);

/// Something that an agent remembers
#[endpoint(operation_id = "get_memory", tags("memories"), security(["bearer" = []]),
    parameters(("agent_id" = String, Path, description = "`agent_…`"),
               ("memory_id" = String, Path, description = "`memory_…`")),
    responses((status_code = 200, description = "The memory.", body = MemoryView)))]
impl GetMemory {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<MemoryView>, Problem> {
        let (agent, id) = (id(req, "agent_id", "agent")?, id(req, "memory_id", "memory")?);
        Ok(Reply::ok((&self.0.execute(principal(depot)?, agent, id).await?).into()))
    }
}

struct RemoveMemory(ForgetMemory);

/// Have an agent forget something
#[endpoint(operation_id = "delete_memory", tags("memories"), security(["bearer" = []]),
    parameters(("agent_id" = String, Path, description = "`agent_…`"),
               ("memory_id" = String, Path, description = "`memory_…`")))]
impl RemoveMemory {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<NoContent, Problem> {
        let (agent, id) = (id(req, "agent_id", "agent")?, id(req, "memory_id", "memory")?);
        self.0.execute(principal(depot)?, agent, id).await?;
        Ok(NoContent)
    }
}

struct RemoveMemories(EraseMemories);

/// Have an agent forget all that it remembers of you, or of another
#[endpoint(operation_id = "erase_memories", tags("memories"), security(["bearer" = []]),
    parameters(("agent_id" = String, Path, description = "`agent_…`"),
               ("user" = Option<String>, Query, description = "`user_…`, or `all`: what it remembers of all alike; yourself by default")))]
impl RemoveMemories {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<NoContent, Problem> {
        self.0.execute(principal(depot)?, whose(req, depot)?).await?;
        Ok(NoContent)
    }
}
