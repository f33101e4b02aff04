//! Changing, pausing, resuming and removing a schedule: look it up, change it, store it at the version that was read.

use std::sync::Arc;

use powerhouse_domain::access::{self, Permit, Principal};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::ids::ScheduleId;
use powerhouse_domain::schedules::{PauseReason, Plan, Schedule};
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::{TenantStore, TenantTx};

use super::{NO_SCHEDULE, never};
use crate::refused::expect_version;
use crate::runs::check_target;
use crate::{Once, Refused, audited, permit};

/// Changes what a schedule does.
#[derive(Clone)]
pub struct ChangeSchedule {
    /// Where schedules are.
    pub store: Arc<dyn TenantStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl ChangeSchedule {
    /// Replaces all that people chose. Its runs are the caller's from now on.
    pub async fn execute(
        &self,
        principal: &Principal,
        id: ScheduleId,
        version: Option<u64>,
        plan: Plan,
    ) -> Result<Schedule, Refused> {
        let permit = changing(principal, id)?;
        let by = permit.granted_to();
        let (mut tx, schedule) = open(&*self.store, permit, version, &Once::unkeyed()).await?;
        check_target(&mut *tx, &plan.order.target).await?;
        let now = self.clock.now();
        let entry = Entry::by(principal, AuditAction::ScheduleChanged, id, now);
        store(tx, schedule.change(by, plan, now).map_err(never)?, &Once::unkeyed(), entry).await
    }
}

/// Pauses schedules.
#[derive(Clone)]
pub struct PauseSchedule {
    /// Where schedules are.
    pub store: Arc<dyn TenantStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl PauseSchedule {
    /// Stops a schedule from firing. To pause it again changes nothing.
    pub async fn execute(
        &self,
        principal: &Principal,
        id: ScheduleId,
        version: Option<u64>,
        once: &Once<Schedule>,
    ) -> Result<Schedule, Refused> {
        let (tx, schedule) = open(&*self.store, changing(principal, id)?, version, once).await?;
        if schedule.next_at().is_none() {
            once.commit(tx, &schedule).await?;
            return Ok(schedule);
        }
        let now = self.clock.now();
        let entry = Entry::by(principal, AuditAction::SchedulePaused, id, now);
        store(tx, schedule.pause(PauseReason::Asked, now), once, entry).await
    }
}

/// Resumes schedules.
#[derive(Clone)]
pub struct ResumeSchedule {
    /// Where schedules are.
    pub store: Arc<dyn TenantStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl ResumeSchedule {
    /// Lets a schedule fire again. To resume it again changes nothing.
    pub async fn execute(
        &self,
        principal: &Principal,
        id: ScheduleId,
        version: Option<u64>,
        once: &Once<Schedule>,
    ) -> Result<Schedule, Refused> {
        let (tx, schedule) = open(&*self.store, changing(principal, id)?, version, once).await?;
        if schedule.next_at().is_some() {
            once.commit(tx, &schedule).await?;
            return Ok(schedule);
        }
        let now = self.clock.now();
        let resumed = schedule.resume(now).map_err(|error| Refused::conflict("schedule_over", error))?;
        store(tx, resumed, once, Entry::by(principal, AuditAction::ScheduleResumed, id, now)).await
    }
}

/// Removes schedules.
#[derive(Clone)]
pub struct DeleteSchedule {
    /// Where schedules are.
    pub store: Arc<dyn TenantStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl DeleteSchedule {
    /// Removes a schedule; the runs that it made stay.
    pub async fn execute(
        &self,
        principal: &Principal,
        id: ScheduleId,
        version: Option<u64>,
    ) -> Result<(), Refused> {
        let (mut tx, schedule) =
            open(&*self.store, changing(principal, id)?, version, &Once::unkeyed()).await?;
        tx.schedules().remove(schedule.id()).await?;
        audited::commit(tx, Entry::by(principal, AuditAction::ScheduleRemoved, id, self.clock.now())).await?;
        Ok(())
    }
}

fn changing(principal: &Principal, id: ScheduleId) -> Result<Permit<access::UpdateSchedule>, Refused> {
    let visible = principal.permit::<access::ReadSchedule>(id).is_ok();
    permit::<access::UpdateSchedule>(principal, id, "schedule", visible)
}

async fn open(
    store: &dyn TenantStore,
    permit: Permit<access::UpdateSchedule>,
    version: Option<u64>,
    once: &Once<Schedule>,
) -> Result<(Box<dyn TenantTx>, Schedule), Refused> {
    let mut tx = once.begin(store, &permit.scope()).await?;
    let schedule = tx.schedules().find(permit.redeem()).await?.ok_or(NO_SCHEDULE)?;
    expect_version(schedule.version(), version)?;
    Ok((tx, schedule))
}

async fn store(
    mut tx: Box<dyn TenantTx>,
    schedule: Schedule,
    once: &Once<Schedule>,
    entry: Entry,
) -> Result<Schedule, Refused> {
    tx.schedules().update(&schedule).await.map_err(Refused::stale)?;
    once.commit_audited(tx, &schedule, entry).await?;
    Ok(schedule)
}
