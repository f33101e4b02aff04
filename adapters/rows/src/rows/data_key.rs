//! Rows of `data_keys`.

use powerhouse_domain::ids::DataKeyId;
use powerhouse_ports::secrets::WrappedKey;
use powerhouse_ports::store::StoredDataKey;
use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "data_keys")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) id: Uuid,
    pub(crate) master: String,
    pub(crate) wrapped: Vec<u8>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl From<Model> for StoredDataKey {
    fn from(row: Model) -> Self {
        let key = WrappedKey { master: row.master, wrapped: row.wrapped };
        Self { id: DataKeyId::from_uuid(row.id), key }
    }
}
