//! What tenants' selections know.
#![expect(elided_lifetimes_in_paths, reason = "async_trait wants the signature as SeaORM's trait has it")]

use sea_orm_migration::prelude::*;

use crate::rls;
use crate::table::{foreign_key, index, instant_or_null, integer, json, tenant_table};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0015_selection"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut selectors = tenant_table("selectors", &[]);
        selectors
            .col(integer("revision"))
            .col(ColumnDef::new("default_agent").uuid().null())
            .col(instant_or_null("reset_at"))
            .col(json("learnt"))
            .foreign_key(&mut foreign_key("selectors", &[], "tenants", &[]))
            .foreign_key(&mut foreign_key("selectors", &["default_agent"], "agents", &["id"]));
        manager.create_table(selectors).await?;
        // What was last called good.
        let by_verdict = index("run_feedback", "by_verdict", &["tenant_id", "verdict", "at", "run_id"]);
        manager.create_index(by_verdict).await?;
        rls::enable(manager, "selectors").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_index(Index::drop().name("run_feedback_by_verdict").table("run_feedback").to_owned())
            .await?;
        manager.drop_table(Table::drop().table("selectors").to_owned()).await
    }
}
