//! The queue: which runs a worker may have next, tenants in turn.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use powerhouse_domain::ids::{RunId, TenantId};
use powerhouse_domain::runs::{FencingToken, Lease};
use powerhouse_domain::tenants::Plan;
use powerhouse_ports::store::StoreError;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbBackend, EntityTrait, FromQueryResult, QueryFilter, Statement,
};
use uuid::Uuid;

use crate::SqliteStore;
use crate::error::store_error;
use crate::rows::run::{Column, Entity};
use crate::rows::{corrupt, signed};

const RUN: &str = "run";

/// A run that may be claimed: its place among its tenant's, and how many of those are being worked on.
#[derive(Debug, FromQueryResult)]
struct Candidate {
    tenant_id: Uuid,
    id: Uuid,
    fencing_token: i64,
    plan: String,
    busy: i64,
}

/// The oldest of each tenant first, then the second oldest of each, and so on: no tenant waits behind another's
/// backlog. `?1` is now, `?2` the limit.
const CANDIDATES: &str = "
    WITH free AS (
        SELECT runs.tenant_id, runs.id, runs.fencing_token, runs.created_at, tenants.plan,
               ROW_NUMBER() OVER (PARTITION BY runs.tenant_id ORDER BY runs.created_at, runs.id) AS place
        FROM runs JOIN tenants ON tenants.id = runs.tenant_id
        WHERE tenants.status = 'active'
          AND (runs.status = 'queued' OR runs.status = 'running')
          AND (runs.lease_expires_at IS NULL OR runs.lease_expires_at <= ?1)
    )
    SELECT free.tenant_id, free.id, free.fencing_token, free.plan,
           (SELECT COUNT(*) FROM runs AS other
            WHERE other.tenant_id = free.tenant_id AND other.lease_expires_at > ?1
              AND other.status IN ('queued', 'running')) AS busy
    FROM free ORDER BY free.place, free.created_at, free.id LIMIT ?2";

pub(super) async fn claim(
    store: &SqliteStore,
    limit: u32,
    now: DateTime<Utc>,
    lease: Duration,
) -> Result<Vec<Lease>, StoreError> {
    let tx = store.transaction().await?;
    // Candidates whose tenant turns out to be at its limit make room for others: look at more than asked for.
    let values = [now.into(), (i64::from(limit) * 4).into()];
    let statement = Statement::from_sql_and_values(DbBackend::Sqlite, CANDIDATES, values);
    let rows = tx.query_all_raw(statement).await.map_err(store_error(RUN))?;
    let expires_at = now + lease;
    let mut granted = Vec::new();
    let mut mine: HashMap<Uuid, i64> = HashMap::new();
    for row in rows {
        let candidate = Candidate::from_query_result(&row, "").map_err(store_error(RUN))?;
        let plan: Plan = candidate.plan.parse().map_err(corrupt("tenants", "plan"))?;
        let busy = mine.entry(candidate.tenant_id).or_insert(candidate.busy);
        if *busy >= i64::from(plan.limits().concurrent_runs) {
            continue;
        }
        *busy += 1;
        let token = candidate.fencing_token + 1;
        Entity::update_many()
            .filter(Column::TenantId.eq(candidate.tenant_id))
            .filter(Column::Id.eq(candidate.id))
            .col_expr(Column::FencingToken, Expr::val(token))
            .col_expr(Column::LeaseExpiresAt, Expr::val(expires_at))
            .exec(&tx)
            .await
            .map_err(store_error(RUN))?;
        let token = FencingToken(u64::try_from(token).map_err(corrupt("runs", "fencing_token"))?);
        let tenant = TenantId::from_uuid(candidate.tenant_id);
        granted.push(Lease::granted(tenant, RunId::from_uuid(candidate.id), token, expires_at));
        if granted.len() >= usize::try_from(limit).unwrap_or(usize::MAX) {
            break;
        }
    }
    if !granted.is_empty() {
        tx.commit().await.map_err(store_error(RUN))?;
    }
    Ok(granted)
}

/// Sets until when a lease lasts, if it is still the newest and its run has not ended.
pub(super) async fn set_expiry(
    store: &SqliteStore,
    lease: &Lease,
    expires_at: Option<DateTime<Utc>>,
) -> Result<(), StoreError> {
    let tx = store.transaction().await?;
    let alive = Condition::any().add(Column::Status.eq("queued")).add(Column::Status.eq("running"));
    let update = Entity::update_many()
        .filter(Column::TenantId.eq(lease.scope().tenant_id().as_uuid()))
        .filter(Column::Id.eq(lease.run().as_uuid()))
        .filter(Column::FencingToken.eq(signed(lease.token().0)))
        .filter(alive)
        .col_expr(Column::LeaseExpiresAt, Expr::val(expires_at));
    if update.exec(&tx).await.map_err(store_error(RUN))?.rows_affected == 0 {
        return Err(StoreError::LeaseLost);
    }
    tx.commit().await.map_err(store_error(RUN))
}
