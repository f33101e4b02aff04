//! One schedule, and when it fires next.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::ids::ScheduleId;
use powerhouse_domain::schedules::Schedule;
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::{Limit, TenantStore};

use super::NO_SCHEDULE;
use crate::{Refused, permit};

/// Reads a schedule.
#[derive(Clone)]
pub struct ReadSchedule {
    /// Where schedules are.
    pub store: Arc<dyn TenantStore>,
}

impl ReadSchedule {
    /// A schedule of the caller's tenant.
    pub async fn execute(&self, principal: &Principal, id: ScheduleId) -> Result<Schedule, Refused> {
        let permit = permit::<access::ReadSchedule>(principal, id, "schedule", false)?;
        let mut view = self.store.read(&permit.scope()).await?;
        view.schedules().find(permit.redeem()).await?.ok_or(NO_SCHEDULE)
    }
}

/// Says when a schedule fires next.
#[derive(Clone)]
pub struct PreviewFirings {
    /// Reads it.
    pub read: ReadSchedule,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl PreviewFirings {
    /// The next firings; of a paused schedule, those that it would have.
    pub async fn execute(
        &self,
        principal: &Principal,
        id: ScheduleId,
        limit: Limit,
    ) -> Result<Vec<DateTime<Utc>>, Refused> {
        let schedule = self.read.execute(principal, id).await?;
        Ok(schedule.preview(self.clock.now(), usize::from(limit.get())))
    }
}
