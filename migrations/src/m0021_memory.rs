//! What agents remember, and conversations.
#![expect(elided_lifetimes_in_paths, reason = "async_trait wants the signature as SeaORM's trait has it")]

use sea_orm_migration::prelude::*;

use crate::rls;
use crate::table::{foreign_key, index, instant, integer, tenant_table, text, uuid};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0021_memory"
    }
}

/// What is added to runs, in this order.
fn columns() -> [ColumnDef; 2] {
    [ColumnDef::new("thread_id").uuid().null().take(), ColumnDef::new("turn").big_integer().null().take()]
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut memories = tenant_table("memories", &["id"]);
        memories
            .col(uuid("id"))
            .col(uuid("agent_id"))
            // Nobody's id when it is remembered for all: so there is no foreign key, and who removes a user erases what is
            // remembered of them.
            .col(uuid("user_id"))
            .col(text("kind"))
            .col(text("text"))
            .col(integer("importance"))
            .col(instant("created_at"))
            .col(instant("accessed_at"))
            .col(ColumnDef::new("embedded_by").text().null())
            .col(ColumnDef::new("vector").binary().null())
            .col(ColumnDef::new("run_id").uuid().null())
            .foreign_key(&mut foreign_key("memories", &["agent_id"], "agents", &["id"]))
            .foreign_key(&mut foreign_key("memories", &[], "tenants", &[]));
        manager.create_table(memories).await?;
        // Of a user and an agent, and of a user.
        manager.create_index(index("memories", "of", &["tenant_id", "user_id", "agent_id", "id"])).await?;
        rls::enable(manager, "memories").await?;

        let mut threads = tenant_table("threads", &["id"]);
        threads
            .col(uuid("id"))
            .col(uuid("owner_id"))
            .col(ColumnDef::new("title").text().null())
            .col(integer("runs"))
            .col(ColumnDef::new("last_run").uuid().null())
            .col(ColumnDef::new("summary").text().null())
            .col(ColumnDef::new("summary_through").big_integer().null())
            .col(instant("created_at"))
            .col(instant("updated_at"))
            .col(integer("version"))
            .foreign_key(&mut foreign_key("threads", &[], "tenants", &[]));
        manager.create_table(threads).await?;
        manager.create_index(index("threads", "by_owner", &["tenant_id", "owner_id", "id"])).await?;
        rls::enable(manager, "threads").await?;

        for column in columns() {
            manager.alter_table(Table::alter().table("runs").add_column(column).to_owned()).await?;
        }
        // Most runs are in none.
        let turns =
            "CREATE INDEX runs_by_thread ON runs (tenant_id, thread_id, turn) WHERE thread_id IS NOT NULL";
        manager.get_connection().execute_unprepared(turns).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_index(Index::drop().name("runs_by_thread").table("runs").to_owned()).await?;
        for column in columns().iter().rev() {
            let name = column.get_column_name();
            manager.alter_table(Table::alter().table("runs").drop_column(name).to_owned()).await?;
        }
        for table in ["threads", "memories"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}
