//! Webhooks: who is told, and what is on its way to them.
#![expect(elided_lifetimes_in_paths, reason = "async_trait wants the signature as SeaORM's trait has it")]

use sea_orm_migration::prelude::*;

use crate::rls;
use crate::table::{foreign_key, instant, instant_or_null, integer, tenant_table, text, uuid};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0009_webhooks"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut webhooks = tenant_table("webhooks", &["id"]);
        webhooks
            .col(uuid("id"))
            .col(text("url"))
            // Names between spaces, one before the first and one after the last; empty for all.
            .col(text("events"))
            .col(ColumnDef::new("disabled_reason").text().null())
            .col(instant_or_null("disabled_since"))
            .col(ColumnDef::new("secret").blob().not_null())
            .col(ColumnDef::new("previous_secret").blob().null())
            .col(instant_or_null("previous_until"))
            .col(uuid("created_by"))
            .col(instant("created_at"))
            .col(integer("version"))
            .foreign_key(&mut foreign_key("webhooks", &[], "tenants", &[]));
        manager.create_table(webhooks).await?;

        let mut deliveries = tenant_table("webhook_deliveries", &["webhook_id", "id"]);
        deliveries
            .col(uuid("webhook_id"))
            .col(uuid("id"))
            .col(text("event"))
            // No foreign key: the run may go before what was said of it.
            .col(ColumnDef::new("run_id").uuid().null())
            .col(text("payload"))
            .col(integer("attempts"))
            .col(integer("before_replay"))
            .col(text("status"))
            // When it is tried next, while it is pending.
            .col(instant_or_null("next_at"))
            .col(instant_or_null("ended_at"))
            .col(instant_or_null("last_at"))
            .col(ColumnDef::new("last_status").big_integer().null())
            .col(ColumnDef::new("last_note").text().null())
            .col(instant("created_at"))
            .foreign_key(&mut foreign_key("webhook_deliveries", &["webhook_id"], "webhooks", &["id"]));
        manager.create_table(deliveries).await?;
        for sql in [
            "CREATE INDEX webhook_deliveries_due ON webhook_deliveries (next_at, tenant_id, webhook_id, id)
             WHERE next_at IS NOT NULL",
            "CREATE INDEX webhook_deliveries_ended ON webhook_deliveries (ended_at) WHERE ended_at IS NOT NULL",
        ] {
            manager.get_connection().execute_unprepared(sql).await?;
        }
        for table in ["webhooks", "webhook_deliveries"] {
            rls::enable(manager, table).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["webhook_deliveries", "webhooks"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}
