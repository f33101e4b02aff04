//! What happens to runs, written down for those who are told of it: the outbox of webhooks.
//!
//! Whether a tenant has any is asked by the statement that writes the run, so that it costs no round trip.

use powerhouse_domain::runs::Run;
use powerhouse_domain::webhooks::{Announced, Announcement, DeliveryState};
use powerhouse_ports::store::{NewEvent, StoreError};
use sea_orm::sea_query::{Expr, InsertStatement, OnConflict, Query, ReturningClause, SelectStatement};
use sea_orm::{ColumnTrait, EntityTrait, ExprTrait, QueryFilter, QueryResult, QuerySelect, QueryTrait};

use super::{Own, Transaction};
use crate::error::store_error;
use crate::rows::webhook::{Column, Entity};
use crate::rows::webhook_delivery;

const DELIVERY: &str = "delivery";

impl<C: Transaction> Own<C> {
    /// What a statement that writes a run returns: a column, and whether somebody is told of these events.
    pub(super) fn told_of(&self, column: Expr, events: &[NewEvent]) -> ReturningClause {
        Query::returning().exprs([column, self.is_told_of(events)])
    }

    /// Whether somebody is told of these events.
    pub(super) fn is_told_of(&self, events: &[NewEvent]) -> Expr {
        let is_announced = events.iter().any(|event| Announced::of(&event.body).is_some());
        if is_announced { Expr::exists(self.endpoints()) } else { Expr::val(false) }
    }

    fn endpoints(&self) -> SelectStatement {
        let enabled = self.own(Entity::find(), Column::TenantId).filter(Column::DisabledSince.is_null());
        enabled.select_only().column(Column::Id).into_query()
    }

    /// Gives every endpoint that is told, and wants to hear of this, a delivery of it.
    fn announcing(&self, run: &Run, said: &Announcement) -> Result<InsertStatement, StoreError> {
        use crate::rows::webhook_delivery::Column as To;
        let wanted = Column::Events.eq("").or(Column::Events.like(format!("% {} %", said.event.as_str())));
        let mut endpoints = self.endpoints();
        endpoints.and_where(wanted);
        let mut insert = Query::insert();
        insert.into_table(webhook_delivery::Entity).columns([
            To::WebhookId,
            To::TenantId,
            To::Id,
            To::Event,
            To::RunId,
            To::Payload,
            To::Attempts,
            To::BeforeReplay,
            To::Status,
            To::NextAt,
            To::CreatedAt,
        ]);
        endpoints.exprs([
            Expr::val(self.tenant),
            Expr::val(said.message.as_uuid()),
            Expr::val(said.event.as_str()),
            Expr::val(run.id().as_uuid()),
            Expr::val(said.payload.as_str()),
            Expr::val(0_i64),
            Expr::val(0_i64),
            Expr::val(DeliveryState::Pending { next_at: said.at }.name()),
            Expr::val(said.at),
            Expr::val(said.at),
        ]);
        // INVARIANT: as many columns as expressions.
        insert.select_from(endpoints).map_err(|error| StoreError::Internal(Box::new(error)))?;
        insert.on_conflict(OnConflict::new().do_nothing().to_owned());
        Ok(insert)
    }

    /// Writes down what is announced of these events, the first of which has the number `first`.
    pub(super) async fn announce(
        &self,
        run: &Run,
        first: i64,
        events: &[NewEvent],
    ) -> Result<(), StoreError> {
        for (seq, event) in (first..).zip(events) {
            let Some(kind) = Announced::of(&event.body) else { continue };
            let seq = u64::try_from(seq).unwrap_or_default();
            let announcement = Announcement::of_run(kind, run, seq, event.at);
            let insert = self.announcing(run, &announcement)?;
            self.tx.execute(&insert).await.map_err(store_error(DELIVERY))?;
        }
        Ok(())
    }
}

/// Whether somebody is told, as the statement says.
pub(super) fn is_told(row: &QueryResult) -> Result<bool, StoreError> {
    row.try_get_by_index(1).map_err(store_error(DELIVERY))
}
