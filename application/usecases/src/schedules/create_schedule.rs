//! A new schedule.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::ids::ScheduleId;
use powerhouse_domain::schedules::{MAX_SCHEDULES, Plan, Schedule};
use powerhouse_ports::clock::{Clock, IdSource};
use powerhouse_ports::store::TenantStore;

use super::never;
use crate::runs::check_target;
use crate::{Once, Refused, permit};

/// Makes schedules.
#[derive(Clone)]
pub struct CreateSchedule {
    /// Where schedules are.
    pub store: Arc<dyn TenantStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
    /// Gives ids.
    pub ids: Arc<dyn IdSource>,
}

impl CreateSchedule {
    /// Makes a schedule, whose runs are the caller's.
    pub async fn execute(
        &self,
        principal: &Principal,
        plan: Plan,
        once: &Once<Schedule>,
    ) -> Result<Schedule, Refused> {
        let permit = permit::<access::CreateSchedule>(principal, principal.tenant_id(), "schedules", true)?;
        let id = ScheduleId::from_uuid(self.ids.next());
        let now = self.clock.now();
        let schedule = Schedule::new(id, permit.granted_to(), plan, now).map_err(never)?;
        let mut tx = once.begin(&*self.store, &permit.scope()).await?;
        check_target(&mut *tx, &schedule.plan().order.target).await?;
        if tx.schedules().count().await? >= MAX_SCHEDULES {
            let reason = format!("a tenant has at most {MAX_SCHEDULES} schedules");
            return Err(Refused::conflict("too_many_schedules", reason));
        }
        tx.schedules().add(&schedule).await?;
        once.commit_audited(tx, &schedule, Entry::by(principal, AuditAction::ScheduleCreated, id, now))
            .await?;
        permit.redeem();
        Ok(schedule)
    }
}
