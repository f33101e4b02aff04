//! Answers that were given to requests with a key.
#![expect(elided_lifetimes_in_paths, reason = "async_trait wants the signature as SeaORM's trait has it")]

use sea_orm_migration::prelude::*;

use crate::rls;
use crate::table::{foreign_key, index, instant, tenant_table, uuid};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0013_idempotency_keys"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut keys = tenant_table("idempotency_keys", &["user_id", "key_hash"]);
        keys.col(uuid("user_id"))
            .col(ColumnDef::new("key_hash").blob().not_null())
            // Sealed; with the hash of the request, which may have a password in it.
            .col(ColumnDef::new("answer").blob().null())
            .col(instant("expires_at"))
            .foreign_key(&mut foreign_key("idempotency_keys", &[], "tenants", &[]));
        manager.create_table(keys).await?;
        manager.create_index(index("idempotency_keys", "expired", &["expires_at"])).await?;
        rls::enable(manager, "idempotency_keys").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("idempotency_keys").to_owned()).await
    }
}
