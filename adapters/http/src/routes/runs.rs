//! Runs.

use http::HeaderValue;
use powerhouse_domain::ids::{AgentId, RunId};
use powerhouse_domain::runs::{self, Formation, Placement, Priority, Run, Task, Verdict};
use powerhouse_domain::selection::{Target, Wish};
use powerhouse_usecases::runs::{
    CancelRun, ExplainRun, ForkRun, GiveFeedback, ListRuns, PauseRun, ReadRun, ReadRunTree, ReadSteps,
    RecordRun, ResumeRun, SubmitRun, SubmitRunCommand, WatchRun,
};
use powerhouse_usecases::{Answer, Refused};
use salvo::Router;
use salvo::oapi::{ToSchema, endpoint};
use salvo::prelude::{Depot, Request, Response};
use serde::{Deserialize, Serialize};

use crate::body::{field, id, invalid, json, optional_instant, page};
use crate::cursor;
use crate::guard::principal;
use crate::idempotency::{REPLAYED, answer, once};
use crate::problem::Problem;
use crate::reply::Reply;

mod explanation;
mod formation;
mod journal;
mod prefer;
mod steer;
mod stream;
mod views;

pub(crate) use formation::{FormationBody, SubAgentBody};
pub use journal::{JournalDocument, NotReplayable};

use views::{BranchView, FeedbackView, RunPage, RunView, StepsView, TreeView};

/// What the slice uses.
#[derive(Clone)]
pub struct Runs {
    /// Accepts.
    pub submit: SubmitRun,
    /// Lists.
    pub list: ListRuns,
    /// Reads.
    pub read: ReadRun,
    /// Reads steps.
    pub steps: ReadSteps,
    /// Reads trees.
    pub tree: ReadRunTree,
    /// Explains.
    pub explain: ExplainRun,
    /// Reads for a replay.
    pub record: RecordRun,
    /// Watches.
    pub watch: WatchRun,
    /// Cancels.
    pub cancel: CancelRun,
    /// Pauses.
    pub pause: PauseRun,
    /// Resumes.
    pub resume: ResumeRun,
    /// Makes a new one of an old.
    pub fork: ForkRun,
    /// Takes feedback.
    pub feedback: GiveFeedback,
}

impl Runs {
    pub(crate) fn guarded(&self) -> Router {
        let one = Router::with_path("{run_id}")
            .get(GetRun(self.read.clone()))
            .push(Router::with_path("steps").get(GetSteps(self.steps.clone())))
            .push(Router::with_path("tree").get(GetTree(self.tree.clone())))
            .push(Router::with_path("explain").get(explanation::Explain(self.explain.clone())))
            .push(Router::with_path("journal").get(journal::GetJournal(self.record.clone())))
            .push(Router::with_path("events").get(GetEvents(self.watch.clone())))
            .push(Router::with_path("cancel").post(Cancel(self.cancel.clone())))
            .push(Router::with_path("pause").post(steer::Pause(self.pause.clone())))
            .push(Router::with_path("resume").post(steer::Resume(self.resume.clone())))
            .push(Router::with_path("fork").post(steer::Fork(self.fork.clone())))
            .push(Router::with_path("feedback").post(Feedback(self.feedback.clone())));
        let create =
            CreateRun { submit: self.submit.clone(), read: self.read.clone(), watch: self.watch.clone() };
        Router::with_path("runs").get(GetRuns(self.list.clone())).post(create).push(one)
    }
}

/// A task, and who may do it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewRun {
    /// What is to be done: at most 32,768 characters.
    #[salvo(schema(example = "What is 12.5 % of 380?"))]
    task: String,
    /// The agent that does it; the platform chooses when left out.
    #[serde(default)]
    agent: Option<String>,
    /// The agents to choose from; all when left out.
    #[serde(default)]
    candidates: Vec<String>,
    /// What the agent must be able to do.
    #[serde(default)]
    capabilities: Vec<String>,
    /// Names of agents that answer the task first, all at the same time; `agent` makes one answer of theirs.
    #[serde(default)]
    team: Option<Vec<String>>,
    /// Names of agents that work one after the other, each on what the one before has made; the last answers. Instead of
    /// `agent`.
    #[serde(default)]
    pipeline: Option<Vec<String>>,
    /// A conversation of yours to go on with, `thread_…`: the run sees what was said in it before. One run at a time.
    #[serde(default)]
    thread: Option<String>,
    /// How urgent it is among your tenant's runs: 0, the usual, to 9, the most urgent.
    #[serde(default)]
    priority: u8,
    /// When it may begin (RFC 3339), at most 366 days ahead; at once when left out.
    #[serde(default)]
    not_before: Option<String>,
    /// When it is timed out (RFC 3339), whatever it is doing or waiting for.
    #[serde(default)]
    deadline: Option<String>,
}

/// The most candidates or capabilities that a run may name.
const MAX_LISTED: usize = 64;

