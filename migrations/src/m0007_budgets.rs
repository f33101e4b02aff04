//! Prices, budgets with what was spent in their windows, and what was used.
#![expect(elided_lifetimes_in_paths, reason = "async_trait wants the signature as SeaORM's trait has it")]

use sea_orm_migration::prelude::*;

use crate::rls;
use crate::table::{foreign_key, instant, integer, tenant_table, text, uuid};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0007_budgets"
    }
}

const TABLES: [&str; 4] = ["prices", "budgets", "budget_windows", "usage"];

fn integer_or_null(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).big_integer().null().take()
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut prices = tenant_table("prices", &["model", "effective_from"]);
        prices
            .col(text("model"))
            .col(instant("effective_from"))
            .col(integer("input_micros"))
            .col(integer("output_micros"))
            .col(integer("max_output_tokens"))
            .foreign_key(&mut foreign_key("prices", &[], "tenants", &[]));
        manager.create_table(prices).await?;

        let mut budgets = tenant_table("budgets", &["id"]);
        budgets
            .col(uuid("id"))
            .col(text("scope"))
            // The user or the agent. No foreign key: both may go, and what was spent stays.
            .col(ColumnDef::new("scope_id").uuid().null())
            .col(text("period"))
            .col(integer_or_null("cap_micros"))
            .col(integer_or_null("cap_tokens"))
            .col(instant("created_at"))
            .col(integer("version"))
            .foreign_key(&mut foreign_key("budgets", &[], "tenants", &[]));
        manager.create_table(budgets).await?;

        let mut windows = tenant_table("budget_windows", &["budget_id", "window_start"]);
        windows.col(uuid("budget_id")).col(instant("window_start"));
        for amount in ["spent_micros", "spent_tokens", "reserved_micros", "reserved_tokens"] {
            windows.col(integer(amount));
        }
        windows.foreign_key(&mut foreign_key("budget_windows", &["budget_id"], "budgets", &["id"]));
        manager.create_table(windows).await?;

        // The day comes first: that is what is asked for.
        let mut usage = tenant_table("usage", &["day", "agent_id", "user_id", "model"]);
        usage
            .col(ColumnDef::new("day").date().not_null())
            .col(uuid("agent_id"))
            .col(uuid("user_id"))
            .col(text("model"))
            .col(integer("calls"))
            .col(integer("input_tokens"))
            .col(integer("output_tokens"))
            .col(integer("cost_micros"))
            .foreign_key(&mut foreign_key("usage", &[], "tenants", &[]));
        manager.create_table(usage).await?;

        for table in TABLES {
            rls::enable(manager, table).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES.iter().rev() {
            manager.drop_table(Table::drop().table(*table).to_owned()).await?;
        }
        Ok(())
    }
}
