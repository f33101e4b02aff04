//! A transaction that begins in one round trip, with its tenant set.

use std::time::Duration;

use async_trait::async_trait;
use powerhouse_domain::access::TenantScope;
use powerhouse_ports::store::StoreError;
use powerhouse_rows::{Transaction, store_error};
use sea_orm::sqlx::query::Query;
use sea_orm::sqlx::{self, AssertSqlSafe, PgConnection, PgPool, Postgres};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr, Statement, Values};
use sea_query_sqlx::SqlxValues;
use tokio::sync::Mutex;

/// An open transaction. `SeaORM` writes the statements, and sqlx sends them: of its own transactions `SeaORM` cannot
/// say how they begin.
///
/// Each statement has a time limit here too: one to a database that has gone without a word has no answer at all.
pub(crate) struct PgTransaction {
    tx: Mutex<sqlx::Transaction<'static, Postgres>>,
    patience: Duration,
    prepares: bool,
}

impl PgTransaction {
    /// A transaction of one tenant.
    pub(crate) async fn of_tenant(pool: &Pool, scope: &TenantScope) -> Result<Self, StoreError> {
        // The id is a UUID, and so are its characters. LOCAL: the setting ends with the transaction.
        let opening =
            format!("{}; SET LOCAL app.tenant_id = '{}'", pool.opening, scope.tenant_id().as_uuid());
        Self::begin(pool, opening).await
    }

    /// A transaction across tenants.
    pub(crate) async fn of_platform(pool: &Pool) -> Result<Self, StoreError> {
        Self::begin(pool, pool.opening.clone()).await
    }

    async fn begin(pool: &Pool, opening: String) -> Result<Self, StoreError> {
        let begun = within(pool.patience, pool.connections.begin_with(AssertSqlSafe(opening))).await;
        let tx = begun.map_err(|error| store_error("transaction")(DbErr::Conn(driver(error))))?;
        Ok(Self { tx: Mutex::new(tx), patience: pool.patience, prepares: pool.prepares })
    }

    /// The statement with its values; its text comes from `SeaORM` or from this crate, never from a caller.
    fn query<'q>(&self, statement: &'q Statement) -> Query<'q, Postgres, SqlxValues> {
        let values = statement.values.clone().unwrap_or_else(|| Values(Vec::new()));
        let query = sqlx::query_with(AssertSqlSafe(statement.sql.as_str()), SqlxValues(values));
        query.persistent(self.prepares)
    }
}

/// Connections, and how long a statement may take on one.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pub(crate) connections: PgPool,
    /// How a transaction begins.
    pub(crate) opening: String,
    pub(crate) patience: Duration,
    /// Whether a connection may keep prepared statements.
    pub(crate) prepares: bool,
}

async fn within<T>(
    patience: Duration,
    statement: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    match tokio::time::timeout(patience, statement).await {
        Ok(done) => done,
        Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
    }
}

fn driver(error: sqlx::Error) -> RuntimeErr {
    RuntimeErr::SqlxError(error.into())
}

fn exec_error(error: sqlx::Error) -> DbErr {
    DbErr::Exec(driver(error))
}

fn query_error(error: sqlx::Error) -> DbErr {
    DbErr::Query(driver(error))
}

#[async_trait]
impl ConnectionTrait for PgTransaction {
    fn get_database_backend(&self) -> DbBackend {
        DbBackend::Postgres
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let mut tx = self.tx.lock().await;
        let connection: &mut PgConnection = &mut tx;
        within(self.patience, self.query(&statement).execute(connection))
            .await
            .map(Into::into)
            .map_err(exec_error)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let mut tx = self.tx.lock().await;
        let connection: &mut PgConnection = &mut tx;
        let sent = within(self.patience, sqlx::Executor::execute(connection, AssertSqlSafe(sql))).await;
        sent.map(Into::into).map_err(exec_error)
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let mut tx = self.tx.lock().await;
        let connection: &mut PgConnection = &mut tx;
        let row = within(self.patience, self.query(&statement).fetch_optional(connection)).await;
        row.map(|row| row.map(Into::into)).map_err(query_error)
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let mut tx = self.tx.lock().await;
        let connection: &mut PgConnection = &mut tx;
        let rows = within(self.patience, self.query(&statement).fetch_all(connection)).await;
        rows.map(|rows| rows.into_iter().map(Into::into).collect()).map_err(query_error)
    }
}

#[async_trait]
impl Transaction for PgTransaction {
    async fn commit(self) -> Result<(), DbErr> {
        within(self.patience, self.tx.into_inner().commit()).await.map_err(exec_error)
    }

    // A refused statement would abort the transaction.
    async fn protect(&self) -> Result<(), DbErr> {
        self.execute_unprepared("SAVEPOINT refusable").await.map(drop)
    }

    async fn recover(&self) -> Result<(), DbErr> {
        self.execute_unprepared("ROLLBACK TO SAVEPOINT refusable").await.map(drop)
    }
}
