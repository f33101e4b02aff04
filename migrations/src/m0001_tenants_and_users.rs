//! Tenants, their users, and the sessions of those.
#![expect(elided_lifetimes_in_paths, reason = "async_trait wants the signature as SeaORM's trait has it")]

use sea_orm_migration::prelude::*;

use crate::rls;
use crate::table::{foreign_key, index, instant, instant_or_null, integer, tenant_table, text, uuid};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0001_tenants_and_users"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut tenants = Table::create();
        tenants
            .table("tenants")
            .col(uuid("id").primary_key())
            .col(text("slug").unique_key())
            .col(text("name"))
            .col(text("plan"))
            .col(text("status"))
            .col(ColumnDef::new("status_reason").text().null())
            .col(instant_or_null("status_since"))
            .col(integer("version"))
            .col(instant("created_at"))
            .col(instant("updated_at"));
        manager.create_table(tenants).await?;

        let mut users = tenant_table("users", &["id"]);
        users
            .col(uuid("id"))
            .col(text("email"))
            .col(text("display_name"))
            .col(text("password_hash"))
            .col(text("role"))
            .col(instant("joined_at"))
            .col(instant_or_null("disabled_since"))
            .col(integer("version"))
            .col(instant("created_at"))
            .col(instant("updated_at"))
            .foreign_key(&mut foreign_key("users", &[], "tenants", &[]));
        manager.create_table(users).await?;
        manager.create_index(index("users", "by_email", &["tenant_id", "email"]).unique().to_owned()).await?;

        let mut sessions = tenant_table("sessions", &["id"]);
        sessions
            .col(uuid("id"))
            .col(uuid("user_id"))
            .col(ColumnDef::new("current_digest").binary_len(32).not_null())
            .col(ColumnDef::new("previous_digest").binary_len(32).null())
            .col(instant("created_at"))
            .col(instant("expires_at"))
            .col(instant_or_null("ended_at"))
            .foreign_key(&mut foreign_key("sessions", &["user_id"], "users", &["id"]));
        manager.create_table(sessions).await?;
        manager.create_index(index("sessions", "by_id", &["id"])).await?;
        manager.create_index(index("sessions", "by_user", &["tenant_id", "user_id"])).await?;

        // Every digest that a session ever had: an old one that comes back ends the session.
        let mut digests = tenant_table("refresh_digests", &["digest"]);
        digests
            .col(ColumnDef::new("digest").binary_len(32).not_null())
            .col(uuid("session_id"))
            .foreign_key(&mut foreign_key("refresh_digests", &["session_id"], "sessions", &["id"]));
        manager.create_table(digests).await?;
        // Not unique over all tenants, so that no error tells of another one's; 256 random bits do not meet.
        manager.create_index(index("refresh_digests", "by_digest", &["digest"])).await?;
        manager.create_index(index("refresh_digests", "by_session", &["tenant_id", "session_id"])).await?;

        rls::enable_by(manager, "tenants", "id").await?;
        for table in ["users", "sessions", "refresh_digests"] {
            rls::enable(manager, table).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["refresh_digests", "sessions", "users", "tenants"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}
