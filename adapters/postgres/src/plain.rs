//! What workers did to runs of any tenants, in one round trip.

use powerhouse_ports::store::{Plain, StoreError};
use powerhouse_rows::plain::batch;
use powerhouse_rows::{Transaction as _, store_error};
use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement};

use crate::transaction::{PgTransaction, Pool, Sending, Single};

/// The function says for each item whose it is, and row-level security holds it to that.
const RECORD: &str = "SELECT record_work($1)";

const RUN: &str = "run";

/// For each item its newest sequence number, or nothing when it was not stored.
pub(crate) async fn record(pool: &Pool, work: &[Plain<'_>]) -> Result<Vec<Option<u64>>, StoreError> {
    let (json, order) = batch(work);
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, RECORD, [json.into()]);
    let rows = if pool.prepares {
        // A statement is a transaction by itself.
        let single = Sending::<Single>::alone(pool).await?;
        single.query_all_raw(statement).await.map_err(store_error(RUN))?
    } else {
        let tx = PgTransaction::of_nobody(pool).await?;
        let rows = tx.query_all_raw(statement).await.map_err(store_error(RUN))?;
        tx.commit().await.map_err(store_error(RUN))?;
        rows
    };
    let mut newest = vec![None; work.len()];
    for (row, index) in rows.iter().zip(order) {
        newest[index] = number(row)?;
    }
    Ok(newest)
}

fn number(row: &QueryResult) -> Result<Option<u64>, StoreError> {
    let number: Option<i64> = row.try_get_by_index(0).map_err(store_error(RUN))?;
    number
        .map(u64::try_from)
        .transpose()
        .map_err(|_| StoreError::CorruptRow { table: "runs", column: "next_seq" })
}
