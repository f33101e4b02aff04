//! What workers did to runs of any tenants, and what they read of those that they have claimed, each in one round trip.

use std::collections::HashMap;
use std::sync::LazyLock;

use powerhouse_domain::runs::Lease;
use powerhouse_ports::store::{ClaimedRun, Plain, StoreError};
use powerhouse_rows::claimed::{claimed, key, read_columns, wanted};
use powerhouse_rows::plain::{Part, parts};
use powerhouse_rows::store_error;
use sea_orm::{DbBackend, QueryResult, Statement};

use crate::transaction::{Pool, call};

/// The function says for each item whose it is, and row-level security holds it to that.
const RECORD: &str = "SELECT record_work(CAST($1 AS text)::jsonb)";

static READ: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT {} FROM read_claimed(CAST($1 AS text)::jsonb, $2) AS read", read_columns())
});

/// What goes to the network as one piece: a TLS record has 16 KiB. sqlx leaves Nagle's algorithm on (RFC 896), which would
/// hold back the next one until the one before is acknowledged, and that may take 40 ms.
const AT_ONCE: usize = 15 * 1024;

/// The longest journals that are read with the runs: a claim reads some dozens of runs at once.
const SHORT: i64 = 64;

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

/// For each lease its run and its journal, unless that is long; in the order of the tenants, as runs are written.
pub(crate) async fn read_claimed(
    pool: &Pool,
    leases: &[Lease],
) -> Result<Vec<Option<ClaimedRun>>, StoreError> {
    let wanted = wanted(leases).map_err(|error| StoreError::Internal(Box::new(error)))?;
    let statement =
        Statement::from_sql_and_values(DbBackend::Postgres, READ.as_str(), [wanted.into(), SHORT.into()]);
    // What no run can be made of is left out: whoever reads it alone hears why.
    let rows = call(pool, statement).await?;
    let mut read: HashMap<_, _> = rows.iter().filter_map(|row| claimed(row).ok()).collect();
    Ok(leases.iter().map(|lease| read.remove(&key(lease))).collect())
}

async fn send(pool: &Pool, json: String) -> Result<Vec<QueryResult>, StoreError> {
    call(pool, Statement::from_sql_and_values(DbBackend::Postgres, RECORD, [json.into()])).await
}

fn number(row: &QueryResult) -> Result<Option<u64>, StoreError> {
    let number: Option<i64> = row.try_get_by_index(0).map_err(store_error(RUN))?;
    number
        .map(u64::try_from)
        .transpose()
        .map_err(|_| StoreError::CorruptRow { table: "runs", column: "next_seq" })
}
