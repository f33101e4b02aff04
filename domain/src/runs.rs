//! Runs: one execution of a task, as a state machine whose transitions consume the state.
//!
//! `queued → running → (waiting → running)* → succeeded | failed | cancelled | timed_out`. Every other transition
//! is refused, and the refused run is handed back unchanged.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::access::Role;
use crate::agents::AgentName;
use crate::ids::{AgentId, RunId, UserId};
use crate::model::Usage;
use crate::threads::InThread;

mod approval_rules;
mod approvals;
mod ending;
mod event_hash;
mod events;
mod explanation;
mod feedback;
mod formation;
mod lease;
mod ledger;
mod limits;
mod lineage;
mod placement;
mod replay;
mod room;
mod steps;
mod taint;

pub use approval_rules::{
    ApprovalRule, ApprovalRules, Condition, Consequence, InvalidPattern, InvalidRule, MAX_REASON_CHARS,
    MAX_RULE_AGENTS, MAX_RULES, ToolPattern,
};
pub use approvals::{Answer, AnswerRefused, Approval, Decision, Demand, MAX_ANSWER_CHARS, Question};
pub use ending::Ending;
pub use event_hash::{EventHash, InvalidEventHash};
pub use events::{EventBody, RunEvent, conversation, offered, settled, steps};
pub use explanation::{
    Asked, Attempt, Cost, Explanation, LostCall, Pause, StepTold, Times, Told, Wait, explain,
};
pub use feedback::{Feedback, InvalidComment, Verdict};
pub use formation::{Formation, MAX_FORMATION};
pub use lease::{FencingToken, Lease};
pub use ledger::{Ledger, OpenEffect};
pub use limits::{LimitExceeded, RunLimits};
pub use lineage::{Lineage, MAX_DEPTH};
pub use placement::{InvalidPlacement, InvalidPriority, Placement, Priority};
pub use replay::{Difference, Recorded, Recording, Replay, ReplayedStep, replay};
pub use room::Room;
pub use steps::{Step, StepKind, StepRefused, StepState};
pub use taint::Provenance;

/// The most characters that a task may have.
pub const MAX_TASK_CHARS: usize = 32_768;

/// A task in words. Not blank, at most [`MAX_TASK_CHARS`] characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task(String);

/// Why a text is not a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTask {
    /// Nothing but white space.
    #[error("a task must say something")]
    Blank,
    /// Too long.
    #[error("a task has at most {MAX_TASK_CHARS} characters")]
    TooLong,
}

impl Task {
    /// Checks a text.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidTask> {
        let text = text.into();
        if text.trim().is_empty() {
            return Err(InvalidTask::Blank);
        }
        if text.chars().nth(MAX_TASK_CHARS).is_some() {
            return Err(InvalidTask::TooLong);
        }
        Ok(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why this agent does this run.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// The agent that was chosen.
    pub agent: AgentId,
    /// The version of its definition that the run uses to its end.
    pub agent_version: u32,
    /// A sentence for people.
    pub reason: String,
    /// The best candidates with their scores, best first.
    pub scores: Vec<(AgentId, f64)>,
    /// The agents that work before it, if any do.
    pub formation: Option<Formation>,
    /// How likely each agent was to be chosen that could have been; none when the caller named one, or in runs from before
    /// this was kept.
    pub propensities: Vec<(AgentId, f64)>,
    /// The revision of what the tenant's selection knew; none in the same cases.
    pub revision: Option<u64>,
}

impl Selection {
    /// The same, by an agent whose definition has others work before it.
    #[must_use]
    pub fn after(self, formation: Option<&Formation>) -> Self {
        let Some(formation) = formation else { return self };
        let what = match formation {
            Formation::Team(_) => "a team",
            Formation::Pipeline(_) => "a pipeline",
        };
        let names: Vec<_> = formation.agents().iter().map(AgentName::as_str).collect();
        let reason = format!("{}; it is {what}: {} work before it", self.reason, names.join(", "));
        Self { formation: Some(formation.clone()), reason, ..self }
    }

