//! Conversation threads.

use powerhouse_domain::threads::{TakenTurn, Thread};
use powerhouse_ports::store::Page;
use powerhouse_usecases::threads::{CreateThread, DeleteThread, ListThreads, ReadThread};
use salvo::Router;
use salvo::oapi::{ToSchema, endpoint};
use salvo::prelude::{Depot, Request};
use serde::{Deserialize, Serialize};

use crate::body::{field, id, json, page};
use crate::cursor;
use crate::guard::principal;
use crate::idempotency::{self, answer};
use crate::problem::Problem;
use crate::reply::{NoContent, Reply, instant};

/// What the slice uses.
#[derive(Clone)]
pub struct Threads {
    /// Lists.
    pub list: ListThreads,
    /// Reads.
    pub read: ReadThread,
    /// Begins.
    pub create: CreateThread,
    /// Removes.
    pub delete: DeleteThread,
}

impl Threads {
    pub(crate) fn guarded(&self) -> Router {
        let one = Router::with_path("{thread_id}")
            .get(GetThread(self.read.clone()))
            .delete(RemoveThread(self.delete.clone()));
        Router::with_path("threads")
            .get(GetThreads(self.list.clone()))
            .post(NewThread(self.create.clone()))
            .push(one)
    }
}

/// A conversation to begin.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[salvo(schema(name = "NewThread"))]
struct ThreadBody {
    /// What it is called: at most 200 characters in one line.
    #[serde(default)]
    title: Option<String>,
}

/// A conversation.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Thread"))]
struct ThreadView {
    id: String,
    title: Option<String>,
    /// Whose it is: only they can go on with it.
    owner: String,
    /// How many runs it has had, whatever became of them.
    runs: u32,
    /// The newest of them.
    last_run: Option<String>,
    /// What was said in its older turns, once they were too long to be shown to runs.
    summary: Option<SummaryView>,
    created_at: String,
    updated_at: String,
}

/// What was said, in short.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "ThreadSummary"))]
struct SummaryView {
    text: String,
    /// The number of the last turn that it tells of.
    through: u32,
}

impl From<&Thread> for ThreadView {
    fn from(thread: &Thread) -> Self {
        let summary = thread.summary.as_ref();
        Self {
            id: thread.id.to_string(),
            title: thread.title.as_ref().map(ToString::to_string),
            owner: thread.owner.to_string(),
            runs: thread.runs,
            last_run: thread.last_run.map(|run| run.to_string()),
            summary: summary
                .map(|summary| SummaryView { text: summary.text.clone(), through: summary.through }),
            created_at: instant(thread.created_at),
            updated_at: instant(thread.updated_at),
        }
    }
}

/// A page of conversations.
#[derive(Debug, Serialize, ToSchema)]
struct ThreadPage {
    items: Vec<ThreadView>,
    /// Where the next page begins; none when this is the last.
    next_cursor: Option<String>,
}

/// What was asked and answered.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "ThreadTurn"))]
struct TurnView {
    /// Its number among the thread's runs; those of runs that have not succeeded are missing.
    number: u32,
    run: String,
    task: String,
    answer: String,
    asked_at: String,
    answered_at: String,
}

impl From<&TakenTurn> for TurnView {
    fn from(taken: &TakenTurn) -> Self {
        Self {
            number: taken.turn.number,
            run: taken.run.to_string(),
            task: taken.turn.task.clone(),
            answer: taken.turn.answer.clone(),
            asked_at: instant(taken.asked_at),
            answered_at: instant(taken.answered_at),
        }
    }
}

/// A conversation with a page of what was said.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "ThreadWithTurns"))]
struct WholeThread {
    #[serde(flatten)]
    thread: ThreadView,
    /// What was said, in its order.
    turns: Vec<TurnView>,
    /// Where the next page of turns begins; none when this is the last.
    next_cursor: Option<String>,
}

impl WholeThread {
    fn new(thread: &Thread, turns: &Page<TakenTurn, u32>) -> Self {
        Self {
            thread: thread.into(),
            turns: turns.items.iter().map(Into::into).collect(),
            next_cursor: turns.next.as_ref().map(cursor::encode),
        }
    }
}

struct GetThreads(ListThreads);

/// A page of threads, newest first
#[endpoint(operation_id = "list_threads", tags("threads"), security(["bearer" = []]),
    parameters(("limit" = Option<u16>, Query, description = "1 to 100, 20 by default"),
               ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status_code = 200, description = "A page.", body = ThreadPage)))]
impl GetThreads {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<ThreadPage>, Problem> {
        let (before, limit) = page(req)?;
        let page = self.0.execute(principal(depot)?, before, limit).await?;
        let items = page.items.iter().map(Into::into).collect();
        Ok(Reply::ok(ThreadPage { items, next_cursor: page.next.as_ref().map(cursor::encode) }))
    }
}

fn created(thread: &Thread) -> Reply<ThreadView> {
    Reply::created(format!("/v1/threads/{}", thread.id), thread.into())
}

struct NewThread(CreateThread);

/// Begin a thread: name it as `thread` of a new run, which then sees what was said in it before
#[endpoint(operation_id = "create_thread", tags("threads"), security(["bearer" = []]), request_body = ThreadBody,
    responses((status_code = 201, description = "The thread.", body = ThreadView)))]
impl NewThread {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<ThreadView>, Problem> {
        let ThreadBody { title } = json(req).await?;
        let title = title.map(|title| field("/title", &title)).transpose()?;
        let once = idempotency::once(depot, created);
        answer(self.0.execute(principal(depot)?, title, &once).await, created)
    }
}

struct GetThread(ReadThread);

/// A thread with what was said in it
#[endpoint(operation_id = "get_thread", tags("threads"), security(["bearer" = []]),
    parameters(("thread_id" = String, Path, description = "`thread_…`"),
               ("limit" = Option<u16>, Query, description = "How many turns: 1 to 100, 20 by default"),
               ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status_code = 200, description = "The thread.", body = WholeThread)))]
impl GetThread {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<WholeThread>, Problem> {
        let (after, limit) = page(req)?;
        let id = id(req, "thread_id", "thread")?;
        let (thread, turns) = self.0.execute(principal(depot)?, id, after, limit).await?;
        Ok(Reply::ok(WholeThread::new(&thread, &turns)))
    }
}

struct RemoveThread(DeleteThread);

/// Remove a thread; its runs stay
#[endpoint(operation_id = "delete_thread", tags("threads"), security(["bearer" = []]),
    parameters(("thread_id" = String, Path, description = "`thread_…`")))]
impl RemoveThread {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<NoContent, Problem> {
        self.0.execute(principal(depot)?, id(req, "thread_id", "thread")?).await?;
        Ok(NoContent)
    }
}
