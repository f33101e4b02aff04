//! The schema, step by step. A migration expands what the version before can still use, and a later one contracts;
//! none is edited once it has been released.
//!
//! Each serves SQLite and PostgreSQL. On PostgreSQL every table with a `tenant_id` has row-level security, forced
//! even on its owner (ADR 0002); [`rls`] writes the policy.

pub use sea_orm_migration::MigratorTrait;
use sea_orm_migration::prelude::*;

mod m0001_tenants_and_users;
mod m0002_agents;
mod m0003_runs;
mod m0004_expired_sessions;
mod m0005_partitions;
mod m0006_queue;
mod m0007_budgets;
mod m0008_schedules;
mod m0009_webhooks;
mod m0010_approvals;
mod m0011_audit;
mod m0012_admission;
mod m0013_keys_and_rules;
mod m0014_record_work;
mod m0015_selection;
mod m0016_models;
mod m0017_vault;
mod m0018_tenant_tools;
mod m0019_sub_runs;
mod m0020_knowledge;
mod m0021_memory;
mod m0023_keys_and_masks;
mod m0024_rules_when_written;
mod m0025_room_in_pages;
mod m0029_read_claimed;
mod m0030_claim_runs;
#[cfg(test)]
mod on_postgres;
mod rls;
mod table;

/// Every migration, in order.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_tenants_and_users::Migration),
            Box::new(m0002_agents::Migration),
            Box::new(m0003_runs::Migration),
            Box::new(m0004_expired_sessions::Migration),
            Box::new(m0005_partitions::Migration),
            Box::new(m0006_queue::Migration),
            Box::new(m0007_budgets::Migration),
            Box::new(m0008_schedules::Migration),
            Box::new(m0009_webhooks::Migration),
            Box::new(m0010_approvals::Migration),
            Box::new(m0011_audit::Migration),
            Box::new(m0012_admission::Migration),
            Box::new(m0013_keys_and_rules::Migration),
            Box::new(m0014_record_work::Migration),
            Box::new(m0015_selection::Migration),
            Box::new(m0016_models::Migration),
            Box::new(m0017_vault::Migration),
            Box::new(m0018_tenant_tools::Migration),
            Box::new(m0019_sub_runs::Migration),
            Box::new(m0020_knowledge::Migration),
            Box::new(m0021_memory::Migration),
            Box::new(m0023_keys_and_masks::Migration),
            Box::new(m0024_rules_when_written::Migration),
            Box::new(m0025_room_in_pages::Migration),
            Box::new(m0029_read_claimed::Migration),
            Box::new(m0030_claim_runs::Migration),
        ]
    }
}

#[cfg(test)]
mod tests {
    use sea_orm_migration::sea_orm::{ConnectionTrait, Database, DbBackend, Statement};

    use super::*;

    #[tokio::test]
    async fn up_down_and_up_again_leaves_the_same_schema() {
        let db = Database::connect("sqlite::memory:").await.unwrap();
        let schema = async || {
            let sql = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name";
            let rows = db.query_all_raw(Statement::from_string(DbBackend::Sqlite, sql)).await.unwrap();
            rows.iter().map(|row| row.try_get_by_index::<String>(0).unwrap()).collect::<Vec<_>>()
        };
        Migrator::up(&db, None).await.unwrap();
        let first = schema().await;
        assert!(first.iter().any(|sql| sql.contains("run_events")));
        Migrator::down(&db, None).await.unwrap();
        assert!(schema().await.iter().all(|sql| sql.contains("seaql_migrations")));
        Migrator::up(&db, None).await.unwrap();
        assert_eq!(schema().await, first);
    }

    /// Each step is taken with rows of the version before, which stay.
    #[tokio::test]
    async fn rows_of_the_version_before_stay() {
        let db = Database::connect("sqlite::memory:").await.unwrap();
        Migrator::up(&db, Some(3)).await.unwrap();
        for row in on_postgres::ROWS {
            db.execute_unprepared(row).await.unwrap();
        }
        Migrator::up(&db, None).await.unwrap();
        for table in on_postgres::FILLED {
            let count = Statement::from_string(DbBackend::Sqlite, format!("SELECT COUNT(*) FROM {table}"));
            let row = db.query_one_raw(count).await.unwrap().unwrap();
            assert_eq!(row.try_get_by_index::<i64>(0).unwrap(), 1, "{table}");
        }
    }
}