    /// How likely the agent was to be chosen; nothing when the caller named it, or nobody kept it.
    pub fn propensity(&self) -> Option<f64> {
        let own = self.propensities.iter().find(|(agent, _)| *agent == self.agent);
        own.map(|(_, propensity)| *propensity)
    }
}

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFailure {
    /// Stable, for programs: `model_unavailable`, `non_deterministic`, …
    pub code: String,
    /// A sentence for people, without internals.
    pub message: String,
}

/// Where a run is in its life, with the data that belongs to it there.
#[derive(Clone, Debug, PartialEq)]
pub enum RunState {
    /// Accepted; no worker has it.
    Queued,
    /// A worker has it.
    Running {
        /// When the first worker took it.
        started_at: DateTime<Utc>,
    },
    /// It waits for something outside, such as a person or a point in time.
    Waiting {
        /// When the first worker took it.
        started_at: DateTime<Utc>,
        /// What it waits for, in a sentence.
        reason: String,
        /// When it goes on by itself; when there is none, somebody has to say so.
        until: Option<DateTime<Utc>>,
    },
    /// It has its answer.
    Succeeded {
        /// The answer.
        answer: String,
        /// When the first worker took it.
        started_at: DateTime<Utc>,
        /// When it ended.
        ended_at: DateTime<Utc>,
    },
    /// It has none, and why.
    Failed {
        /// Why.
        failure: RunFailure,
        /// When the first worker took it, if one did.
        started_at: Option<DateTime<Utc>>,
        /// When it ended.
        ended_at: DateTime<Utc>,
    },
    /// Somebody stopped it.
    Cancelled {
        /// Who.
        by: UserId,
        /// When the first worker took it, if one did.
        started_at: Option<DateTime<Utc>>,
        /// When it ended.
        ended_at: DateTime<Utc>,
    },
    /// It ran out of wall-clock time.
    TimedOut {
        /// When the first worker took it, if one did.
        started_at: Option<DateTime<Utc>>,
        /// When it ended.
        ended_at: DateTime<Utc>,
    },
}

impl RunState {
    /// When the first worker took it; nothing while none has.
    pub fn started_at(&self) -> Option<DateTime<Utc>> {
        match *self {
            Self::Queued => None,
            Self::Running { started_at }
            | Self::Waiting { started_at, .. }
            | Self::Succeeded { started_at, .. } => Some(started_at),
            Self::Failed { started_at, .. }
            | Self::Cancelled { started_at, .. }
            | Self::TimedOut { started_at, .. } => started_at,
        }
    }

    /// The state's name, as it is stored and shown.
    pub fn name(&self) -> RunStatus {
        match self {
            Self::Queued => RunStatus::Queued,
            Self::Running { .. } => RunStatus::Running,
            Self::Waiting { .. } => RunStatus::Waiting,
            Self::Succeeded { .. } => RunStatus::Succeeded,
            Self::Failed { .. } => RunStatus::Failed,
            Self::Cancelled { .. } => RunStatus::Cancelled,
            Self::TimedOut { .. } => RunStatus::TimedOut,
        }
    }
}

/// A state's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunStatus {
    /// See [`RunState::Queued`].
    Queued,
    /// See [`RunState::Running`].
    Running,
    /// See [`RunState::Waiting`].
    Waiting,
    /// See [`RunState::Succeeded`].
    Succeeded,
    /// See [`RunState::Failed`].
    Failed,
    /// See [`RunState::Cancelled`].
    Cancelled,
    /// See [`RunState::TimedOut`].
    TimedOut,
}

impl RunStatus {
    /// As it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
        }
    }

    /// Whether nothing can follow.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled | Self::TimedOut)
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A transition that the state does not allow. The run is as it was.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("a run that is {} cannot become {to}", run.state().name())]
pub struct RunTransitionRefused {
    /// The run, unchanged.
    pub run: Box<Run>,
    /// What it was to become.
    pub to: RunStatus,
}

/// One execution of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    id: RunId,
    requested_by: UserId,
    admitted_as: Option<Role>,
    task: Task,
    selection: Selection,
    limits: RunLimits,
    placement: Placement,
    lineage: Option<Lineage>,
    in_thread: Option<InThread>,
    state: RunState,
    usage: Usage,
    created_at: DateTime<Utc>,
    version: u64,
}