impl NewRun {
    fn into_command(self) -> Result<SubmitRunCommand, Problem> {
        let task = Task::new(self.task).map_err(|error| invalid("/task", error))?;
        let placement = Placement {
            priority: Priority::new(self.priority).map_err(|error| invalid("/priority", error))?,
            not_before: optional_instant("/not_before", self.not_before.as_deref())?,
            deadline: optional_instant("/deadline", self.deadline.as_deref())?,
            agent_limit: None,
        };
        let formation = FormationBody { team: self.team, pipeline: self.pipeline }.into_domain()?;
        match &formation {
            Some(Formation::Team(_)) if self.agent.is_none() => {
                return Err(invalid("/agent", "name the agent that makes one answer of the team's"));
            }
            Some(Formation::Pipeline(_))
                if self.agent.is_some() || !self.candidates.is_empty() || !self.capabilities.is_empty() =>
            {
                return Err(invalid("/pipeline", "the last of a pipeline answers: name no other agent"));
            }
            _ => {}
        }
        let thread = self.thread.map(|thread| field("/thread", &thread)).transpose()?;
        let target = target(self.agent, &self.candidates, self.capabilities)?;
        Ok(SubmitRunCommand { task, target, formation, thread, placement })
    }
}

/// Who is to do a task, as its three fields say.
pub(crate) fn target(
    agent: Option<String>,
    candidates: &[String],
    capabilities: Vec<String>,
) -> Result<Target, Problem> {
    for (pointer, length) in [("/candidates", candidates.len()), ("/capabilities", capabilities.len())] {
        if length > MAX_LISTED {
            return Err(invalid(pointer, format!("at most {MAX_LISTED} entries")));
        }
    }
    match agent {
        Some(_) if !candidates.is_empty() => {
            Err(invalid("/candidates", "name one agent, or candidates, not both"))
        }
        Some(agent) => Ok(Target::Agent(field("/agent", &agent)?)),
        None => {
            let candidates = candidates
                .iter()
                .enumerate()
                .map(|(index, text)| field::<AgentId>(&format!("/candidates/{index}"), text))
                .collect::<Result<_, _>>()?;
            Ok(Target::Auto(Wish { candidates, capabilities }))
        }
    }
}

fn location(run: RunId) -> String {
    format!("/v1/runs/{run}")
}

fn accepted(run: &Run) -> Reply<RunView> {
    Reply::accepted(location(run.id()), run.into())
}

/// The run that was accepted with this answer.
fn accepted_id(answer: &Answer) -> Option<RunId> {
    answer.location.as_deref()?.rsplit('/').next()?.parse().ok()
}

fn shown(run: &Run) -> Reply<RunView> {
    Reply::ok(run.into())
}

struct CreateRun {
    submit: SubmitRun,
    read: ReadRun,
    watch: WatchRun,
}

/// Submit a task
///
/// Answers 202 with the run as accepted. With `Prefer: wait=N` it waits up to N seconds (60 at most) for the end and
/// answers 200 if that came. With `Accept: text/event-stream` it streams the run's events.
#[endpoint(operation_id = "create_run", tags("runs"), security(["bearer" = []]), request_body = NewRun,
    parameters(("Prefer" = Option<String>, Header, description = "`wait=N`: seconds to wait for the end")),
    responses((status_code = 202, description = "Accepted.", body = RunView),
              (status_code = 200, description = "It has ended within the wait.", body = RunView)))]
impl CreateRun {
    async fn handle(&self, req: &mut Request, depot: &mut Depot, res: &mut Response) -> Result<(), Problem> {
        let principal = *principal(depot)?;
        let wait = prefer::wait(req.headers())?;
        let wants_stream = stream::is_wanted(req.headers());
        let command = json::<NewRun>(req).await?.into_command()?;
        let done = self.submit.execute(&principal, command, &once(depot, accepted)).await;
        // Whoever watches or waits for a run that was accepted before goes on watching or waiting for that one.
        let (id, is_replayed) = match &done {
            Ok(run) => (Some(run.id()), false),
            Err(Refused::DoneBefore(answer)) => (accepted_id(answer), true),
            Err(_) => (None, false),
        };
        let reply = match (id, wait) {
            (Some(id), _) if wants_stream => {
                let watch = self.watch.execute(&principal, id, 0).await?;
                if is_replayed {
                    res.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
                }
                stream::send(watch, &location(id), res);
                return Ok(());
            }
            (Some(id), Some(limit)) => {
                let mut watch = self.watch.execute(&principal, id, 0).await?;
                let applied = prefer::until_end(&mut watch, limit).await?;
                let run = self.read.execute(&principal, id).await?;
                prefer::confirm(limit, res);
                if is_replayed {
                    res.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
                }
                if applied { Reply::ok(RunView::from(&run)).at(location(id)) } else { accepted(&run) }
            }
            _ => answer(done, accepted)?,
        };
        salvo::Writer::write(reply, req, depot, res).await;
        Ok(())
    }
}

struct GetRuns(ListRuns);

/// A page of runs, newest first
#[endpoint(operation_id = "list_runs", tags("runs"), security(["bearer" = []]),
    parameters(("limit" = Option<u16>, Query, description = "1 to 100, 20 by default"),
               ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status_code = 200, description = "A page.", body = RunPage)))]
