//! Rows of `secrets`.

use chrono::{DateTime, Utc};
use powerhouse_domain::ids::{DataKeyId, UserId};
use powerhouse_domain::secrets::Secret;
use powerhouse_ports::store::{SealedValue, StoreError};
use sea_orm::entity::prelude::*;

use super::{corrupt, unsigned};

const TABLE: &str = "secrets";

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "secrets")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) name: String,
    pub(crate) data_key: Uuid,
    pub(crate) sealed: Vec<u8>,
    pub(crate) created_by: Uuid,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) version: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// The secret, and its value.
    pub(crate) fn into_domain(self) -> Result<(Secret, SealedValue), StoreError> {
        let value = SealedValue { data_key: DataKeyId::from_uuid(self.data_key), sealed: self.sealed };
        let secret = Secret {
            name: self.name.parse().map_err(corrupt(TABLE, "name"))?,
            version: unsigned(TABLE, "version", self.version)?,
            created_by: UserId::from_uuid(self.created_by),
            created_at: self.created_at,
            updated_at: self.updated_at,
        };
        Ok((secret, value))
    }
}
