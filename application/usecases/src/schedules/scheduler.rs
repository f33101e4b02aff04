//! Fires schedules. Each replica has one: whichever is told first makes the run, and no other makes it again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use powerhouse_domain::access::Principal;
use powerhouse_domain::audit::{Actor, AuditAction, Entry};
use powerhouse_domain::ids::RunId;
use powerhouse_domain::schedules::{DueSchedule, PauseReason, Schedule};
use powerhouse_ports::Chain;
use powerhouse_ports::platform::PlatformStore;
use powerhouse_ports::store::{StoreError, TenantTx};
use tokio_util::sync::CancellationToken;

use crate::runs::{SubmitRun, SubmitRunCommand};
use crate::users::role_now;
use crate::{Refused, audited};

/// Schedules that are claimed at once.
const AT_ONCE: u32 = 20;
/// How long a claim holds: a replica that dies leaves it to the others after that.
const CLAIM: Duration = Duration::from_secs(30);
/// The pause when nothing is due.
const EVERY: Duration = Duration::from_secs(1);

/// Fires schedules.
pub struct Scheduler {
    /// Where schedules are claimed.
    pub platform: Arc<dyn PlatformStore>,
    /// Accepts what they ask for.
    pub submit: SubmitRun,
}

/// What became of a claim.
enum Fired {
    /// These runs were made; some were there already.
    Runs(Vec<RunId>),
    /// Somebody else fired or changed it.
    ByOthers,
}

/// Why a claim came to nothing.
enum Failure {
    /// The schedule is to be paused.
    Pause(PauseReason),
    /// The run of this firing is there already.
    Made(DateTime<Utc>),
    /// It will be tried again.
    Store(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Scheduler {
    /// Works until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let claimed = self.claim().await;
            for due in &claimed {
                if let Err(error) = self.fire(due).await {
                    tracing::warn!(error = %Chain(&error), schedule = %due.schedule(), "a schedule did not fire");
                }
            }
            if u32::try_from(claimed.len()) == Ok(AT_ONCE) {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn claim(&self) -> Vec<DueSchedule> {
        match self.platform.claim_schedules(AT_ONCE, self.submit.clock.now(), CLAIM).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "due schedules could not be claimed");
                Vec::new()
            }
        }
    }

    /// Makes the runs of one schedule that are due.
    async fn fire(&self, due: &DueSchedule) -> Result<(), StoreError> {
        let mut made = BTreeSet::new();
        loop {
            match self.try_fire(due, &made).await {
                Ok(Fired::Runs(runs)) => {
                    for run in runs {
                        self.submit.announce(&due.scope(), run).await;
                    }
                    return Ok(());
                }
                Err(Failure::Made(at)) if made.insert(at) => {}
                Ok(Fired::ByOthers) | Err(Failure::Made(_)) => return Ok(()),
                Err(Failure::Pause(reason)) => return self.pause(due, reason).await,
                Err(Failure::Store(error)) => return Err(error),
            }
        }
    }

    /// Makes the runs and moves the schedule on, in one transaction.
    async fn try_fire(&self, due: &DueSchedule, made: &BTreeSet<DateTime<Utc>>) -> Result<Fired, Failure> {
        let mut tx = self.submit.store.begin(&due.scope()).await?;
        let Some(schedule) = tx.schedules().find(due.schedule()).await? else { return Ok(Fired::ByOthers) };
        let now = self.submit.clock.now();
        if schedule.next_at().is_none_or(|next| next > now) {
            return Ok(Fired::ByOthers);
        }
        let principal = requester(&mut *tx, due, &schedule).await?;
        let firings = schedule.due(now);
        let fired = schedule.clone().fired(firings.last().copied(), now);
        // First, so that of several who fire it at the same time one goes on.
        match tx.schedules().update(&fired).await {
            Ok(()) => {}
            Err(StoreError::Conflict { .. }) => return Ok(Fired::ByOthers),
            Err(error) => return Err(error.into()),
        }
        let mut runs = Vec::new();
        for at in firings.into_iter().filter(|at| !made.contains(at)) {
            let (id, order) = (schedule.run_of(at), &schedule.plan().order);
            let command = SubmitRunCommand {
                task: order.task.clone(),
                target: order.target.clone(),
                formation: None,
                thread: None,
                placement: schedule.placement(at),
            };
            match self.submit.accept(&mut *tx, &principal, command, id, now).await {
                Ok(_) => runs.push(id),
                // The clocks of replicas differ, or somebody changed the schedule right then.
                Err(Refused::Store(StoreError::Conflict { .. })) => return Err(Failure::Made(at)),
                Err(Refused::Store(error)) => return Err(error.into()),
                Err(refused) => return Err(Failure::Pause(PauseReason::Refused(refused.to_string()))),
            }
        }
        tx.commit().await?;
        Ok(Fired::Runs(runs))
    }

    async fn pause(&self, due: &DueSchedule, reason: PauseReason) -> Result<(), StoreError> {
        let mut tx = self.submit.store.begin(&due.scope()).await?;
        let Some(schedule) = tx.schedules().find(due.schedule()).await? else { return Ok(()) };
        tracing::info!(schedule = %schedule.id(), ?reason, "a schedule was paused");
        let now = self.submit.clock.now();
        let entry = Entry::new(Actor::Platform, AuditAction::SchedulePaused, schedule.id(), now);
        let entry = entry.with(
            "reason",
            match &reason {
                PauseReason::Asked => "asked",
                PauseReason::RequesterGone => "requester_gone",
                PauseReason::Over => "over",
                PauseReason::Refused(_) => "refused",
            },
        );
        match tx.schedules().update(&schedule.pause(reason, now)).await {
            Ok(()) => audited::commit(tx, entry).await,
            // Somebody changed it meanwhile: if it is still due, it is claimed again.
            Err(StoreError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Whom the schedule acts for, with what they may do now.
async fn requester(
    tx: &mut dyn TenantTx,
    due: &DueSchedule,
    schedule: &Schedule,
) -> Result<Principal, Failure> {
    let user = schedule.requested_by();
    let role = role_now(tx, user).await?.ok_or(Failure::Pause(PauseReason::RequesterGone))?;
    Ok(due.principal(user, role))
}
