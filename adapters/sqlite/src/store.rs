//! The database file: opened, migrated, and handed out as transactions only.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use powerhouse_domain::access::TenantScope;
use powerhouse_migrations::{Migrator, MigratorTrait};
use powerhouse_ports::store::{Plain, StoreError, TenantStore, TenantTx, TenantView};
use powerhouse_rows::{Own, observe_pool, store_error};
use sea_orm::sqlx::ConnectOptions as _;
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ConnectOptions, Database, DatabaseConnection, DatabaseTransaction, DbErr, SqliteTransactionMode,
    TransactionOptions, TransactionTrait,
};

/// How long a transaction may wait for its turn.
const WAIT: Duration = Duration::from_secs(10);
/// How long a statement may wait for another process.
const BUSY: Duration = Duration::from_secs(5);
/// How many transactions may read at the same time.
const READERS: u32 = 4;

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
    /// One connection: SQLite has one writer, and here it waits in this process instead of for a lock.
    pub(crate) writer: DatabaseConnection,
    /// Connections that cannot write.
    pub(crate) readers: DatabaseConnection,
}

impl SqliteStore {
    /// Opens a file, made if there is none, and brings its schema up to date.
    pub async fn open(file: &Path) -> Result<Self, OpenError> {
        Self::open_waiting(file, BUSY).await
    }

    /// Opens a file; `busy` is how long a statement may wait for another process.
    pub(crate) async fn open_waiting(file: &Path, busy: Duration) -> Result<Self, OpenError> {
        let settings = durable(file, busy);
        let mut options = pool(1);
        let of_writer = settings.clone();
        options.map_sqlx_sqlite_opts(move |_| of_writer.clone());
        let writer = migrated(options).await?;
        let mut options = pool(READERS);
        options.map_sqlx_sqlite_opts(move |_| settings.clone().pragma("query_only", "on"));
        let readers = Database::connect(options).await.map_err(OpenError)?;
        Ok(Self { writer, readers })
    }

    /// Measures the connections that write, and those that read.
    pub fn observe(&self) {
        for (role, db) in [("writer", &self.writer), ("readers", &self.readers)] {
            let pool = db.get_sqlite_connection_pool();
            observe_pool(role, pool.size(), pool.num_idle());
        }
    }

    /// A transaction that may write. IMMEDIATE: one that reads first and writes then could otherwise be refused.
    pub(crate) async fn transaction(&self) -> Result<DatabaseTransaction, StoreError> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        self.writer.begin_with_options(options).await.map_err(store_error("transaction"))
    }

    /// A transaction that reads one state of the database, and waits for no writer.
    pub(crate) async fn snapshot(&self) -> Result<DatabaseTransaction, StoreError> {
        self.readers.begin().await.map_err(store_error("transaction"))
    }
}

fn pool(connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new("sqlite::memory:");
    options.max_connections(connections).acquire_timeout(WAIT).test_before_acquire(false).sqlx_logging(false);
    options
}

/// The settings of every connection to a file. FULL: an acknowledged run must survive a power cut, not only a crash.
fn durable(file: &Path, busy: Duration) -> SqliteConnectOptions {
    // A path is no URL: it may have a `?`, a `%`, or bytes that are no text.
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(busy)
        .disable_statement_logging()
}

async fn migrated(options: ConnectOptions) -> Result<DatabaseConnection, OpenError> {
    let db = Database::connect(options).await.map_err(OpenError)?;
    Migrator::up(&db, None).await.map_err(OpenError)?;
    Ok(db)
}

#[async_trait]
impl TenantStore for SqliteStore {
    async fn begin(&self, scope: &TenantScope) -> Result<Box<dyn TenantTx>, StoreError> {
        Ok(Box::new(Own::new(self.transaction().await?, scope.tenant_id())))
    }

    async fn read(&self, scope: &TenantScope) -> Result<Box<dyn TenantView>, StoreError> {
        Ok(Box::new(Own::new(self.snapshot().await?, scope.tenant_id())))
    }

    // There is no round trip to save: a transaction of the tenant's costs no more.
    async fn record_plain<'a>(&self, work: &[Plain<'a>]) -> Result<Vec<Option<u64>>, StoreError> {
        Ok(vec![None; work.len()])
    }
}
