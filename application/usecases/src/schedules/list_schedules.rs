//! A page of a tenant's schedules.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::ids::ScheduleId;
use powerhouse_domain::schedules::Schedule;
use powerhouse_ports::store::{Limit, Page, TenantStore};

use crate::{Refused, permit};

/// Lists schedules.
#[derive(Clone)]
pub struct ListSchedules {
    /// Where schedules are.
    pub store: Arc<dyn TenantStore>,
}

impl ListSchedules {
    /// Schedules in the order in which they were made.
    pub async fn execute(
        &self,
        principal: &Principal,
        after: Option<ScheduleId>,
        limit: Limit,
    ) -> Result<Page<Schedule, ScheduleId>, Refused> {
        let permit = permit::<access::ListSchedules>(principal, principal.tenant_id(), "schedules", true)?;
        let mut view = self.store.read(&permit.scope()).await?;
        Ok(view.schedules().list(after, limit).await?)
    }
}
