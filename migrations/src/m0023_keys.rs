//! Keys of tenants' own providers of models are secrets of the vault, which providers name.
//!
//! A key that was sealed with the process's own key cannot be opened here: it is put into the vault by hand.
#![expect(elided_lifetimes_in_paths, reason = "async_trait wants the signature as SeaORM's trait has it")]

use sea_orm_migration::prelude::*;

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0023_keys"
    }
}

const PROVIDERS: &str = "model_providers";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let secret = ColumnDef::new("secret").text().null().take();
        manager.alter_table(Table::alter().table(PROVIDERS).add_column(secret).to_owned()).await?;
        manager.alter_table(Table::alter().table(PROVIDERS).drop_column("api_key").to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let key = ColumnDef::new("api_key").blob().null().take();
        manager.alter_table(Table::alter().table(PROVIDERS).add_column(key).to_owned()).await?;
        manager.alter_table(Table::alter().table(PROVIDERS).drop_column("secret").to_owned()).await
    }
}
