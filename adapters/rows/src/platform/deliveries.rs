//! Deliveries to webhooks whose time has come, and those that are over: whose they are, and nothing of what they say.

use std::time::Duration;

use chrono::{DateTime, Utc};
use powerhouse_domain::ids::{MessageId, TenantId, WebhookId};
use powerhouse_domain::webhooks::DueDelivery;
use powerhouse_ports::store::StoreError;
use sea_orm::{DbErr, QueryResult, Statement};
use uuid::Uuid;

use super::Platform;
use crate::Transaction;
use crate::error::store_error;
use crate::rows::corrupt;

const DELIVERY: &str = "delivery";
/// Removes what ended before `$1`, at most `$2`.
const PURGE: &str = "
    DELETE FROM webhook_deliveries WHERE ended_at < $1 AND (tenant_id, webhook_id, id) IN (
        SELECT tenant_id, webhook_id, id FROM webhook_deliveries WHERE ended_at < $1 ORDER BY ended_at LIMIT $2
    )";

struct Claimed {
    tenant: Uuid,
    webhook: Uuid,
    message: Uuid,
    attempt: i64,
}

fn claimed(row: &QueryResult) -> Result<Claimed, DbErr> {
    Ok(Claimed {
        tenant: row.try_get("", "tenant_id")?,
        webhook: row.try_get("", "webhook_id")?,
        message: row.try_get("", "id")?,
        attempt: row.try_get("", "attempts")?,
    })
}

impl<C: Transaction> Platform<C> {
    /// Claims by one statement, which is given now, the limit and until when the claims hold, and returns `tenant_id`,
    /// `webhook_id`, `id` and `attempts` of each delivery that was claimed.
    pub async fn claim_deliveries(
        self,
        statement: &str,
        limit: u32,
        now: DateTime<Utc>,
        claim: Duration,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        let values = [now.into(), i64::from(limit).into(), (now + claim).into()];
        let statement = Statement::from_sql_and_values(self.0.get_database_backend(), statement, values);
        let rows = self.0.query_all_raw(statement).await.map_err(store_error(DELIVERY))?;
        let mut due = Vec::with_capacity(rows.len());
        for row in &rows {
            let Claimed { tenant, webhook, message, attempt } =
                claimed(row).map_err(store_error(DELIVERY))?;
            due.push(DueDelivery::granted(
                TenantId::from_uuid(tenant),
                WebhookId::from_uuid(webhook),
                MessageId::from_uuid(message),
                u32::try_from(attempt).map_err(corrupt("webhook_deliveries", "attempts"))?,
            ));
        }
        self.0.commit().await.map_err(store_error(DELIVERY))?;
        Ok(due)
    }

    /// Removes deliveries that ended before this time: at most `limit`, and how many.
    pub async fn purge_deliveries(self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        self.purge(DELIVERY, PURGE, before, limit).await
    }
}
