//! Runs that are begun by other runs.
#![expect(elided_lifetimes_in_paths, reason = "async_trait wants the signature as SeaORM's trait has it")]

use sea_orm_migration::prelude::*;

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0019_sub_runs"
    }
}

/// What is added to runs, in this order.
fn columns() -> [ColumnDef; 3] {
    [
        ColumnDef::new("parent_id").uuid().null().take(),
        ColumnDef::new("root_id").uuid().null().take(),
        ColumnDef::new("depth").big_integer().null().take(),
    ]
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in columns() {
            manager.alter_table(Table::alter().table("runs").add_column(column).to_owned()).await?;
        }
        // Most runs are begun by none.
        let index = "CREATE INDEX runs_by_root ON runs (tenant_id, root_id, id) WHERE root_id IS NOT NULL";
        manager.get_connection().execute_unprepared(index).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_index(Index::drop().name("runs_by_root").table("runs").to_owned()).await?;
        for column in columns().iter().rev() {
            let name = column.get_column_name();
            manager.alter_table(Table::alter().table("runs").drop_column(name).to_owned()).await?;
        }
        Ok(())
    }
}
