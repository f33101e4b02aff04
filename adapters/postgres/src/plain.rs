//! What workers did to runs of any tenants, in one round trip.

use powerhouse_ports::store::{Plain, StoreError};
use powerhouse_rows::plain::{Part, parts};
use powerhouse_rows::{Transaction as _, store_error};
use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement};

use crate::transaction::{PgTransaction, Pool, Sending, Single};

/// The function says for each item whose it is, and row-level security holds it to that.
const RECORD: &str = "SELECT record_work(CAST($1 AS text)::jsonb)";

/// What goes to the network as one piece: a TLS record has 16 KiB. sqlx leaves Nagle's algorithm on (RFC 896), which would
/// hold back the next one until the one before is acknowledged, and that may take 40 ms.
const AT_ONCE: usize = 15 * 1024;

const RUN: &str = "run";

/// For each item its newest sequence number, or nothing when it was not stored.
pub(crate) async fn record(pool: &Pool, work: &[Plain<'_>]) -> Result<Vec<Option<u64>>, StoreError> {
    let parts = parts(work, AT_ONCE).map_err(|error| StoreError::Internal(Box::new(error)))?;
    let mut newest = vec![None; work.len()];
    for Part { json, items } in parts {
        for (row, item) in send(pool, json).await?.iter().zip(items) {
            newest[item] = number(row)?;
        }
    }
    Ok(newest)
}

async fn send(pool: &Pool, json: String) -> Result<Vec<QueryResult>, StoreError> {
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, RECORD, [json.into()]);
    if pool.prepares {
        // A statement is a transaction by itself.
        let single = Sending::<Single>::alone(pool).await?;
        return single.query_all_raw(statement).await.map_err(store_error(RUN));
    }
    let tx = PgTransaction::of_nobody(pool).await?;
    let rows = tx.query_all_raw(statement).await.map_err(store_error(RUN))?;
    tx.commit().await.map_err(store_error(RUN))?;
    Ok(rows)
}

fn number(row: &QueryResult) -> Result<Option<u64>, StoreError> {
    let number: Option<i64> = row.try_get_by_index(0).map_err(store_error(RUN))?;
    number
        .map(u64::try_from)
        .transpose()
        .map_err(|_| StoreError::CorruptRow { table: "runs", column: "next_seq" })
}
