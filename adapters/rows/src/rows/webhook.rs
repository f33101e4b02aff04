//! Rows of `webhooks`.

use chrono::{DateTime, Utc};
use powerhouse_domain::ids::{UserId, WebhookId};
use powerhouse_domain::webhooks::{Announced, Endpoint, EndpointState, Filter};
use powerhouse_ports::store::StoreError;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;

use super::{corrupt, signed, unsigned};

const TABLE: &str = "webhooks";

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "webhooks")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) id: Uuid,
    pub(crate) url: String,
    /// Names, with a space before and after each; empty for all.
    pub(crate) events: String,
    pub(crate) disabled_reason: Option<String>,
    pub(crate) disabled_since: Option<DateTime<Utc>>,
    /// Sealed.
    pub(crate) secret: Vec<u8>,
    pub(crate) previous_secret: Option<Vec<u8>>,
    pub(crate) previous_until: Option<DateTime<Utc>>,
    pub(crate) created_by: Uuid,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) version: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What changes of an endpoint.
pub(crate) fn changes(endpoint: &Endpoint) -> ActiveModel {
    let (reason, since) = match endpoint.state {
        EndpointState::Enabled => (None, None),
        EndpointState::Disabled { reason, since } => (Some(reason.as_str().to_owned()), Some(since)),
    };
    let names = endpoint.filter.events().iter().map(|event| event.as_str());
    let events = names.fold(String::new(), |events, name| {
        if events.is_empty() { format!(" {name} ") } else { format!("{events}{name} ") }
    });
    ActiveModel {
        url: Set(endpoint.url.as_str().to_owned()),
        events: Set(events),
        disabled_reason: Set(reason),
        disabled_since: Set(since),
        version: Set(signed(endpoint.version)),
        ..Default::default()
    }
}

impl TryFrom<Model> for Endpoint {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let events = row.events.split_whitespace().map(str::parse).collect::<Result<Vec<Announced>, _>>();
        let filter = Filter::new(events.map_err(corrupt(TABLE, "events"))?);
        let state = match (row.disabled_reason, row.disabled_since) {
            (None, None) => EndpointState::Enabled,
            (Some(reason), Some(since)) => {
                let reason = reason.parse().map_err(corrupt(TABLE, "disabled_reason"))?;
                EndpointState::Disabled { reason, since }
            }
            _ => return Err(StoreError::CorruptRow { table: TABLE, column: "disabled_since" }),
        };
        Ok(Self {
            id: WebhookId::from_uuid(row.id),
            url: row.url.parse().map_err(corrupt(TABLE, "url"))?,
            filter: filter.map_err(corrupt(TABLE, "events"))?,
            state,
            created_by: UserId::from_uuid(row.created_by),
            created_at: row.created_at,
            version: unsigned(TABLE, "version", row.version)?,
        })
    }
}
