//! Tenants' own providers of models, and what tokens cost that a provider keeps or has kept.
#![expect(elided_lifetimes_in_paths, reason = "async_trait wants the signature as SeaORM's trait has it")]

use sea_orm_migration::prelude::*;

use crate::rls;
use crate::table::{foreign_key, index, instant, integer, json, tenant_table, text, uuid};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0016_models"
    }
}

/// Null where they cost as much as others.
const CACHE_PRICES: [&str; 2] = ["cache_read_micros", "cache_write_micros"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in CACHE_PRICES {
            let price = ColumnDef::new(column).big_integer().null().take();
            manager.alter_table(Table::alter().table("prices").add_column(price).to_owned()).await?;
        }
        let mut providers = tenant_table("model_providers", &["id"]);
        providers
            .col(uuid("id"))
            .col(text("name"))
            .col(text("kind"))
            .col(text("base_url"))
            .col(ColumnDef::new("cache_prompts").boolean().not_null())
            .col(json("models"))
            // Sealed.
            .col(ColumnDef::new("api_key").blob().null())
            .col(uuid("created_by"))
            .col(instant("created_at"))
            .col(integer("version"))
            .foreign_key(&mut foreign_key("model_providers", &[], "tenants", &[]));
        manager.create_table(providers).await?;
        let by_name = index("model_providers", "by_name", &["tenant_id", "name"]).unique().take();
        manager.create_index(by_name).await?;
        rls::enable(manager, "model_providers").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("model_providers").to_owned()).await?;
        for column in CACHE_PRICES {
            manager.alter_table(Table::alter().table("prices").drop_column(column).to_owned()).await?;
        }
        Ok(())
    }
}
