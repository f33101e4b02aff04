//! A claim on a schedule whose time has come.

use crate::access::{Principal, Role, TenantScope};
use crate::ids::{ScheduleId, SessionId, TenantId, UserId};

/// A schedule whose time has come, for whoever was told first. It stands for its tenant, as a lease does (ADR 0010).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueSchedule {
    tenant_id: TenantId,
    schedule: ScheduleId,
}

impl DueSchedule {
    /// What the store found due. Nothing but the store should call this.
    pub const fn granted(tenant_id: TenantId, schedule: ScheduleId) -> Self {
        Self { tenant_id, schedule }
    }

    /// The data that the firing may touch: its tenant's.
    pub const fn scope(&self) -> TenantScope {
        TenantScope::of_lease(self.tenant_id)
    }

    /// The schedule.
    pub const fn schedule(&self) -> ScheduleId {
        self.schedule
    }

    /// Whom the schedule acts for, with the role that they have now. Nobody has signed in for this: in place of a
    /// session it names the schedule.
    pub const fn principal(&self, user: UserId, role: Role) -> Principal {
        Principal::verified(self.tenant_id, user, SessionId::from_uuid(self.schedule.as_uuid()), role)
    }
}
