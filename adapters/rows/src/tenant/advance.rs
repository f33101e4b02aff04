//! What workers did to their runs, in as few statements as the database allows.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use powerhouse_domain::runs::{Lease, Run, RunStatus};
use powerhouse_domain::webhooks::Announced;
use powerhouse_ports::store::{NewEvent, Numbers, StoreError, Work};
use sea_orm::sea_query::{Expr, Query, ReturningClause, UpdateStatement};
use sea_orm::{
    ColumnTrait, EntityTrait, ExprTrait, PaginatorTrait, QueryFilter, QueryResult, QuerySelect, QueryTrait,
    Statement,
};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::{Own, Transaction};
use crate::error::store_error;
use crate::rows::run::{Column, Entity, held};
use crate::rows::stored::{StoredState, write};
use crate::rows::{budget, price, signed, unsigned};

const RUN: &str = "run";

/// Advances all that still are who claimed them: `$1` is the tenant, `$2` the work. The rule is that of
/// [`Own::recording`], in PostgreSQL's dialect; one text, however much work there is, is prepared once.
const TOGETHER: &str = r#"
    UPDATE runs SET
        status = work.status, state = work.state, version = work.version, input_tokens = work.input_tokens,
        output_tokens = work.output_tokens, cost_micros = work.cost_micros, next_seq = next_seq + work.count,
        progress_token = CASE WHEN work.is_progress THEN fencing_token ELSE progress_token END,
        lease_expires_at = CASE WHEN work.is_running THEN lease_expires_at END,
        due_at = CASE WHEN work.is_running THEN runs.due_at ELSE work.due_at END
    FROM jsonb_to_recordset($2) AS work(
        id uuid, token bigint, status text, state jsonb, version bigint, input_tokens bigint, output_tokens bigint,
        cost_micros bigint, count bigint, is_progress boolean, is_running boolean, is_announced boolean,
        due_at timestamptz
    )
    WHERE "runs"."tenant_id" = $1 AND runs.id = work.id AND fencing_token = work.token
      AND lease_expires_at IS NOT NULL AND runs.status NOT IN ('succeeded', 'failed', 'cancelled', 'timed_out')
      AND runs.version <= work.version
    RETURNING next_seq - work.count - 1,
        work.is_announced AND EXISTS (SELECT FROM webhooks WHERE "webhooks"."tenant_id" = $1 AND disabled_since IS NULL),
        EXISTS (SELECT FROM budgets WHERE "budgets"."tenant_id" = $1),
        EXISTS (SELECT FROM prices WHERE "prices"."tenant_id" = $1), runs.id"#;

/// A run's work as [`TOGETHER`] reads it.
#[derive(Serialize)]
struct Row {
    id: Uuid,
    token: i64,
    status: &'static str,
    state: Value,
    version: i64,
    input_tokens: i64,
    output_tokens: i64,
    cost_micros: i64,
    count: usize,
    is_progress: bool,
    is_running: bool,
    is_announced: bool,
    due_at: Option<DateTime<Utc>>,
}

impl From<&Work> for Row {
    fn from(work: &Work) -> Self {
        let Work { lease, run, events } = work;
        let (status, usage) = (run.state().name(), run.usage());
        Self {
            id: run.id().as_uuid(),
            token: signed(lease.token().0),
            status: status.as_str(),
            state: write(&StoredState::from(run.state())),
            version: signed(run.version()),
            input_tokens: signed(usage.input_tokens),
            output_tokens: signed(usage.output_tokens),
            cost_micros: signed(usage.cost_micros),
            count: events.len(),
            is_progress: is_further(events),
            is_running: status == RunStatus::Running,
            is_announced: events.iter().any(|event| Announced::of(&event.body).is_some()),
            due_at: run.due_at(),
        }
    }
}

/// How many numbers these take.
pub(super) fn count(events: &[NewEvent]) -> i64 {
    i64::try_from(events.len()).unwrap_or(i64::MAX)
}

