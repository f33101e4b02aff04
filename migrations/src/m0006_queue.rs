//! What the queue needs for fairness, priorities, delayed and waiting runs: a run that may be claimed says since when.
#![expect(elided_lifetimes_in_paths, reason = "async_trait wants the signature as SeaORM's trait has it")]

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::table::{index, instant_or_null, integer};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0006_queue"
    }
}

/// What is added to runs, in this order.
fn columns() -> [ColumnDef; 6] {
    [
        integer("rank").default(9).take(),
        instant_or_null("due_at"),
        instant_or_null("deadline"),
        instant_or_null("not_before"),
        ColumnDef::new("agent_limit").big_integer().null().take(),
        integer("progress_token").default(0).take(),
    ]
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // SQLite adds one column at a time.
        for column in columns() {
            manager.alter_table(Table::alter().table("runs").add_column(column).to_owned()).await?;
        }
        let started = integer("started").default(0).take();
        manager.alter_table(Table::alter().table("queue_turns").add_column(started).to_owned()).await?;
        let db = manager.get_connection();
        // The owner is bound by row-level security too, and this concerns every tenant.
        let (unbound, bound) = match manager.get_database_backend() {
            DbBackend::Postgres => {
                ("ALTER TABLE runs NO FORCE ROW LEVEL SECURITY", "ALTER TABLE runs FORCE ROW LEVEL SECURITY")
            }
            _ => ("SELECT 1", "SELECT 1"),
        };
        for sql in [
            unbound,
            "UPDATE runs SET due_at = created_at
             WHERE status IN ('queued', 'running') AND lease_expires_at IS NULL",
            bound,
            // Both are small: they hold what is to be done, and what is being done.
            "CREATE INDEX runs_due ON runs (tenant_id, agent_id, rank, due_at, id) WHERE due_at IS NOT NULL",
            "CREATE INDEX runs_leased ON runs (lease_expires_at) WHERE lease_expires_at IS NOT NULL",
        ] {
            db.execute_unprepared(sql).await?;
        }
        for name in ["runs_queue", "runs_by_lease"] {
            manager.drop_index(Index::drop().name(name).table("runs").to_owned()).await?;
        }
        manager.create_index(index("queue_turns", "by_start", &["started"])).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (name, table) in
            [("queue_turns_by_start", "queue_turns"), ("runs_due", "runs"), ("runs_leased", "runs")]
        {
            manager.drop_index(Index::drop().name(name).table(table).to_owned()).await?;
        }
        manager.alter_table(Table::alter().table("queue_turns").drop_column("started").to_owned()).await?;
        for column in columns().iter().rev() {
            let name = column.get_column_name();
            manager.alter_table(Table::alter().table("runs").drop_column(name).to_owned()).await?;
        }
        manager.create_index(index("runs", "queue", &["status", "tenant_id", "created_at", "id"])).await?;
        manager.create_index(index("runs", "by_lease", &["lease_expires_at"])).await
    }
}
