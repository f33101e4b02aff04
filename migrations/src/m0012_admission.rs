//! Which role of whoever asked for a run has allowed it.
#![expect(elided_lifetimes_in_paths, reason = "async_trait wants the signature as SeaORM's trait has it")]

use sea_orm_migration::prelude::*;

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0012_admission"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Without a default: no row is written anew, and of the runs that are there nobody knows.
        let role = ColumnDef::new("admitted_as").text().null().take();
        manager.alter_table(Table::alter().table("runs").add_column(role).to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table("runs").drop_column("admitted_as").to_owned()).await
    }
}
