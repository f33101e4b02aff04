//! Runs, their journals, and what people thought of them.
#![expect(elided_lifetimes_in_paths, reason = "async_trait wants the signature as SeaORM's trait has it")]

use sea_orm_migration::prelude::*;

use crate::rls;
use crate::table::{foreign_key, index, instant, instant_or_null, integer, json, tenant_table, text, uuid};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0003_runs"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut runs = tenant_table("runs", &["id"]);
        runs.col(uuid("id"))
            // No foreign keys to the user and the agent: both may go, and the run stays.
            .col(uuid("requested_by"))
            .col(text("task"))
            .col(uuid("agent_id"))
            .col(integer("agent_version"))
            .col(json("selection"))
            .col(json("limits"))
            .col(text("status"))
            .col(json("state"))
            .col(integer("input_tokens"))
            .col(integer("output_tokens"))
            .col(integer("cost_micros"))
            .col(instant("created_at"))
            .col(integer("version"))
            .col(integer("fencing_token"))
            .col(instant_or_null("lease_expires_at"))
            .col(integer("next_seq"))
            .foreign_key(&mut foreign_key("runs", &[], "tenants", &[]));
        manager.create_table(runs).await?;
        // The queue looks over all tenants; everybody else at one.
        manager.create_index(index("runs", "queue", &["status", "tenant_id", "created_at", "id"])).await?;
        manager.create_index(index("runs", "by_lease", &["lease_expires_at"])).await?;
        manager.create_index(index("runs", "by_requester", &["tenant_id", "requested_by", "id"])).await?;

        let mut events = tenant_table("run_events", &["run_id", "seq"]);
        events
            .col(uuid("run_id"))
            .col(integer("seq"))
            .col(instant("at"))
            .col(json("body"))
            .foreign_key(&mut foreign_key("run_events", &["run_id"], "runs", &["id"]));
        manager.create_table(events).await?;

        let mut feedback = tenant_table("run_feedback", &["run_id", "user_id"]);
        feedback
            .col(uuid("run_id"))
            .col(uuid("user_id"))
            .col(text("verdict"))
            .col(text("comment"))
            .col(instant("at"))
            .foreign_key(&mut foreign_key("run_feedback", &["run_id"], "runs", &["id"]));
        manager.create_table(feedback).await?;

        // The queue serves tenants in turn: the number of the last grant to each.
        let mut turns = tenant_table("queue_turns", &[]);
        turns.col(integer("turn")).foreign_key(&mut foreign_key("queue_turns", &[], "tenants", &[]));
        manager.create_table(turns).await?;

        for table in ["runs", "run_events", "run_feedback", "queue_turns"] {
            rls::enable(manager, table).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["queue_turns", "run_feedback", "run_events", "runs"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}
