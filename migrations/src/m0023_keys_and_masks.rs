//! Keys of tenants' own providers of models are secrets of the vault, which providers name; and what is masked in what is
//! sent to models.
//!
//! A key that was sealed with the process's own key cannot be opened here: it is put into the vault by hand.
#![expect(elided_lifetimes_in_paths, reason = "async_trait wants the signature as SeaORM's trait has it")]

use sea_orm_migration::prelude::*;

use crate::rls;
use crate::table::{foreign_key, integer, json, tenant_table};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0023_keys_and_masks"
    }
}

const PROVIDERS: &str = "model_providers";
const RULES: &str = "masking_rules";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let secret = ColumnDef::new("secret").text().null().take();
        manager.alter_table(Table::alter().table(PROVIDERS).add_column(secret).to_owned()).await?;
        manager.alter_table(Table::alter().table(PROVIDERS).drop_column("api_key").to_owned()).await?;
        let mut rules = tenant_table(RULES, &[]);
        rules
            // Names of classes.
            .col(json("classes"))
            .col(integer("version"))
            .foreign_key(&mut foreign_key(RULES, &[], "tenants", &[]));
        manager.create_table(rules).await?;
        rls::enable(manager, RULES).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(RULES).to_owned()).await?;
        let key = ColumnDef::new("api_key").blob().null().take();
        manager.alter_table(Table::alter().table(PROVIDERS).add_column(key).to_owned()).await?;
        manager.alter_table(Table::alter().table(PROVIDERS).drop_column("secret").to_owned()).await
    }
}
