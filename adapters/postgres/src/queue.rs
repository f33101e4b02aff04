//! Which runs a worker gets next.

use std::time::Duration;

use chrono::{DateTime, Utc};
use powerhouse_domain::runs::{Lease, Room};
use powerhouse_ports::store::StoreError;
use powerhouse_rows::platform::{granted, terms};
use sea_orm::{DbBackend, Statement};

use crate::transaction::{Pool, call};

/// The function claims for one worker at a time, and is planned once for a connection (ADR 0051).
const CLAIM: &str = "SELECT tenant AS tenant_id, run AS id, token AS fencing_token, fruitless AS unproductive
    FROM claim_runs($1, $2, $3, $4, $5)";

/// Grants leases, in the order of service.
pub(crate) async fn claim(
    pool: &Pool,
    room: Room,
    now: DateTime<Utc>,
    lease: Duration,
) -> Result<Vec<Lease>, StoreError> {
    let expires_at = now + lease;
    let [now, total, anyone, plans] = terms(room, now);
    let values = [now, total, anyone, plans, expires_at.into()];
    let claim = Statement::from_sql_and_values(DbBackend::Postgres, CLAIM, values);
    granted(&call(pool, claim).await?, expires_at)
}
