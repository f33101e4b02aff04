//! Schedules: tasks that are submitted at the times of an expression.
#![expect(elided_lifetimes_in_paths, reason = "async_trait wants the signature as SeaORM's trait has it")]

use sea_orm_migration::prelude::*;

use crate::rls;
use crate::table::{foreign_key, instant, instant_or_null, integer, json, tenant_table, text, uuid};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0008_schedules"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut schedules = tenant_table("schedules", &["id"]);
        schedules
            .col(uuid("id"))
            // No foreign key to the user: when they are gone the schedule stays, paused, for somebody to take over.
            .col(uuid("requested_by"))
            .col(text("name"))
            .col(json("plan"))
            // None while it is paused, and then there is a reason.
            .col(instant_or_null("next_at"))
            .col(ColumnDef::new("paused").json_binary().null())
            .col(instant_or_null("last_at"))
            .col(ColumnDef::new("last_run").uuid().null())
            .col(instant_or_null("claimed_until"))
            .col(instant("created_at"))
            .col(integer("version"))
            .foreign_key(&mut foreign_key("schedules", &[], "tenants", &[]));
        manager.create_table(schedules).await?;
        let due =
            "CREATE INDEX schedules_due ON schedules (next_at, tenant_id, id) WHERE next_at IS NOT NULL";
        manager.get_connection().execute_unprepared(due).await?;
        rls::enable(manager, "schedules").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("schedules").to_owned()).await
    }
}
