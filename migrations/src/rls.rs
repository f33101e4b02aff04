//! Row-level security on PostgreSQL; nothing on SQLite, whose adapter filters by itself.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

/// Lets only rows of the transaction's tenant be seen and written. An unset tenant sees none.
pub(crate) async fn enable(manager: &SchemaManager<'_>, table: &str) -> Result<(), DbErr> {
    enable_by(manager, table, "tenant_id").await
}

/// The same, where another column names the tenant.
pub(crate) async fn enable_by(manager: &SchemaManager<'_>, table: &str, column: &str) -> Result<(), DbErr> {
    if manager.get_database_backend() != DbBackend::Postgres {
        return Ok(());
    }
    // The sub-select is evaluated once a query, not once a row.
    let own = format!("{column} = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)");
    for statement in [
        format!("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"),
        format!("ALTER TABLE {table} FORCE ROW LEVEL SECURITY"),
        format!("CREATE POLICY tenant_isolation ON {table} USING ({own}) WITH CHECK ({own})"),
    ] {
        manager.get_connection().execute_unprepared(&statement).await?;
    }
    Ok(())
}
