//! Schedules.

use std::time::Duration;

use powerhouse_domain::runs::{Priority, Task};
use powerhouse_domain::schedules::{
    CatchUp, InvalidTiming, Missed, MissedKind, Order, Plan, Schedule, Timing,
};
use powerhouse_usecases::schedules::{
    ChangeSchedule, CreateSchedule, DeleteSchedule, ListSchedules, PauseSchedule, PreviewFirings,
    ReadSchedule, ResumeSchedule,
};
use salvo::Router;
use salvo::oapi::{ToSchema, endpoint};
use salvo::prelude::{Depot, Request};
use serde::Deserialize;

use crate::body::{field, id, if_match, invalid, json, page};
use crate::cursor;
use crate::guard::principal;
use crate::idempotency::{self, answer};
use crate::problem::Problem;
use crate::reply::{NoContent, Reply, instant};
use crate::routes::runs::target;

mod views;

use views::{FiringsView, SchedulePage, ScheduleView};

/// What the slice uses.
#[derive(Clone)]
pub struct Schedules {
    /// Lists.
    pub list: ListSchedules,
    /// Reads.
    pub read: ReadSchedule,
    /// Says when they fire.
    pub preview: PreviewFirings,
    /// Makes.
    pub create: CreateSchedule,
    /// Changes.
    pub change: ChangeSchedule,
    /// Pauses.
    pub pause: PauseSchedule,
    /// Resumes.
    pub resume: ResumeSchedule,
    /// Removes.
    pub delete: DeleteSchedule,
}

impl Schedules {
    pub(crate) fn guarded(&self) -> Router {
        let one = Router::with_path("{schedule_id}")
            .get(GetSchedule(self.read.clone()))
            .put(PutSchedule(self.change.clone()))
            .delete(RemoveSchedule(self.delete.clone()))
            .push(Router::with_path("firings").get(GetFirings(self.preview.clone())))
            .push(Router::with_path("pause").post(Pause(self.pause.clone())))
            .push(Router::with_path("resume").post(Resume(self.resume.clone())));
        Router::with_path("schedules")
            .get(GetSchedules(self.list.clone()))
            .post(NewSchedule(self.create.clone()))
            .push(one)
    }
}

/// A task, who does it, and when.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[salvo(schema(name = "ScheduleDefinition"))]
struct ScheduleBody {
    /// What it is called: 1 to 100 characters.
    name: String,
    /// Five fields: minute, hour, day of the month, month, day of the week.
    #[salvo(schema(example = "0 9 * * MON-FRI"))]
    cron: String,
    /// A time zone of the IANA database.
    #[serde(default = "utc")]
    #[salvo(schema(example = "Europe/Berlin"))]
    time_zone: String,
    /// What becomes of firings that were missed: `skip`, `once` (one run for all of them) or `catch_up`.
    #[serde(default = "once")]
    missed: String,
    /// How many missed firings `catch_up` makes up for, the last ones: 1 to 100.
    #[serde(default)]
    catch_up: Option<u8>,
    /// What is to be done at each firing.
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
    /// How urgent its runs are: 0, the usual, to 9, the most urgent.
    #[serde(default)]
    priority: u8,
    /// How many seconds after its firing a run is timed out: 1 to 31,622,400.
    #[serde(default)]
    deadline_seconds: Option<u32>,
}

fn utc() -> String {
    "UTC".to_owned()
}

fn once() -> String {
    MissedKind::Once.as_str().to_owned()
}

/// The longest deadline: a leap year.
const MAX_DEADLINE: u32 = 366 * 24 * 60 * 60;
/// The usual bound on catching up.
const CATCH_UP: u8 = 10;

impl ScheduleBody {
    fn into_plan(self) -> Result<Plan, Problem> {
        let timing = Timing::new(&self.cron, &self.time_zone).map_err(|error| match error {
            InvalidTiming::Expression(_) => invalid("/cron", error),
            InvalidTiming::Zone => invalid("/time_zone", error),
        })?;
        let missed = match (field("/missed", &self.missed)?, self.catch_up) {
            (MissedKind::CatchUp, most) => {
                let most = CatchUp::new(most.unwrap_or(CATCH_UP));
                Missed::CatchUp(most.map_err(|error| invalid("/catch_up", error))?)
            }
            (_, Some(_)) => return Err(invalid("/catch_up", "only goes with `\"missed\": \"catch_up\"`")),
            (MissedKind::Skip, None) => Missed::Skip,
            (MissedKind::Once, None) => Missed::Once,
        };
        let within = match self.deadline_seconds {
            Some(seconds) if !(1..=MAX_DEADLINE).contains(&seconds) => {
                return Err(invalid("/deadline_seconds", format!("must be 1 to {MAX_DEADLINE}")));
            }
            seconds => seconds.map(|seconds| Duration::from_secs(seconds.into())),
        };
        let order = Order {
            task: Task::new(self.task).map_err(|error| invalid("/task", error))?,
            target: target(self.agent, &self.candidates, self.capabilities)?,
            priority: Priority::new(self.priority).map_err(|error| invalid("/priority", error))?,
            within,
        };
        Ok(Plan { name: field("/name", &self.name)?, timing, missed, order })
    }
}

struct GetSchedules(ListSchedules);

