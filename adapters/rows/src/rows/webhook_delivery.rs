//! Rows of `webhook_deliveries`.

use chrono::{DateTime, Utc};
use powerhouse_domain::ids::{MessageId, RunId, WebhookId};
use powerhouse_domain::webhooks::{Attempt, Delivery, DeliveryParts, DeliveryState};
use powerhouse_ports::store::StoreError;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;

use super::corrupt;

const TABLE: &str = "webhook_deliveries";

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "webhook_deliveries")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) webhook_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) id: Uuid,
    pub(crate) event: String,
    pub(crate) run_id: Option<Uuid>,
    pub(crate) payload: String,
    pub(crate) attempts: i64,
    pub(crate) before_replay: i64,
    pub(crate) status: String,
    /// When it is tried next, while it is pending; while somebody tries it, when others may.
    pub(crate) next_at: Option<DateTime<Utc>>,
    pub(crate) ended_at: Option<DateTime<Utc>>,
    pub(crate) last_at: Option<DateTime<Utc>>,
    pub(crate) last_status: Option<i64>,
    pub(crate) last_note: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What changes of a delivery. How often it was tried is the claims' to say.
pub(crate) fn changes(delivery: &Delivery) -> ActiveModel {
    let parts = delivery.parts();
    let (next_at, ended_at) = match parts.state {
        DeliveryState::Pending { next_at } => (Some(next_at), None),
        DeliveryState::Delivered { at } | DeliveryState::Dead { at } => (None, Some(at)),
    };
    let last = parts.last.as_ref();
    ActiveModel {
        before_replay: Set(parts.before.into()),
        status: Set(parts.state.name().to_owned()),
        next_at: Set(next_at),
        ended_at: Set(ended_at),
        last_at: Set(last.map(|last| last.at)),
        last_status: Set(last.and_then(|last| last.status).map(i64::from)),
        last_note: Set(last.map(|last| last.note.clone())),
        ..Default::default()
    }
}

impl TryFrom<Model> for Delivery {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let state = match (row.status.as_str(), row.next_at, row.ended_at) {
            ("pending", Some(next_at), None) => DeliveryState::Pending { next_at },
            ("delivered", None, Some(at)) => DeliveryState::Delivered { at },
            ("dead", None, Some(at)) => DeliveryState::Dead { at },
            _ => return Err(StoreError::CorruptRow { table: TABLE, column: "status" }),
        };
        let last = match (row.last_at, row.last_note) {
            (Some(at), Some(note)) => {
                let status = row.last_status.map(u16::try_from).transpose();
                Some(Attempt { at, status: status.map_err(corrupt(TABLE, "last_status"))?, note })
            }
            _ => None,
        };
        Ok(Self::restore(DeliveryParts {
            webhook: WebhookId::from_uuid(row.webhook_id),
            message: MessageId::from_uuid(row.id),
            event: row.event.parse().map_err(corrupt(TABLE, "event"))?,
            run: row.run_id.map(RunId::from_uuid),
            payload: row.payload,
            attempts: u32::try_from(row.attempts).map_err(corrupt(TABLE, "attempts"))?,
            before: u32::try_from(row.before_replay).map_err(corrupt(TABLE, "before_replay"))?,
            state,
            last,
            created_at: row.created_at,
        }))
    }
}