/// Whether the run is further with these.
fn is_further(events: &[NewEvent]) -> bool {
    events.iter().any(|event| event.body.is_progress())
}

impl<C: Transaction> Own<C> {
    /// What a worker did to its run, if that still is the worker's, and no newer.
    pub(super) fn recording(&self, lease: &Lease, run: &Run, events: &[NewEvent]) -> UpdateStatement {
        // INVARIANT: the token is compared in the statement that writes, so that nothing can come between.
        let expected = held(lease).add(Column::Version.lte(signed(run.version())));
        let progress = is_further(events).then(|| (Column::ProgressToken, Expr::col(Column::FencingToken)));
        self.changing(run, expected, progress, events)
    }

    /// Why a worker's write found no row: another has the run, or it has ended; else its version is newer.
    pub(super) async fn why_refused(&self, lease: &Lease) -> Result<StoreError, StoreError> {
        let found = self.own(Entity::find(), Column::TenantId).filter(held(lease));
        let is_held = found.count(&self.tx).await.map_err(store_error(RUN))? == 1;
        Ok(if is_held { StoreError::Conflict { entity: RUN } } else { StoreError::LeaseLost })
    }

    /// In one statement.
    pub(super) async fn advance_together(
        &self,
        work: &[&Work],
    ) -> Result<Vec<Result<Numbers, StoreError>>, StoreError> {
        let rows: Vec<Row> = work.iter().copied().map(Row::from).collect();
        let values = [self.tenant.into(), write(&rows).into()];
        let statement = Statement::from_sql_and_values(self.tx.get_database_backend(), TOGETHER, values);
        let advanced = self.tx.query_all_raw(statement).await.map_err(store_error(RUN))?;
        let advanced = advanced.iter().map(|row| {
            let id: Uuid = row.try_get_by_index(4).map_err(store_error(RUN))?;
            Ok((id, numbers(row)?))
        });
        let advanced: BTreeMap<Uuid, Numbers> = advanced.collect::<Result<_, StoreError>>()?;
        let mut outcomes = Vec::new();
        for Work { lease, run, .. } in work {
            outcomes.push(match advanced.get(&run.id().as_uuid()) {
                Some(numbers) => Ok(*numbers),
                None => Err(self.why_refused(lease).await?),
            });
        }
        Ok(outcomes)
    }

    /// One by one.
    pub(super) async fn advance_each(
        &self,
        work: &[&Work],
    ) -> Result<Vec<Result<Numbers, StoreError>>, StoreError> {
        let mut outcomes = Vec::new();
        for Work { lease, run, events } in work {
            let mut update = self.recording(lease, run, events);
            update.returning(self.numbers_of(events));
            let row = self.tx.query_one(&update).await.map_err(store_error(RUN))?;
            outcomes.push(match row {
                Some(row) => Ok(numbers(&row)?),
                None => Err(self.why_refused(lease).await?),
            });
        }
        Ok(outcomes)
    }

    /// What a statement that advances a run returns.
    fn numbers_of(&self, events: &[NewEvent]) -> ReturningClause {
        let before = Expr::col(Column::NextSeq).sub(count(events) + 1);
        let budgets = self.own(budget::Entity::find(), budget::Column::TenantId);
        let prices = self.own(price::Entity::find(), price::Column::TenantId);
        Query::returning().exprs([
            before,
            self.is_told_of(events),
            Expr::exists(budgets.select_only().column(budget::Column::Id).into_query()),
            Expr::exists(prices.select_only().column(price::Column::Name).into_query()),
        ])
    }
}

fn numbers(row: &QueryResult) -> Result<Numbers, StoreError> {
    let before: i64 = row.try_get_by_index(0).map_err(store_error(RUN))?;
    let flag = |index: usize| row.try_get_by_index::<bool>(index).map_err(store_error(RUN));
    Ok(Numbers {
        before: unsigned("runs", "next_seq", before)?,
        is_told: flag(1)?,
        has_budgets: flag(2)?,
        has_prices: flag(3)?,
    })
}
