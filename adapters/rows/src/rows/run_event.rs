//! Rows of `run_events`: the journals.

use chrono::{DateTime, Utc};
use powerhouse_domain::runs::RunEvent;
use powerhouse_ports::store::StoreError;
use sea_orm::entity::prelude::*;

use super::stored::read;
use super::unsigned;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "run_events")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) run_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) seq: i64,
    pub(crate) at: DateTime<Utc>,
    pub(crate) body: Json,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl TryFrom<Model> for RunEvent {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        Ok(Self {
            seq: unsigned("run_events", "seq", row.seq)?,
            at: row.at,
            body: read("run_events", "body", row.body)?,
        })
    }
}
