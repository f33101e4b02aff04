//! What tokens cost that a provider keeps or has kept.
#![expect(elided_lifetimes_in_paths, reason = "async_trait wants the signature as SeaORM's trait has it")]

use sea_orm_migration::prelude::*;

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
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in CACHE_PRICES {
            manager.alter_table(Table::alter().table("prices").drop_column(column).to_owned()).await?;
        }
        Ok(())
    }
}
