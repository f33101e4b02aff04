//! What a worker reads of runs that it has claimed, as PostgreSQL's function `read_claimed` gives it.

use chrono::{DateTime, Utc};
use powerhouse_domain::ids::{RunId, TenantId};
use powerhouse_domain::runs::{Lease, RunEvent};
use powerhouse_ports::store::{ClaimedRun, StoreError};
use sea_orm::{FromQueryResult as _, Iterable as _, QueryResult};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::error::{read_error, store_error};
use crate::rows::{run, run_event};

const RUN: &str = "run";

#[derive(Serialize)]
struct Wanted {
    tenant: Uuid,
    id: Uuid,
}

/// Runs, as the function is asked for them.
pub fn wanted(leases: &[Lease]) -> Result<String, serde_json::Error> {
    let of =
        |lease: &Lease| Wanted { tenant: lease.scope().tenant_id().as_uuid(), id: lease.run().as_uuid() };
    let mut wanted: Vec<Wanted> = leases.iter().map(of).collect();
    wanted.sort_by_key(|wanted| wanted.tenant);
    serde_json::to_string(&wanted)
}

/// The columns of what the function gives under the name `read`.
pub fn read_columns() -> String {
    let of_run =
        run::Column::iter().map(|column| format!("(read.claimed).{}", sea_orm::Iden::unquoted(&column)));
    of_run.chain(["read.journal".to_owned()]).collect::<Vec<_>>().join(", ")
}

#[derive(Deserialize)]
struct EventRow {
    seq: i64,
    at: DateTime<Utc>,
    body: Value,
}

/// Whose run it is, and which.
pub type Key = (TenantId, RunId);

/// What a lease stands for.
pub fn key(lease: &Lease) -> Key {
    (lease.scope().tenant_id(), lease.run())
}

/// A row of what the function gives.
pub fn claimed(row: &QueryResult) -> Result<(Key, ClaimedRun), StoreError> {
    let run = run::Model::from_query_result(row, "").map_err(read_error::<run::Entity>(RUN))?;
    let journal: Value = row.try_get("", "journal").map_err(store_error(RUN))?;
    let journal: Vec<EventRow> = serde_json::from_value(journal)
        .map_err(|_| StoreError::CorruptRow { table: "run_events", column: "body" })?;
    let (tenant_id, run_id) = (run.tenant_id, run.id);
    let event = |EventRow { seq, at, body }| {
        RunEvent::try_from(run_event::Model { tenant_id, run_id, seq, at, body })
    };
    let journal = journal.into_iter().map(event).collect::<Result<_, _>>()?;
    let key = (TenantId::from_uuid(tenant_id), RunId::from_uuid(run_id));
    Ok((key, ClaimedRun { journal, run: run.try_into()? }))
}
