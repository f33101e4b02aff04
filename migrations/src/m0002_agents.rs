//! Agents, and their published versions.
#![expect(elided_lifetimes_in_paths, reason = "async_trait wants the signature as SeaORM's trait has it")]

use sea_orm_migration::prelude::*;

use crate::rls;
use crate::table::{foreign_key, index, instant, instant_or_null, integer, json, tenant_table, text, uuid};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0002_agents"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut agents = tenant_table("agents", &["id"]);
        agents
            .col(uuid("id"))
            .col(text("name"))
            .col(ColumnDef::new("draft").json_binary().null())
            .col(ColumnDef::new("current_version").big_integer().null())
            .col(instant_or_null("archived_at"))
            .col(integer("revision"))
            .col(instant("created_at"))
            .foreign_key(&mut foreign_key("agents", &[], "tenants", &[]));
        manager.create_table(agents).await?;
        manager.create_index(index("agents", "by_name", &["tenant_id", "name"]).unique().to_owned()).await?;

        let mut versions = tenant_table("agent_versions", &["agent_id", "number"]);
        versions
            .col(uuid("agent_id"))
            .col(integer("number"))
            .col(json("definition"))
            .col(instant("published_at"))
            .foreign_key(&mut foreign_key("agent_versions", &["agent_id"], "agents", &["id"]));
        manager.create_table(versions).await?;

        for table in ["agents", "agent_versions"] {
            rls::enable(manager, table).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["agent_versions", "agents"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}
