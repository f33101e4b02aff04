//! Rows of `collections`.

use chrono::{DateTime, Utc};
use powerhouse_domain::ids::UserId;
use powerhouse_domain::knowledge::Collection;
use powerhouse_ports::store::StoreError;
use sea_orm::entity::prelude::*;

use super::{corrupt, unsigned};

const TABLE: &str = "collections";

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "collections")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) documents: i64,
    pub(crate) chunks: i64,
    pub(crate) words: i64,
    pub(crate) created_by: Uuid,
    pub(crate) created_at: DateTime<Utc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl TryFrom<Model> for Collection {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        Ok(Self {
            name: row.name.parse().map_err(corrupt(TABLE, "name"))?,
            description: row.description,
            documents: unsigned(TABLE, "documents", row.documents)?,
            chunks: unsigned(TABLE, "chunks", row.chunks)?,
            words: unsigned(TABLE, "words", row.words)?,
            created_by: UserId::from_uuid(row.created_by),
            created_at: row.created_at,
        })
    }
}
