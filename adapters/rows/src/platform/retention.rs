//! What nobody needs any more is removed, some of it in each transaction.

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Utc};
use powerhouse_domain::ids::earliest_uuid;
use powerhouse_ports::store::StoreError;
use sea_orm::sea_query::{Expr, Order, Query, SimpleExpr};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, ExprTrait, QueryFilter, QueryOrder, QuerySelect, Statement,
};
use uuid::Uuid;

use super::{Platform, SESSION};
use crate::Transaction;
use crate::error::store_error;
use crate::rows::{audit_record, run, session, usage};

const RUN: &str = "run";
const OLD_ROW: &str = "old row";
/// What SQLite calls a row by.
const ROW_ID: &str = "rowid";

impl<C: Transaction> Platform<C> {
    /// Removes sessions that expired before this time, with their tokens: at most `limit`, and how many.
    pub async fn purge_sessions(self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        let expired = session::Column::ExpiresAt.lt(before);
        let oldest: Vec<Uuid> = session::Entity::find()
            .select_only()
            .column(session::Column::Id)
            .filter(expired.clone())
            .order_by_asc(session::Column::ExpiresAt)
            .limit(u64::from(limit))
            .into_tuple()
            .all(&self.0)
            .await
            .map_err(store_error(SESSION))?;
        if oldest.is_empty() {
            return Ok(0);
        }
        let gone = session::Entity::delete_many().filter(session::Column::Id.is_in(oldest)).filter(expired);
        let gone = gone.exec(&self.0).await.map_err(store_error(SESSION))?;
        self.0.commit().await.map_err(store_error(SESSION))?;
        Ok(gone.rows_affected)
    }

    /// Removes ended runs of months that were over before this time, with all that is theirs: at most `limit`, and how
    /// many.
    pub async fn purge_runs(self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        let month = month_of(before).and_time(NaiveTime::MIN).and_utc();
        let is_over = Condition::all()
            .add(run::Column::Id.lt(earliest_uuid(month)))
            .add(run::Column::Status.is_in(run::ENDED));
        let oldest: Vec<(Uuid, Uuid)> = run::Entity::find()
            .select_only()
            .columns([run::Column::TenantId, run::Column::Id])
            .filter(is_over.clone())
            .order_by_asc(run::Column::Id)
            .limit(u64::from(limit))
            .into_tuple()
            .all(&self.0)
            .await
            .map_err(store_error(RUN))?;
        if oldest.is_empty() {
            return self.0.commit().await.map(|()| 0).map_err(store_error(RUN));
        }
        let key = Expr::tuple([Expr::col(run::Column::TenantId), Expr::col(run::Column::Id)]);
        let gone = run::Entity::delete_many().filter(key.in_tuples(oldest)).filter(is_over);
        let gone = gone.exec(&self.0).await.map_err(store_error(RUN))?;
        self.0.commit().await.map_err(store_error(RUN))?;
        Ok(gone.rows_affected)
    }

    /// Removes usage of months that were over before this time, on SQLite: at most `limit` rows, and how many.
    pub async fn purge_usage(self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        self.purge_rows::<usage::Entity>(usage::Column::Day.lt(month_of(before)), limit).await
    }

    /// Removes audit records of months that were over before this time, on SQLite: at most `limit` rows, and how many.
    pub async fn purge_audit(self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        let month = month_of(before).and_time(NaiveTime::MIN).and_utc();
        self.purge_rows::<audit_record::Entity>(audit_record::Column::At.lt(month), limit).await
    }

    /// Removes by one statement, which is given a time and the limit; how many rows.
    pub(super) async fn purge(
        self,
        entity: &'static str,
        statement: &str,
        before: DateTime<Utc>,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let values = [before.into(), i64::from(limit).into()];
        let purge = Statement::from_sql_and_values(self.0.get_database_backend(), statement, values);
        let gone = self.0.execute_raw(purge).await.map_err(store_error(entity))?.rows_affected();
        self.0.commit().await.map_err(store_error(entity))?;
        Ok(gone)
    }

    async fn purge_rows<E: EntityTrait>(self, is_over: SimpleExpr, limit: u32) -> Result<u64, StoreError> {
        let old = Query::select()
            .column(ROW_ID)
            .from(E::default())
            .and_where(is_over)
            // The oldest first: what is left of a trail has no gap.
            .order_by(ROW_ID, Order::Asc)
            .limit(limit.into())
            .to_owned();
        let gone = E::delete_many().filter(Expr::col(ROW_ID).in_subquery(old));
        let gone = gone.exec(&self.0).await.map_err(store_error(OLD_ROW))?;
        self.0.commit().await.map_err(store_error(OLD_ROW))?;
        Ok(gone.rows_affected)
    }
}

/// The first day of a time's month.
fn month_of(time: DateTime<Utc>) -> NaiveDate {
    time.date_naive().with_day(1).unwrap_or_default()
}
