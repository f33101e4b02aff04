//! What runs have asked people.
#![expect(elided_lifetimes_in_paths, reason = "async_trait wants the signature as SeaORM's trait has it")]

use sea_orm_migration::prelude::*;

use crate::rls;
use crate::table::{foreign_key, instant, json, tenant_table, text, uuid};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0010_approvals"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut approvals = tenant_table("approvals", &["id"]);
        approvals
            .col(uuid("id"))
            .col(uuid("run_id"))
            .col(text("effect_key"))
            .col(json("question"))
            .col(instant("asked_at"))
            .col(instant("expires_at"))
            .col(ColumnDef::new("answer").json_binary().null())
            .foreign_key(&mut foreign_key("approvals", &["run_id"], "runs", &["id"]));
        manager.create_table(approvals).await?;
        // A page of what is open passes nothing that was answered; and a run goes with what it has asked.
        for sql in [
            "CREATE INDEX approvals_open ON approvals (tenant_id, id) WHERE answer IS NULL",
            "CREATE INDEX approvals_by_run ON approvals (tenant_id, run_id)",
        ] {
            manager.get_connection().execute_unprepared(sql).await?;
        }
        rls::enable(manager, "approvals").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("approvals").to_owned()).await
    }
}
