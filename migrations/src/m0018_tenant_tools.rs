//! Tools and MCP servers that tenants declare, and where these may reach.
#![expect(elided_lifetimes_in_paths, reason = "async_trait wants the signature as SeaORM's trait has it")]

use sea_orm_migration::prelude::*;

use crate::rls;
use crate::table::{foreign_key, index, instant, integer, json, tenant_table, text, uuid};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0018_tenant_tools"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut tools = tenant_table("tools", &["name"]);
        tools
            .col(text("name"))
            .col(text("kind"))
            .col(json("source"))
            .col(uuid("created_by"))
            .col(instant("created_at"))
            .col(instant("updated_at"))
            .col(integer("version"))
            .foreign_key(&mut foreign_key("tools", &[], "tenants", &[]));
        manager.create_table(tools).await?;
        manager.create_index(index("tools", "by_kind", &["tenant_id", "kind", "name"])).await?;
        let mut rules = tenant_table("egress_rules", &[]);
        rules
            // No list, where it is null: all that the platform allows.
            .col(ColumnDef::new("hosts").json_binary().null())
            .col(integer("version"))
            .foreign_key(&mut foreign_key("egress_rules", &[], "tenants", &[]));
        manager.create_table(rules).await?;
        for table in ["tools", "egress_rules"] {
            rls::enable(manager, table).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["egress_rules", "tools"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}
