//! The queue: which runs a worker gets next, and until when it has them.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use powerhouse_domain::ids::{RunId, TenantId};
use powerhouse_domain::runs::{FencingToken, Lease, Room};
use powerhouse_domain::tenants::Plan;
use powerhouse_ports::store::StoreError;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryResult, Statement,
};
use uuid::Uuid;

use super::Platform;
use crate::Transaction;
use crate::error::store_error;
use crate::rows::run::{Column, Entity, held};
use crate::rows::{corrupt, queue_turn};

const RUN: &str = "run";
/// What a grant costs a tenant of weight 1, in virtual time.
const COST: i64 = 1 << 20;

/// A run that was granted, or may be.
#[derive(Debug, FromQueryResult)]
struct Claimed {
    tenant_id: Uuid,
    id: Uuid,
    fencing_token: i64,
    unproductive: i64,
}

impl Claimed {
    fn read(row: &QueryResult) -> Result<Self, StoreError> {
        Self::from_query_result(row, "").map_err(store_error(RUN))
    }

    fn lease(&self, expires_at: DateTime<Utc>) -> Result<Lease, StoreError> {
        let token =
            FencingToken(u64::try_from(self.fencing_token).map_err(corrupt("runs", "fencing_token"))?);
        let unproductive = u32::try_from(self.unproductive).map_err(corrupt("runs", "progress_token"))?;
        let tenant = TenantId::from_uuid(self.tenant_id);
        Ok(Lease::granted(tenant, RunId::from_uuid(self.id), token, expires_at, unproductive))
    }
}

impl<C: Transaction> Platform<C> {
    /// Grants leases one by one on what `candidates` selects, which is given [`terms`], and returns `tenant_id`, `id`,
    /// `fencing_token`, `unproductive`, `start` and `cost` of each run that may be granted, in the order of service.
    pub async fn claim(
        self,
        candidates: &str,
        room: Room,
        now: DateTime<Utc>,
        lease: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        let statement =
            Statement::from_sql_and_values(self.0.get_database_backend(), candidates, terms(room, now));
        let rows = self.0.query_all_raw(statement).await.map_err(store_error(RUN))?;
        let expires_at = now + lease;
        let mut granted = Vec::with_capacity(rows.len());
        let mut turns = BTreeMap::new();
        for row in &rows {
            let mut run = Claimed::read(row)?;
            let (start, cost): (i64, i64) = row
                .try_get("", "start")
                .and_then(|start| Ok((start, row.try_get("", "cost")?)))
                .map_err(store_error(RUN))?;
            grant(&self.0, &mut run, expires_at).await?;
            granted.push(run.lease(expires_at)?);
            turns.insert(run.tenant_id, (start, start + cost));
        }
        take_turns(&self.0, turns).await?;
        self.0.commit().await.map_err(store_error(RUN))?;
        Ok(granted)
    }

    /// Extends a lease.
    pub async fn extend(self, lease: &Lease, expires_at: DateTime<Utc>) -> Result<(), StoreError> {
        let update = of(lease).col_expr(Column::LeaseExpiresAt, Expr::val(expires_at));
        self.change(update).await
    }

    /// Hands a lease back: the run is due since it was accepted. A claim that ends like this is no failed one.
    pub async fn release(self, lease: &Lease) -> Result<(), StoreError> {
        let update = of(lease)
            .col_expr(Column::LeaseExpiresAt, Expr::val(None::<DateTime<Utc>>))
            .col_expr(Column::DueAt, Expr::col(Column::CreatedAt))
            .col_expr(Column::ProgressToken, Expr::col(Column::FencingToken));
        self.change(update).await
    }

    async fn change(self, update: sea_orm::UpdateMany<Entity>) -> Result<(), StoreError> {
        if update.exec(&self.0).await.map_err(store_error(RUN))?.rows_affected == 0 {
            return Err(StoreError::LeaseLost);
        }
        self.0.commit().await.map_err(store_error(RUN))
    }
}

/// The leases that a statement granted, which returns `tenant_id`, `id`, `fencing_token` and `unproductive` of each run.
pub fn granted(rows: &[QueryResult], expires_at: DateTime<Utc>) -> Result<Vec<Lease>, StoreError> {
    rows.iter().map(|row| Claimed::read(row)?.lease(expires_at)).collect()
}

/// What a claim is given first: now, the room in all and for anyone, and the plans as JSON.
pub fn terms(room: Room, now: DateTime<Utc>) -> [sea_orm::Value; 4] {
    [now.into(), i64::from(room.total()).into(), i64::from(room.anyone).into(), plans().into()]
}

/// What each plan allows at the same time, and what a grant costs it: the less, the more weight it has.
fn plans() -> serde_json::Value {
    let plans = Plan::ALL.iter().map(|plan| {
        let limits = plan.limits();
        let terms = serde_json::json!({
            "allowed": limits.concurrent_runs,
            "cost": COST / i64::from(limits.weight),
        });
        (plan.as_str().to_owned(), terms)
    });
    serde_json::Value::Object(plans.collect())
}

/// Nobody else can have taken it meanwhile: who claims here holds the database.
async fn grant(
    tx: &impl ConnectionTrait,
    run: &mut Claimed,
    expires_at: DateTime<Utc>,
) -> Result<(), StoreError> {
    run.fencing_token += 1;
    Entity::update_many()
        .filter(Column::TenantId.eq(run.tenant_id))
        .filter(Column::Id.eq(run.id))
        .col_expr(Column::FencingToken, Expr::val(run.fencing_token))
        .col_expr(Column::LeaseExpiresAt, Expr::val(expires_at))
        .col_expr(Column::DueAt, Expr::val(None::<DateTime<Utc>>))
        .exec(tx)
        .await
        .map_err(store_error(RUN))?;
    Ok(())
}

/// Notes where each tenant is in virtual time, in one statement.
async fn take_turns(tx: &impl ConnectionTrait, turns: BTreeMap<Uuid, (i64, i64)>) -> Result<(), StoreError> {
    if turns.is_empty() {
        return Ok(());
    }
    let rows = turns.into_iter().map(|(tenant, (start, end))| queue_turn::ActiveModel {
        tenant_id: Set(tenant),
        turn: Set(end),
        started: Set(start),
    });
    let later = OnConflict::column(queue_turn::Column::TenantId)
        .update_columns([queue_turn::Column::Turn, queue_turn::Column::Started])
        .to_owned();
    let insert = queue_turn::Entity::insert_many(rows).on_conflict(later);
    insert.exec_without_returning(tx).await.map_err(store_error(RUN))?;
    Ok(())
}

/// The run of a lease, to be changed while it is held.
fn of(lease: &Lease) -> sea_orm::UpdateMany<Entity> {
    let tenant = lease.scope().tenant_id().as_uuid();
    Entity::update_many().filter(Column::TenantId.eq(tenant)).filter(held(lease))
}
