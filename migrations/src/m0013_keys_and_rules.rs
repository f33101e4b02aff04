//! Answers that were given to requests with a key, and tenants' rules on what people have to approve.
#![expect(elided_lifetimes_in_paths, reason = "async_trait wants the signature as SeaORM's trait has it")]

use sea_orm_migration::prelude::*;

use crate::rls;
use crate::table::{foreign_key, index, instant, integer, json, tenant_table, uuid};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0013_keys_and_rules"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut keys = tenant_table("idempotency_keys", &["user_id", "key_hash"]);
        keys.col(uuid("user_id"))
            .col(ColumnDef::new("key_hash").blob().not_null())
            // Sealed; with the hash of the request, which may have a password in it.
            .col(ColumnDef::new("answer").blob().null())
            .col(instant("expires_at"))
            .foreign_key(&mut foreign_key("idempotency_keys", &[], "tenants", &[]));
        manager.create_table(keys).await?;
        manager.create_index(index("idempotency_keys", "expired", &["expires_at"])).await?;
        let mut rules = tenant_table("approval_rules", &[]);
        rules.col(json("rules")).col(integer("version")).foreign_key(&mut foreign_key(
            "approval_rules",
            &[],
            "tenants",
            &[],
        ));
        manager.create_table(rules).await?;
        for table in ["idempotency_keys", "approval_rules"] {
            rls::enable(manager, table).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["approval_rules", "idempotency_keys"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}