impl GetRuns {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<RunPage>, Problem> {
        let (before, limit) = page(req)?;
        let page = self.0.execute(principal(depot)?, before, limit).await?;
        let items = page.items.iter().map(RunView::from).collect();
        Ok(Reply::ok(RunPage { items, next_cursor: page.next.as_ref().map(cursor::encode) }))
    }
}

struct GetRun(ReadRun);

/// A run: its state, its answer, why its agent was chosen, and what it used
#[endpoint(operation_id = "get_run", tags("runs"), security(["bearer" = []]),
    parameters(("run_id" = String, Path, description = "`run_…`")),
    responses((status_code = 200, description = "The run.", body = RunView)))]
impl GetRun {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<RunView>, Problem> {
        let run = self.0.execute(principal(depot)?, id(req, "run_id", "run")?).await?;
        Ok(Reply::ok(RunView::from(&run)).version(run.version()))
    }
}

struct GetSteps(ReadSteps);

/// A run's steps, each with what it used; with the calls that were lost, which `explain` lists, they add up to the run's
/// usage
#[endpoint(operation_id = "list_run_steps", tags("runs"), security(["bearer" = []]),
    parameters(("run_id" = String, Path, description = "`run_…`")),
    responses((status_code = 200, description = "The steps.", body = StepsView)))]
impl GetSteps {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<StepsView>, Problem> {
        let steps = self.0.execute(principal(depot)?, id(req, "run_id", "run")?).await?;
        Ok(Reply::ok(StepsView::new(&steps)))
    }
}

struct GetTree(ReadRunTree);

/// The tree of runs that a run belongs to
///
/// The run that somebody asked for, and every run that was begun for it: each after the one that began it, its `parent`, and
/// after what that began before. At most 1,000.
#[endpoint(operation_id = "get_run_tree", tags("runs"), security(["bearer" = []]),
    parameters(("run_id" = String, Path, description = "`run_…`")),
    responses((status_code = 200, description = "The tree.", body = TreeView)))]
impl GetTree {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<TreeView>, Problem> {
        let runs = self.0.execute(principal(depot)?, id(req, "run_id", "run")?).await?;
        Ok(Reply::ok(TreeView { items: runs.iter().map(BranchView::from).collect() }))
    }
}

struct GetEvents(WatchRun);

/// A run's events as a stream
///
/// Server-sent events from the run's beginning, or after `Last-Event-ID`, until it has ended; none is lost or sent
/// twice. Each event's `id` is its place in the journal.
#[endpoint(operation_id = "stream_run_events", tags("runs"), security(["bearer" = []]),
    parameters(("run_id" = String, Path, description = "`run_…`"),
               ("Last-Event-ID" = Option<u64>, Header, description = "The id of the last event that was read")),
    responses((status_code = 200, description = "The events.", content_type = "text/event-stream", body = String)))]
impl GetEvents {
    async fn handle(&self, req: &mut Request, depot: &mut Depot, res: &mut Response) -> Result<(), Problem> {
        let after = stream::last_event_id(req.headers())?;
        let id = id(req, "run_id", "run")?;
        let watch = self.0.execute(principal(depot)?, id, after).await?;
        stream::send(watch, &format!("/v1/runs/{id}"), res);
        Ok(())
    }
}

struct Cancel(CancelRun);

/// Stop a run; to stop it again changes nothing
#[endpoint(operation_id = "cancel_run", tags("runs"), security(["bearer" = []]),
    parameters(("run_id" = String, Path, description = "`run_…`")),
    responses((status_code = 200, description = "The run as cancelled.", body = RunView)))]
impl Cancel {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<RunView>, Problem> {
        let (id, once) = (id(req, "run_id", "run")?, once(depot, shown));
        answer(self.0.execute(principal(depot)?, id, &once).await, shown)
    }
}

/// What a run was worth.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewFeedback {
    /// `good` or `bad`.
    verdict: VerdictBody,
    /// Why: at most 2,000 characters.
    #[serde(default)]
    comment: String,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[salvo(schema(name = "Verdict"))]
pub(crate) enum VerdictBody {
    Good,
    Bad,
}

impl From<VerdictBody> for Verdict {
    fn from(body: VerdictBody) -> Self {
        match body {
            VerdictBody::Good => Self::Good,
            VerdictBody::Bad => Self::Bad,
        }
    }
}

fn kept(feedback: &runs::Feedback) -> Reply<FeedbackView> {
    Reply::ok(feedback.into())
}

struct Feedback(GiveFeedback);

/// Say what a run was worth; a second word replaces the first
#[endpoint(operation_id = "give_feedback", tags("runs"), security(["bearer" = []]), request_body = NewFeedback,
    parameters(("run_id" = String, Path, description = "`run_…`")),
    responses((status_code = 200, description = "The feedback.", body = FeedbackView)))]
impl Feedback {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<FeedbackView>, Problem> {
        let (id, once) = (id(req, "run_id", "run")?, once(depot, kept));
        let NewFeedback { verdict, comment } = json(req).await?;
        answer(self.0.execute(principal(depot)?, id, verdict.into(), comment, &once).await, kept)
    }
}
