//! Schedules whose time has come: whose they are, and nothing of what they say.

use std::time::Duration;

use chrono::{DateTime, Utc};
use powerhouse_domain::ids::{ScheduleId, TenantId};
use powerhouse_domain::schedules::DueSchedule;
use powerhouse_ports::store::StoreError;
use sea_orm::Statement;
use uuid::Uuid;

use super::Platform;
use crate::Transaction;
use crate::error::store_error;

const SCHEDULE: &str = "schedule";

impl<C: Transaction> Platform<C> {
    /// Claims by one statement, which is given now, the limit and until when the claims hold, and returns `tenant_id`
    /// and `id` of each schedule that was claimed.
    pub async fn claim_schedules(
        self,
        statement: &str,
        limit: u32,
        now: DateTime<Utc>,
        claim: Duration,
    ) -> Result<Vec<DueSchedule>, StoreError> {
        let values = [now.into(), i64::from(limit).into(), (now + claim).into()];
        let statement = Statement::from_sql_and_values(self.0.get_database_backend(), statement, values);
        let rows = self.0.query_all_raw(statement).await.map_err(store_error(SCHEDULE))?;
        let read = |row: &sea_orm::QueryResult| {
            let (tenant, id): (Uuid, Uuid) = (row.try_get("", "tenant_id")?, row.try_get("", "id")?);
            Ok(DueSchedule::granted(TenantId::from_uuid(tenant), ScheduleId::from_uuid(id)))
        };
        let due = rows.iter().map(read).collect::<Result<Vec<_>, _>>().map_err(store_error(SCHEDULE))?;
        self.0.commit().await.map_err(store_error(SCHEDULE))?;
        Ok(due)
    }
}