/// Every field of a [`Run`], for repositories to load one from.
#[derive(Clone, Debug, PartialEq)]
pub struct RunParts {
    /// Its id.
    pub id: RunId,
    /// Who asked for it.
    pub requested_by: UserId,
    /// The role that allowed it.
    pub admitted_as: Option<Role>,
    /// What is to be done.
    pub task: Task,
    /// Who does it, and why.
    pub selection: Selection,
    /// What it may use.
    pub limits: RunLimits,
    /// How the queue treats it.
    pub placement: Placement,
    /// The run that began it, if one did.
    pub lineage: Option<Lineage>,
    /// The thread that it belongs to, if it does to one.
    pub in_thread: Option<InThread>,
    /// Where it is in its life.
    pub state: RunState,
    /// What it has used.
    pub usage: Usage,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
    /// Grows by one with each change.
    pub version: u64,
}

impl Run {
    /// Accepts a task.
    pub fn accept(
        id: RunId,
        requested_by: UserId,
        task: Task,
        selection: Selection,
        limits: RunLimits,
        now: DateTime<Utc>,
    ) -> Self {
        let state = RunState::Queued;
        Self {
            id,
            requested_by,
            admitted_as: None,
            task,
            selection,
            limits,
            placement: Placement::default(),
            lineage: None,
            in_thread: None,
            state,
            usage: Usage::default(),
            created_at: now,
            version: 1,
        }
    }

    /// Loads a run that was stored.
    pub fn restore(parts: RunParts) -> Self {
        let RunParts {
            id,
            requested_by,
            admitted_as,
            task,
            selection,
            limits,
            placement,
            lineage,
            in_thread,
            state,
            usage,
            created_at,
            version,
        } = parts;
        Self {
            id,
            requested_by,
            admitted_as,
            task,
            selection,
            limits,
            placement,
            lineage,
            in_thread,
            state,
            usage,
            created_at,
            version,
        }
    }

    /// The same run, which the queue is to treat in this way.
    #[must_use]
    pub fn placed(self, placement: Placement) -> Self {
        Self { placement, ..self }
    }

    /// The same run, begun by another one.
    #[must_use]
    pub fn begun_by(self, lineage: Lineage) -> Self {
        Self { lineage: Some(lineage), ..self }
    }

    /// The same run, as a turn of a thread.
    #[must_use]
    pub fn in_thread(self, place: InThread) -> Self {
        Self { in_thread: Some(place), ..self }
    }

    /// The same run, which this role of whoever asked for it has allowed.
    #[must_use]
    pub fn admitted_as(self, role: Role) -> Self {
        Self { admitted_as: Some(role), ..self }
    }

    /// Its id.
    pub fn id(&self) -> RunId {
        self.id
    }

    /// Who asked for it.
    pub fn requested_by(&self) -> UserId {
        self.requested_by
    }

    /// The role that allowed whoever asked for it to start it, as it was then; runs from before that was kept have none.
    pub fn admission(&self) -> Option<Role> {
        self.admitted_as
    }

    /// What is to be done.
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// Who does it, and why.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// What it may use.
    pub fn limits(&self) -> &RunLimits {
        &self.limits
    }

    /// How the queue treats it.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// The run that began it, if one did.
    pub fn lineage(&self) -> Option<Lineage> {
        self.lineage
    }

    /// Where in a thread it is, if it is in one.
    pub fn place_in_thread(&self) -> Option<InThread> {
        self.in_thread
    }

    /// Where a run that this one begins stands; nothing when it may begin none.
    pub fn next_lineage(&self) -> Option<Lineage> {
        let depth = self.lineage.map_or(0, |lineage| lineage.depth) + 1;
        let root = self.lineage.map_or(self.id, |lineage| lineage.root);
        (depth <= MAX_DEPTH).then_some(Lineage { parent: self.id, root, depth })
    }

    /// Since when its place in the queue counts: what belongs to a run goes on before later ones are begun.
    fn queued_since(&self) -> DateTime<Utc> {
        let root = self.lineage.and_then(|lineage| lineage.root.made_at());
        root.map_or(self.created_at, |made_at| made_at.min(self.created_at))
    }

