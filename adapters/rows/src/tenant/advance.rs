//! What workers did to their runs: stored first, so that nobody else writes to them, and journalled after.

use powerhouse_domain::runs::{Lease, Run};
use powerhouse_ports::store::{NewEvent, Numbers, StoreError, Work};
use sea_orm::sea_query::{Expr, Func, Query, ReturningClause, UpdateStatement};
use sea_orm::{
    ColumnTrait, EntityTrait, ExprTrait, PaginatorTrait, QueryFilter, QueryResult, QuerySelect, QueryTrait,
    Select,
};

use super::{Own, Transaction};
use crate::error::store_error;
use crate::rows::run::{Column, Entity, held};
use crate::rows::{approval_rules, budget, price, signed, unsigned};

const RUN: &str = "run";

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

    /// The version of the tenant's approval rules; none, when it never had any.
    fn rules(&self) -> Select<approval_rules::Entity> {
        let own = self.own(approval_rules::Entity::find(), approval_rules::Column::TenantId);
        own.select_only().column(approval_rules::Column::Version)
    }

    /// That this is their version.
    fn is_ruled_by(&self, version: u64) -> Expr {
        Func::coalesce([Expr::from(self.rules().into_query()), 0.into()]).eq(signed(version))
    }

    async fn has_other_rules(&self, version: u64) -> Result<bool, StoreError> {
        let current: Option<i64> = self.rules().into_tuple().one(&self.tx).await.map_err(store_error(RUN))?;
        Ok(current.unwrap_or(0) != signed(version))
    }

    /// Stores what a worker did, and takes numbers for its events; or why that was refused.
    pub(super) async fn advance_one(&self, work: &Work) -> Result<Result<Numbers, StoreError>, StoreError> {
        let Work { lease, run, events, rules } = work;
        let mut update = self.recording(lease, run, events);
        if let Some(version) = rules {
            update.and_where(self.is_ruled_by(*version));
        }
        update.returning(self.numbers_of(events));
        if let Some(row) = self.tx.query_one(&update).await.map_err(store_error(RUN))? {
            return numbers(&row).map(Ok);
        }
        let why = self.why_refused(lease).await?;
        if let (StoreError::Conflict { .. }, Some(version)) = (&why, rules)
            && self.has_other_rules(*version).await?
        {
            return Ok(Err(StoreError::RulesChanged));
        }
        Ok(Err(why))
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
