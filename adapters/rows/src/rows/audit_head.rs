//! Rows of `audit_heads`: the end of each tenant's trail. Who adds to a trail locks its row first.

use chrono::{DateTime, Utc};
use powerhouse_domain::audit::{AuditHash, Head};
use powerhouse_ports::store::StoreError;
use sea_orm::entity::prelude::*;

use super::{corrupt, unsigned};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_heads")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant_id: Uuid,
    pub(crate) seq: i64,
    pub(crate) at: DateTime<Utc>,
    pub(crate) hash: Vec<u8>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl TryFrom<Model> for Head {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        Ok(Self {
            seq: unsigned("audit_heads", "seq", row.seq)?,
            at: row.at,
            hash: hash("audit_heads", "hash", row.hash)?,
        })
    }
}

/// A hash as it is stored.
pub(crate) fn hash(
    table: &'static str,
    column: &'static str,
    bytes: Vec<u8>,
) -> Result<AuditHash, StoreError> {
    bytes.try_into().map(AuditHash::from_bytes).map_err(corrupt(table, column))
}