/// A page of schedules
#[endpoint(operation_id = "list_schedules", tags("schedules"), security(["bearer" = []]),
    parameters(("limit" = Option<u16>, Query, description = "1 to 100, 20 by default"),
               ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status_code = 200, description = "A page.", body = SchedulePage)))]
impl GetSchedules {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<SchedulePage>, Problem> {
        let (after, limit) = page(req)?;
        let page = self.0.execute(principal(depot)?, after, limit).await?;
        let items = page.items.iter().map(Into::into).collect();
        Ok(Reply::ok(SchedulePage { items, next_cursor: page.next.as_ref().map(cursor::encode) }))
    }
}

fn created(schedule: &Schedule) -> Reply<ScheduleView> {
    let location = format!("/v1/schedules/{}", schedule.id());
    Reply::created(location, ScheduleView::from(schedule)).version(schedule.version())
}

struct NewSchedule(CreateSchedule);

/// Submit a task again and again; the runs are yours
#[endpoint(operation_id = "create_schedule", tags("schedules"), security(["bearer" = []]),
    request_body = ScheduleBody,
    responses((status_code = 201, description = "The schedule.", body = ScheduleView)))]
impl NewSchedule {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<ScheduleView>, Problem> {
        let plan = json::<ScheduleBody>(req).await?.into_plan()?;
        let once = idempotency::once(depot, created);
        answer(self.0.execute(principal(depot)?, plan, &once).await, created)
    }
}

struct GetSchedule(ReadSchedule);

/// A schedule
#[endpoint(operation_id = "get_schedule", tags("schedules"), security(["bearer" = []]),
    parameters(("schedule_id" = String, Path, description = "`schedule_…`")),
    responses((status_code = 200, description = "The schedule.", body = ScheduleView)))]
impl GetSchedule {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<ScheduleView>, Problem> {
        let id = id(req, "schedule_id", "schedule")?;
        Ok(views::reply(&self.0.execute(principal(depot)?, id).await?))
    }
}

struct PutSchedule(ChangeSchedule);

/// Change what a schedule does; its runs are yours from then on
#[endpoint(operation_id = "update_schedule", tags("schedules"), security(["bearer" = []]),
    request_body = ScheduleBody,
    parameters(("schedule_id" = String, Path, description = "`schedule_…`"),
               ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status_code = 200, description = "The schedule as changed.", body = ScheduleView)))]
impl PutSchedule {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<ScheduleView>, Problem> {
        let (id, version) = (id(req, "schedule_id", "schedule")?, if_match(req)?);
        let plan = json::<ScheduleBody>(req).await?.into_plan()?;
        Ok(views::reply(&self.0.execute(principal(depot)?, id, version, plan).await?))
    }
}

struct RemoveSchedule(DeleteSchedule);

/// Remove a schedule; the runs that it made stay
#[endpoint(operation_id = "delete_schedule", tags("schedules"), security(["bearer" = []]),
    parameters(("schedule_id" = String, Path, description = "`schedule_…`"),
               ("If-Match" = Option<String>, Header, description = "The ETag that was read")))]
impl RemoveSchedule {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<NoContent, Problem> {
        let (id, version) = (id(req, "schedule_id", "schedule")?, if_match(req)?);
        self.0.execute(principal(depot)?, id, version).await?;
        Ok(NoContent)
    }
}

struct GetFirings(PreviewFirings);

/// When a schedule fires next; of a paused one, when it would
#[endpoint(operation_id = "list_schedule_firings", tags("schedules"), security(["bearer" = []]),
    parameters(("schedule_id" = String, Path, description = "`schedule_…`"),
               ("limit" = Option<u16>, Query, description = "1 to 100, 20 by default")),
    responses((status_code = 200, description = "The next firings.", body = FiringsView)))]
impl GetFirings {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<FiringsView>, Problem> {
        let (_, limit) = page::<String>(req)?;
        let id = id(req, "schedule_id", "schedule")?;
        let firings = self.0.execute(principal(depot)?, id, limit).await?;
        Ok(Reply::ok(FiringsView { items: firings.into_iter().map(instant).collect() }))
    }
}

struct Pause(PauseSchedule);

/// Stop a schedule from firing
#[endpoint(operation_id = "pause_schedule", tags("schedules"), security(["bearer" = []]),
    parameters(("schedule_id" = String, Path, description = "`schedule_…`"),
               ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status_code = 200, description = "The schedule as paused.", body = ScheduleView)))]
impl Pause {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<ScheduleView>, Problem> {
        let (id, version) = (id(req, "schedule_id", "schedule")?, if_match(req)?);
        let once = idempotency::once(depot, views::reply);
        answer(self.0.execute(principal(depot)?, id, version, &once).await, views::reply)
    }
}

struct Resume(ResumeSchedule);

/// Let a schedule fire again, from now on
#[endpoint(operation_id = "resume_schedule", tags("schedules"), security(["bearer" = []]),
    parameters(("schedule_id" = String, Path, description = "`schedule_…`"),
               ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status_code = 200, description = "The schedule as resumed.", body = ScheduleView)))]
impl Resume {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<ScheduleView>, Problem> {
        let (id, version) = (id(req, "schedule_id", "schedule")?, if_match(req)?);
        let once = idempotency::once(depot, views::reply);
        answer(self.0.execute(principal(depot)?, id, version, &once).await, views::reply)
    }
}
