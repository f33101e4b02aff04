//! Rows of `threads`.

use chrono::{DateTime, Utc};
use powerhouse_domain::ids::{RunId, ThreadId, UserId};
use powerhouse_domain::threads::{Summary, Thread};
use powerhouse_ports::store::StoreError;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;

use super::{corrupt, signed, unsigned};

const TABLE: &str = "threads";

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "threads")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) id: Uuid,
    pub(crate) owner_id: Uuid,
    pub(crate) title: Option<String>,
    pub(crate) runs: i64,
    pub(crate) last_run: Option<Uuid>,
    /// With how far it goes, there is a summary.
    pub(crate) summary: Option<String>,
    pub(crate) summary_through: Option<i64>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) version: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What one more run changes of a thread.
pub(crate) fn changes(thread: &Thread) -> ActiveModel {
    ActiveModel {
        runs: Set(thread.runs.into()),
        last_run: Set(thread.last_run.map(|run| run.as_uuid())),
        updated_at: Set(thread.updated_at),
        version: Set(signed(thread.version)),
        ..Default::default()
    }
}

/// A whole row.
pub(crate) fn added(tenant: Uuid, thread: &Thread) -> ActiveModel {
    ActiveModel {
        tenant_id: Set(tenant),
        id: Set(thread.id.as_uuid()),
        owner_id: Set(thread.owner.as_uuid()),
        title: Set(thread.title.as_ref().map(ToString::to_string)),
        summary: Set(thread.summary.as_ref().map(|summary| summary.text.clone())),
        summary_through: Set(thread.summary.as_ref().map(|summary| summary.through.into())),
        created_at: Set(thread.created_at),
        ..changes(thread)
    }
}

impl TryFrom<Model> for Thread {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let summary = match (row.summary, row.summary_through) {
            (Some(text), Some(through)) => {
                let through = u32::try_from(through).map_err(corrupt(TABLE, "summary_through"))?;
                Some(Summary { text, through })
            }
            _ => None,
        };
        Ok(Self {
            id: ThreadId::from_uuid(row.id),
            owner: UserId::from_uuid(row.owner_id),
            title: row.title.map(|title| title.parse()).transpose().map_err(corrupt(TABLE, "title"))?,
            runs: u32::try_from(row.runs).map_err(corrupt(TABLE, "runs"))?,
            last_run: row.last_run.map(RunId::from_uuid),
            summary,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: unsigned(TABLE, "version", row.version)?,
        })
    }
}