    /// When it may be claimed: nothing while a worker has it, somebody has to say so, or it has ended.
    pub fn due_at(&self) -> Option<DateTime<Utc>> {
        match self.state {
            RunState::Queued => Some(self.placement.not_before.unwrap_or_else(|| self.queued_since())),
            RunState::Waiting { until, .. } => match (until, self.placement.deadline) {
                (Some(until), Some(deadline)) => Some(until.min(deadline)),
                (until, deadline) => until.or(deadline),
            },
            _ => None,
        }
    }

    /// How long it may still be worked on, having begun at `started_at`: until its deadline, or until its limit of wall
    /// clock is used up, whichever is first.
    pub fn time_left(&self, started_at: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
        let elapsed = (now - started_at).to_std().unwrap_or_default();
        let left = self.limits.wall_clock.saturating_sub(elapsed);
        let until_deadline =
            self.placement.deadline.map(|deadline| (deadline - now).to_std().unwrap_or_default());
        until_deadline.map_or(left, |until| left.min(until))
    }

    /// Where it is in its life.
    pub fn state(&self) -> &RunState {
        &self.state
    }

    /// What it has used.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// When it was accepted.
    pub fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    /// Grows by one with each change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// A worker takes it: from `queued`, or from `waiting` when what it waited for has come.
    pub fn start(self, now: DateTime<Utc>) -> Result<Self, RunTransitionRefused> {
        match self.state {
            RunState::Queued => Ok(self.moved(RunState::Running { started_at: now })),
            RunState::Waiting { started_at, .. } => Ok(self.moved(RunState::Running { started_at })),
            _ => Err(self.refused(RunStatus::Running)),
        }
    }

    /// It has to wait for something outside, at the longest until `until`.
    pub fn wait(
        self,
        reason: impl Into<String>,
        until: Option<DateTime<Utc>>,
    ) -> Result<Self, RunTransitionRefused> {
        match self.state {
            RunState::Running { started_at } => {
                Ok(self.moved(RunState::Waiting { started_at, reason: reason.into(), until }))
            }
            _ => Err(self.refused(RunStatus::Waiting)),
        }
    }

    /// It has its answer.
    pub fn succeed(
        self,
        answer: impl Into<String>,
        now: DateTime<Utc>,
    ) -> Result<Self, RunTransitionRefused> {
        match self.state {
            RunState::Running { started_at } => {
                Ok(self.moved(RunState::Succeeded { answer: answer.into(), started_at, ended_at: now }))
            }
            _ => Err(self.refused(RunStatus::Succeeded)),
        }
    }

    /// It cannot have an answer. Also from `queued`: its agent may be gone before a worker takes it.
    pub fn fail(self, failure: RunFailure, now: DateTime<Utc>) -> Result<Self, RunTransitionRefused> {
        let started_at = self.state.started_at();
        self.end(RunState::Failed { failure, started_at, ended_at: now })
    }

    /// Somebody stops it.
    pub fn cancel(self, by: UserId, now: DateTime<Utc>) -> Result<Self, RunTransitionRefused> {
        let started_at = self.state.started_at();
        self.end(RunState::Cancelled { by, started_at, ended_at: now })
    }

    /// Its time is over.
    pub fn time_out(self, now: DateTime<Utc>) -> Result<Self, RunTransitionRefused> {
        let started_at = self.state.started_at();
        self.end(RunState::TimedOut { started_at, ended_at: now })
    }

    /// Adds what a step consumed. Only while it runs.
    pub fn charge(mut self, usage: Usage) -> Result<Self, RunTransitionRefused> {
        if !matches!(self.state, RunState::Running { .. }) {
            return Err(self.refused(RunStatus::Running));
        }
        self.usage = self.usage.plus(usage.without_cache());
        self.version += 1;
        Ok(self)
    }

    fn end(self, to: RunState) -> Result<Self, RunTransitionRefused> {
        if self.state.name().is_final() { Err(self.refused(to.name())) } else { Ok(self.moved(to)) }
    }

    fn moved(self, state: RunState) -> Self {
        Self { state, version: self.version + 1, ..self }
    }

    fn refused(self, to: RunStatus) -> RunTransitionRefused {
        RunTransitionRefused { run: Box::new(self), to }
    }
}

#[cfg(test)]
mod tests;
