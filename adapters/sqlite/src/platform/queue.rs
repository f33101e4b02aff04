//! The queue: which runs a worker may have next, tenants in turn.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use powerhouse_domain::ids::{RunId, TenantId};
use powerhouse_domain::runs::{FencingToken, Lease};
use powerhouse_domain::tenants::Plan;
use powerhouse_ports::store::StoreError;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait, FromQueryResult, QueryFilter,
    QuerySelect, Statement,
};
use uuid::Uuid;

use crate::SqliteStore;
use crate::error::store_error;
use crate::rows::run::{Column, ENDED, Entity};
use crate::rows::{corrupt, queue_turn, signed};

const RUN: &str = "run";

/// A run to be claimed.
#[derive(Debug, FromQueryResult)]
struct Candidate {
    tenant_id: Uuid,
    id: Uuid,
    fencing_token: i64,
}

/// What may be claimed, in the order of service. `?1` is now, `?2` the limit, `?3` what each plan allows.
///
/// A run's `share` is how many runs of its tenant would be worked on with it. No share above the plan's limit is
/// granted, and the smallest share is first, so no tenant waits behind another's backlog. Among equals, the tenant
/// that was served least recently is first: otherwise the older backlog would win whenever a run has just ended.
/// A long backlog costs nothing: of each tenant only as many of the oldest are looked at as could be granted, and what
/// is being worked on is found by its lease.
const CANDIDATES: &str = "
    WITH plans AS (SELECT key AS plan, value AS allowed FROM json_each(?3)),
    busy AS (
        SELECT tenant_id, COUNT(*) AS count FROM runs INDEXED BY runs_by_lease
        WHERE lease_expires_at > ?1 AND status IN ('queued', 'running')
        GROUP BY tenant_id
    ),
    oldest AS (
        SELECT runs.rowid AS run FROM tenants CROSS JOIN runs ON runs.rowid IN (
            SELECT own.rowid FROM runs AS own
            WHERE own.status = 'queued' AND own.tenant_id = tenants.id
              AND (own.lease_expires_at IS NULL OR own.lease_expires_at <= ?1)
            ORDER BY own.created_at, own.id LIMIT ?2
        )
        UNION ALL
        SELECT rowid FROM runs
        WHERE status = 'running' AND (lease_expires_at IS NULL OR lease_expires_at <= ?1)
    ),
    free AS (
        SELECT runs.tenant_id, runs.id, runs.fencing_token, runs.created_at, plans.allowed,
               COALESCE(queue_turns.turn, 0) AS turn,
               COALESCE(busy.count, 0) + ROW_NUMBER() OVER (
                   PARTITION BY runs.tenant_id ORDER BY runs.created_at, runs.id
               ) AS share
        FROM oldest
        JOIN runs ON runs.rowid = oldest.run
        JOIN tenants ON tenants.id = runs.tenant_id AND tenants.status = 'active'
        JOIN plans ON plans.plan = tenants.plan
        LEFT JOIN busy ON busy.tenant_id = runs.tenant_id
        LEFT JOIN queue_turns ON queue_turns.tenant_id = runs.tenant_id
    )
    SELECT tenant_id, id, fencing_token FROM free WHERE share <= allowed
    ORDER BY share, turn, created_at, id LIMIT ?2";

pub(super) async fn claim(
    store: &SqliteStore,
    limit: u32,
    now: DateTime<Utc>,
    lease: Duration,
) -> Result<Vec<Lease>, StoreError> {
    let tx = store.transaction().await?;
    let values = [now.into(), limit.into(), allowed().to_string().into()];
    let statement = Statement::from_sql_and_values(DbBackend::Sqlite, CANDIDATES, values);
    let rows = tx.query_all_raw(statement).await.map_err(store_error(RUN))?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let expires_at = now + lease;
    let last_turn = last_turn(&tx).await?;
    let mut granted = Vec::with_capacity(rows.len());
    let mut turns = BTreeMap::new();
    for (turn, row) in (last_turn + 1..).zip(rows) {
        let candidate = Candidate::from_query_result(&row, "").map_err(store_error(RUN))?;
        granted.push(grant(&tx, &candidate, expires_at).await?);
        turns.insert(candidate.tenant_id, turn);
    }
    take_turns(&tx, turns).await?;
    tx.commit().await.map_err(store_error(RUN))?;
    Ok(granted)
}

/// How many runs of a tenant may be worked on at the same time, by the name of its plan.
fn allowed() -> serde_json::Value {
    let plans = Plan::ALL.iter().map(|plan| (plan.as_str().to_owned(), plan.limits().concurrent_runs.into()));
    serde_json::Value::Object(plans.collect())
}

async fn grant(
    tx: &DatabaseTransaction,
    candidate: &Candidate,
    expires_at: DateTime<Utc>,
) -> Result<Lease, StoreError> {
    let token = candidate.fencing_token + 1;
    Entity::update_many()
        .filter(Column::TenantId.eq(candidate.tenant_id))
        .filter(Column::Id.eq(candidate.id))
        .col_expr(Column::FencingToken, Expr::val(token))
        .col_expr(Column::LeaseExpiresAt, Expr::val(expires_at))
        .exec(tx)
        .await
        .map_err(store_error(RUN))?;
    let token = FencingToken(u64::try_from(token).map_err(corrupt("runs", "fencing_token"))?);
    let tenant = TenantId::from_uuid(candidate.tenant_id);
    Ok(Lease::granted(tenant, RunId::from_uuid(candidate.id), token, expires_at))
}

async fn last_turn(tx: &DatabaseTransaction) -> Result<i64, StoreError> {
    let query = queue_turn::Entity::find()
        .select_only()
        .column_as(queue_turn::Column::Turn.max(), "turn")
        .into_tuple::<Option<i64>>();
    Ok(query.one(tx).await.map_err(store_error(RUN))?.flatten().unwrap_or_default())
}

/// Notes each tenant's last turn, in one statement.
async fn take_turns(tx: &DatabaseTransaction, turns: BTreeMap<Uuid, i64>) -> Result<(), StoreError> {
    let rows = turns
        .into_iter()
        .map(|(tenant, turn)| queue_turn::ActiveModel { tenant_id: Set(tenant), turn: Set(turn) });
    let later =
        OnConflict::column(queue_turn::Column::TenantId).update_column(queue_turn::Column::Turn).to_owned();
    let insert = queue_turn::Entity::insert_many(rows).on_conflict(later);
    insert.exec_without_returning(tx).await.map_err(store_error(RUN))?;
    Ok(())
}

/// Sets until when a lease lasts, if it is still the newest and its run has not ended.
pub(super) async fn set_expiry(
    store: &SqliteStore,
    lease: &Lease,
    expires_at: Option<DateTime<Utc>>,
) -> Result<(), StoreError> {
    let tx = store.transaction().await?;
    let update = Entity::update_many()
        .filter(Column::TenantId.eq(lease.scope().tenant_id().as_uuid()))
        .filter(Column::Id.eq(lease.run().as_uuid()))
        .filter(Column::FencingToken.eq(signed(lease.token().0)))
        .filter(Column::Status.is_not_in(ENDED))
        .col_expr(Column::LeaseExpiresAt, Expr::val(expires_at));
    if update.exec(&tx).await.map_err(store_error(RUN))?.rows_affected == 0 {
        return Err(StoreError::LeaseLost);
    }
    tx.commit().await.map_err(store_error(RUN))
}
