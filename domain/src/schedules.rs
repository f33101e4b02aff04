//! Schedules: tasks that are submitted again and again, at the times of a cron expression in a time zone.
//!
//! What a schedule does when its time has come is decided in [`Schedule::due`]; who asks is told by [`DueSchedule`].

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::access::named_enum;
use crate::ids::{RunId, ScheduleId, UserId, derived_uuid};
use crate::runs::{Placement, Priority, Task};
use crate::selection::Target;

mod claim;
mod timing;

pub use claim::DueSchedule;
pub use timing::{InvalidTiming, Timing};

/// The most characters of a schedule's name.
pub const MAX_NAME_CHARS: usize = 100;
/// The most schedules of a tenant.
pub const MAX_SCHEDULES: u64 = 500;
/// A firing that comes no later than this was not missed: nobody looks at the clock all the time.
const GRACE: TimeDelta = TimeDelta::minutes(1);

/// What a schedule is called, for people. Not blank, at most [`MAX_NAME_CHARS`] characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleName(String);

/// A text that is not a schedule's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a schedule's name is 1 to {MAX_NAME_CHARS} characters, and not blank")]
pub struct InvalidScheduleName;

impl std::str::FromStr for ScheduleName {
    type Err = InvalidScheduleName;

    fn from_str(text: &str) -> Result<Self, InvalidScheduleName> {
        let text = text.trim();
        let is_good = !text.is_empty() && text.chars().nth(MAX_NAME_CHARS).is_none();
        if is_good { Ok(Self(text.to_owned())) } else { Err(InvalidScheduleName) }
    }
}

impl ScheduleName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What becomes of firings whose time has passed unnoticed, because nothing ran or the schedule's tenant was suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// Nothing.
    Skip,
    /// One run for all of them, at the time of the last.
    Once,
    /// A run for each of the last ones, so many at most.
    CatchUp(CatchUp),
}

named_enum! {
    /// The names of the ways to treat what was missed.
    MissedKind as "way to treat missed firings" {
        /// See [`Missed::Skip`].
        Skip = "skip",
        /// See [`Missed::Once`].
        Once = "once",
        /// See [`Missed::CatchUp`].
        CatchUp = "catch_up",
    }
}

/// How many missed firings are made up for: 1 to [`CatchUp::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatchUp(u8);

/// A number of firings out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("from 1 to {} firings can be caught up with", CatchUp::MAX)]
pub struct InvalidCatchUp;

impl CatchUp {
    /// The most.
    pub const MAX: u8 = 100;

    /// Checks a number.
    pub const fn new(firings: u8) -> Result<Self, InvalidCatchUp> {
        if firings >= 1 && firings <= Self::MAX { Ok(Self(firings)) } else { Err(InvalidCatchUp) }
    }

    /// The number.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl Missed {
    /// Its name.
    pub const fn kind(self) -> MissedKind {
        match self {
            Self::Skip => MissedKind::Skip,
            Self::Once => MissedKind::Once,
            Self::CatchUp(_) => MissedKind::CatchUp,
        }
    }
}

/// What is submitted at each firing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The task.
    pub task: Task,
    /// By whom.
    pub target: Target,
    /// How urgent it is among its tenant's runs.
    pub priority: Priority,
    /// How long after the firing the run is timed out; no deadline when absent.
    pub within: Option<Duration>,
}

/// Everything about a schedule that people choose.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What it is called.
    pub name: ScheduleName,
    /// When it fires.
    pub timing: Timing,
    /// What becomes of missed firings.
    pub missed: Missed,
    /// What is submitted.
    pub order: Order,
}

/// Why a schedule does not fire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PauseReason {
    /// Somebody paused it.
    Asked,
    /// Who it runs for is gone, or may not sign in.
    RequesterGone,
    /// Its task was refused; why, in a sentence.
    Refused(String),
    /// Its expression names no further time.
    Over,
}

/// Whether a schedule fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScheduleState {
    /// It fires.
    Active {
        /// When next.
        next_at: DateTime<Utc>,
    },
    /// It does not.
    Paused {
        /// Why.
        reason: PauseReason,
        /// Since when.
        since: DateTime<Utc>,
    },
}

/// A firing, and the run that was made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Firing {
    /// Its time, as the expression names it.
    pub at: DateTime<Utc>,
    /// The run.
    pub run: RunId,
}

/// A schedule's expression names no time to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the expression names no time to come")]
pub struct NeverFires;

/// A task that is submitted at the times of an expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    id: ScheduleId,
    requested_by: UserId,
    plan: Plan,
    state: ScheduleState,
    last: Option<Firing>,
    created_at: DateTime<Utc>,
    version: u64,
}

/// Every field of a [`Schedule`], for repositories to load one from.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleParts {
    /// Its id.
    pub id: ScheduleId,
    /// For whom its runs are.
    pub requested_by: UserId,
    /// What people chose.
    pub plan: Plan,
    /// Whether it fires.
    pub state: ScheduleState,
    /// Its last firing that made a run.
    pub last: Option<Firing>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Grows by one with each change.
    pub version: u64,
}

