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
    ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QuerySelect, Statement,
};
use uuid::Uuid;

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

pub(super) async fn claim(
    tx: &impl ConnectionTrait,
    candidates: &str,
    limit: u32,
    now: DateTime<Utc>,
    lease: Duration,
) -> Result<Vec<Lease>, StoreError> {
    let values = [now.into(), i64::from(limit).into(), allowed().to_string().into()];
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), candidates, values);
    let rows = tx.query_all_raw(statement).await.map_err(store_error(RUN))?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let expires_at = now + lease;
    let last_turn = last_turn(tx).await?;
    let mut granted = Vec::with_capacity(rows.len());
    let mut turns = BTreeMap::new();
    for (turn, row) in (last_turn + 1..).zip(rows) {
        let candidate = Candidate::from_query_result(&row, "").map_err(store_error(RUN))?;
        if let Some(lease) = grant(tx, &candidate, expires_at).await? {
            granted.push(lease);
            turns.insert(candidate.tenant_id, turn);
        }
    }
    if !turns.is_empty() {
        take_turns(tx, turns).await?;
    }
    Ok(granted)
}

/// How many runs of a tenant may be worked on at the same time, by the name of its plan.
fn allowed() -> serde_json::Value {
    let plans = Plan::ALL.iter().map(|plan| (plan.as_str().to_owned(), plan.limits().concurrent_runs.into()));
    serde_json::Value::Object(plans.collect())
}

/// A lease on a candidate; nothing when somebody else was faster.
async fn grant(
    tx: &impl ConnectionTrait,
    candidate: &Candidate,
    expires_at: DateTime<Utc>,
) -> Result<Option<Lease>, StoreError> {
    let token = candidate.fencing_token + 1;
    let updated = Entity::update_many()
        .filter(Column::TenantId.eq(candidate.tenant_id))
        .filter(Column::Id.eq(candidate.id))
        .filter(Column::FencingToken.eq(candidate.fencing_token))
        .col_expr(Column::FencingToken, Expr::val(token))
        .col_expr(Column::LeaseExpiresAt, Expr::val(expires_at))
        .exec(tx)
        .await
        .map_err(store_error(RUN))?;
    if updated.rows_affected == 0 {
        return Ok(None);
    }
    let token = FencingToken(u64::try_from(token).map_err(corrupt("runs", "fencing_token"))?);
    let tenant = TenantId::from_uuid(candidate.tenant_id);
    Ok(Some(Lease::granted(tenant, RunId::from_uuid(candidate.id), token, expires_at)))
}

async fn last_turn(tx: &impl ConnectionTrait) -> Result<i64, StoreError> {
    let query = queue_turn::Entity::find()
        .select_only()
        .column_as(queue_turn::Column::Turn.max(), "turn")
        .into_tuple::<Option<i64>>();
    Ok(query.one(tx).await.map_err(store_error(RUN))?.flatten().unwrap_or_default())
}

/// Notes each tenant's last turn, in one statement.
async fn take_turns(tx: &impl ConnectionTrait, turns: BTreeMap<Uuid, i64>) -> Result<(), StoreError> {
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
    tx: &impl ConnectionTrait,
    lease: &Lease,
    expires_at: Option<DateTime<Utc>>,
) -> Result<(), StoreError> {
    let update = Entity::update_many()
        .filter(Column::TenantId.eq(lease.scope().tenant_id().as_uuid()))
        .filter(Column::Id.eq(lease.run().as_uuid()))
        .filter(Column::FencingToken.eq(signed(lease.token().0)))
        .filter(Column::Status.is_not_in(ENDED))
        .col_expr(Column::LeaseExpiresAt, Expr::val(expires_at));
    match update.exec(tx).await.map_err(store_error(RUN))?.rows_affected {
        0 => Err(StoreError::LeaseLost),
        _ => Ok(()),
    }
}
