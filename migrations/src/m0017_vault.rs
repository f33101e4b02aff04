//! The vault: tenants' secrets, sealed with data keys, which master keys wrap.
#![expect(elided_lifetimes_in_paths, reason = "async_trait wants the signature as SeaORM's trait has it")]

use sea_orm_migration::prelude::*;

use crate::rls;
use crate::table::{foreign_key, instant, integer, tenant_table, text, uuid};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0017_vault"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut keys = tenant_table("data_keys", &["id"]);
        keys.col(uuid("id"))
            // The master key that wraps it.
            .col(text("master"))
            .col(ColumnDef::new("wrapped").blob().not_null())
            .foreign_key(&mut foreign_key("data_keys", &[], "tenants", &[]));
        manager.create_table(keys).await?;

        let mut secrets = tenant_table("secrets", &["name"]);
        secrets
            .col(text("name"))
            .col(uuid("data_key"))
            .col(ColumnDef::new("sealed").blob().not_null())
            .col(uuid("created_by"))
            .col(instant("created_at"))
            .col(instant("updated_at"))
            .col(integer("version"))
            .foreign_key(&mut foreign_key("secrets", &["data_key"], "data_keys", &["id"]));
        manager.create_table(secrets).await?;
        for table in ["data_keys", "secrets"] {
            rls::enable(manager, table).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["secrets", "data_keys"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}
