//! On PostgreSQL, rows that change with every step of a run have room beside them: a new version in the same page needs no new
//! entry in any index, and what it replaces is cleared away without a vacuum.
#![expect(elided_lifetimes_in_paths, reason = "async_trait wants the signature as SeaORM's trait has it")]

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0025_room_in_pages"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        set(manager, "SET (fillfactor = 50)").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        set(manager, "RESET (fillfactor)").await
    }
}

async fn set(manager: &SchemaManager<'_>, what: &str) -> Result<(), DbErr> {
    if manager.get_database_backend() == DbBackend::Postgres {
        for table in ["runs", "queue_turns", "budget_windows"] {
            manager.get_connection().execute_unprepared(&format!("ALTER TABLE {table} {what}")).await?;
        }
    }
    Ok(())
}
