//! The database file: opened, migrated, and handed out as transactions only.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use powerhouse_domain::access::TenantScope;
use powerhouse_migrations::{Migrator, MigratorTrait};
use powerhouse_ports::store::{StoreError, TenantStore, TenantTx};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbErr,
    SqliteTransactionMode, TransactionOptions, TransactionTrait,
};

use crate::error::store_error;
use crate::tenant::SqliteTx;

/// How long a transaction may wait for its turn.
const WAIT: Duration = Duration::from_secs(10);

/// The database cannot be opened.
#[derive(Debug)]
pub struct OpenError(DbErr);

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the database file cannot be opened or migrated")
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// The stores, on one file.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    db: DatabaseConnection,
}

impl SqliteStore {
    /// Opens a file, made if there is none, and brings its schema up to date.
    pub async fn open(file: &Path) -> Result<Self, OpenError> {
        Self::connect(&format!("sqlite://{}?mode=rwc", file.display())).await
    }

    /// A database that is gone when the last clone is dropped; for tests.
    pub async fn in_memory() -> Result<Self, OpenError> {
        Self::connect("sqlite::memory:").await
    }

    async fn connect(url: &str) -> Result<Self, OpenError> {
        let mut options = ConnectOptions::new(url);
        options.max_connections(1).min_connections(1).acquire_timeout(WAIT).sqlx_logging(false);
        // A connection to a file in memory must never be closed and opened anew.
        options.idle_timeout(None::<Duration>).max_lifetime(None::<Duration>).test_before_acquire(false);
        let db = Database::connect(options).await.map_err(OpenError)?;
        // FULL: an acknowledged run must survive a power cut, not only a crash.
        for pragma in ["journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "busy_timeout = 5000"]
        {
            db.execute_unprepared(&format!("PRAGMA {pragma}")).await.map_err(OpenError)?;
        }
        Migrator::up(&db, None).await.map_err(OpenError)?;
        Ok(Self { db })
    }

    /// A transaction that may write. IMMEDIATE: one that reads first and writes then could otherwise be refused.
    pub(crate) async fn transaction(&self) -> Result<DatabaseTransaction, StoreError> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        self.db.begin_with_options(options).await.map_err(store_error("transaction"))
    }
}

#[async_trait]
impl TenantStore for SqliteStore {
    async fn begin(&self, scope: &TenantScope) -> Result<Box<dyn TenantTx>, StoreError> {
        Ok(Box::new(SqliteTx::new(self.transaction().await?, scope.tenant_id())))
    }
}
