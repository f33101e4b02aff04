//! Schedules as callers read them.

use powerhouse_domain::schedules::{Missed, PauseReason, Schedule, ScheduleState};
use powerhouse_domain::selection::Target;
use salvo::oapi::ToSchema;
use serde::Serialize;

use crate::reply::{Reply, instant};

/// A schedule.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Schedule"))]
pub(super) struct ScheduleView {
    id: String,
    name: String,
    cron: String,
    time_zone: String,
    /// `skip`, `once` or `catch_up`.
    missed: &'static str,
    /// How many missed firings are made up for, with `catch_up`.
    catch_up: Option<u8>,
    task: String,
    agent: Option<String>,
    candidates: Vec<String>,
    capabilities: Vec<String>,
    priority: u8,
    deadline_seconds: Option<u64>,
    /// `active` or `paused`.
    status: &'static str,
    /// When it fires next, while it is active.
    next_at: Option<String>,
    /// Why it does not, while it is paused.
    paused: Option<PauseView>,
    /// The last firing that made a run.
    last: Option<FiringView>,
    /// Whose the runs are: who made the schedule, or was the last to change what it does.
    requested_by: String,
    created_at: String,
}

/// Why a schedule does not fire.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "SchedulePause"))]
struct PauseView {
    /// `asked`, `requester_gone`, `refused` or `over`.
    code: &'static str,
    /// The same in a sentence.
    reason: String,
    since: String,
}

/// A firing and its run.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Firing"))]
struct FiringView {
    at: String,
    run: String,
}

impl PauseView {
    fn new(reason: &PauseReason, since: String) -> Self {
        let (code, reason) = match reason {
            PauseReason::Asked => ("asked", "somebody paused it"),
            PauseReason::RequesterGone => ("requester_gone", "whom it runs for is gone, or may not sign in"),
            PauseReason::Refused(why) => ("refused", why.as_str()),
            PauseReason::Over => ("over", "its expression names no further time"),
        };
        Self { code, reason: reason.to_owned(), since }
    }
}

impl From<&Schedule> for ScheduleView {
    fn from(schedule: &Schedule) -> Self {
        let plan = schedule.plan();
        let (agent, candidates, capabilities) = match &plan.order.target {
            Target::Agent(agent) => (Some(agent.to_string()), Vec::new(), Vec::new()),
            Target::Auto(wish) => {
                let candidates = wish.candidates.iter().map(ToString::to_string).collect();
                (None, candidates, wish.capabilities.clone())
            }
        };
        let (status, paused) = match schedule.state() {
            ScheduleState::Active { .. } => ("active", None),
            ScheduleState::Paused { reason, since } => {
                ("paused", Some(PauseView::new(reason, instant(*since))))
            }
        };
        Self {
            id: schedule.id().to_string(),
            name: plan.name.as_str().to_owned(),
            cron: plan.timing.expression().to_owned(),
            time_zone: plan.timing.zone().to_owned(),
            missed: plan.missed.kind().as_str(),
            catch_up: match plan.missed {
                Missed::CatchUp(most) => Some(most.get()),
                Missed::Skip | Missed::Once => None,
            },
            task: plan.order.task.as_str().to_owned(),
            agent,
            candidates,
            capabilities,
            priority: plan.order.priority.get(),
            deadline_seconds: plan.order.within.map(|within| within.as_secs()),
            status,
            next_at: schedule.next_at().map(instant),
            paused,
            last: schedule.last().map(|last| FiringView { at: instant(last.at), run: last.run.to_string() }),
            requested_by: schedule.requested_by().to_string(),
            created_at: instant(schedule.created_at()),
        }
    }
}

/// A page of schedules.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SchedulePage {
    pub(super) items: Vec<ScheduleView>,
    /// Where the next page begins; none when this is the last.
    pub(super) next_cursor: Option<String>,
}

/// When a schedule fires next.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Firings"))]
pub(super) struct FiringsView {
    pub(super) items: Vec<String>,
}

/// A schedule with its version.
pub(super) fn reply(schedule: &Schedule) -> Reply<ScheduleView> {
    Reply::ok(ScheduleView::from(schedule)).version(schedule.version())
}