impl Schedule {
    /// A new schedule, whose runs are for `requested_by`.
    pub fn new(
        id: ScheduleId,
        requested_by: UserId,
        plan: Plan,
        now: DateTime<Utc>,
    ) -> Result<Self, NeverFires> {
        let next_at = plan.timing.next_after(now).ok_or(NeverFires)?;
        let state = ScheduleState::Active { next_at };
        Ok(Self { id, requested_by, plan, state, last: None, created_at: now, version: 1 })
    }

    /// Loads a schedule that was stored.
    pub fn restore(parts: ScheduleParts) -> Self {
        let ScheduleParts { id, requested_by, plan, state, last, created_at, version } = parts;
        Self { id, requested_by, plan, state, last, created_at, version }
    }

    /// Its id.
    pub fn id(&self) -> ScheduleId {
        self.id
    }

    /// For whom its runs are: who made it, or was the last to change what it does.
    pub fn requested_by(&self) -> UserId {
        self.requested_by
    }

    /// What people chose.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Whether it fires.
    pub fn state(&self) -> &ScheduleState {
        &self.state
    }

    /// Its last firing that made a run.
    pub fn last(&self) -> Option<Firing> {
        self.last
    }

    /// When it was made.
    pub fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    /// Grows by one with each change; what an `ETag` is made of.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// When it fires next; never while it is paused.
    pub fn next_at(&self) -> Option<DateTime<Utc>> {
        match self.state {
            ScheduleState::Active { next_at } => Some(next_at),
            ScheduleState::Paused { .. } => None,
        }
    }

    /// Does something else from now on. Its runs are for whoever says so: nobody gets another to act by changing what
    /// that one has scheduled.
    pub fn change(self, by: UserId, plan: Plan, now: DateTime<Utc>) -> Result<Self, NeverFires> {
        let next_at = plan.timing.next_after(now).ok_or(NeverFires)?;
        let state = match self.state {
            ScheduleState::Active { .. } => ScheduleState::Active { next_at },
            paused @ ScheduleState::Paused { .. } => paused,
        };
        Ok(Self { requested_by: by, plan, state, version: self.version + 1, ..self })
    }

    /// Fires no more. The first reason stays.
    #[must_use]
    pub fn pause(self, reason: PauseReason, now: DateTime<Utc>) -> Self {
        match self.state {
            ScheduleState::Paused { .. } => self,
            ScheduleState::Active { .. } => {
                let state = ScheduleState::Paused { reason, since: now };
                Self { state, version: self.version + 1, ..self }
            }
        }
    }

    /// Fires again from now on. What was missed while it was paused stays missed: somebody wanted it so.
    pub fn resume(self, now: DateTime<Utc>) -> Result<Self, NeverFires> {
        match self.state {
            ScheduleState::Active { .. } => Ok(self),
            ScheduleState::Paused { .. } => {
                let next_at = self.plan.timing.next_after(now).ok_or(NeverFires)?;
                let state = ScheduleState::Active { next_at };
                Ok(Self { state, version: self.version + 1, ..self })
            }
        }
    }

    /// The firings that make runs now, oldest first. Nothing before the next one's time.
    pub fn due(&self, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let Some(since) = self.next_at().filter(|next| *next <= now) else { return Vec::new() };
        let most = match self.plan.missed {
            Missed::Skip | Missed::Once => 1,
            Missed::CatchUp(most) => usize::from(most.get()),
        };
        let mut due = self.plan.timing.latest(since, now, most);
        if self.plan.missed == Missed::Skip {
            due.retain(|at| now - *at <= GRACE);
        }
        // A run whose time is over before it begins is of no use to anybody.
        due.retain(|at| self.deadline(*at).is_none_or(|deadline| deadline > now));
        due
    }

    /// The same schedule after all that was due has been seen to; `last` is the newest of them that made a run.
    #[must_use]
    pub fn fired(self, last: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Self {
        let state = match self.plan.timing.next_after(now) {
            Some(next_at) => ScheduleState::Active { next_at },
            None => ScheduleState::Paused { reason: PauseReason::Over, since: now },
        };
        let last = last.map(|at| Firing { at, run: self.run_of(at) }).or(self.last);
        Self { state, last, version: self.version + 1, ..self }
    }

    /// The run of a firing. Its id follows from the two, so that whoever fires makes the same run.
    pub fn run_of(&self, at: DateTime<Utc>) -> RunId {
        let second = at.timestamp().to_be_bytes();
        RunId::from_uuid(derived_uuid(at, &[b"schedule", self.id.as_uuid().as_bytes(), &second]))
    }

    /// How the queue is to treat the run of a firing.
    pub fn placement(&self, at: DateTime<Utc>) -> Placement {
        Placement { priority: self.plan.order.priority, deadline: self.deadline(at), ..Placement::default() }
    }

    /// The next firings, were it active, after `now`.
    pub fn preview(&self, now: DateTime<Utc>, most: usize) -> Vec<DateTime<Utc>> {
        let timing = &self.plan.timing;
        std::iter::successors(timing.next_after(now), |at| timing.next_after(*at)).take(most).collect()
    }

    fn deadline(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let within = TimeDelta::from_std(self.plan.order.within?).ok()?;
        at.checked_add_signed(within)
    }
}

#[cfg(test)]
mod tests;
