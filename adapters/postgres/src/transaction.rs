//! A transaction that begins in one round trip, with its tenant set, when it is first used; and a statement that needs none.

use std::time::Duration;

use async_trait::async_trait;
use powerhouse_domain::access::TenantScope;
use powerhouse_ports::store::StoreError;
use powerhouse_rows::{Transaction, store_error};
use sea_orm::sqlx::pool::PoolConnection;
use sea_orm::sqlx::query::Query;
use sea_orm::sqlx::{self, AssertSqlSafe, PgConnection, PgPool, Postgres};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr, Statement, Values};
use sea_query_sqlx::SqlxValues;
use tokio::sync::Mutex;

use crate::begun::{Begun, Connect};

/// An open transaction. `SeaORM` writes the statements, and sqlx sends them: of its own transactions `SeaORM` cannot
/// say how they begin.
pub(crate) type PgTransaction = Sending<Begun>;

/// What sends statements on a connection, however that is held.
///
/// Each statement has a time limit here too: one to a database that has gone without a word has no answer at all.
pub(crate) struct Sending<C> {
    on: Mutex<C>,
    patience: Duration,
    prepares: bool,
    compares: bool,
}

impl PgTransaction {
    /// A transaction of one tenant.
    pub(crate) fn of_tenant(pool: &Pool, scope: &TenantScope) -> Self {
        Self::begin(pool, "BEGIN", &tenant(scope))
    }

    /// A transaction of one tenant that cannot write, and sees one state of the database. Nobody waits for its rollback.
    pub(crate) fn of_reader(pool: &Pool, scope: &TenantScope) -> Self {
        Self::begin(pool, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", &tenant(scope))
    }

    /// A transaction of no tenant: across all, for the platform's role; for the application's it has nothing, unless what it
    /// calls says whose it is.
    pub(crate) fn of_nobody(pool: &Pool) -> Self {
        Self::begin(pool, "BEGIN", "")
    }

    fn begin(pool: &Pool, kind: &str, more: &str) -> Self {
        let opening = format!("{kind}{}{more}", pool.limits);
        Self::new(Begun::by(pool.connections.clone(), opening), pool)
    }
}

/// Sets the tenant. The id is a UUID, and so are its characters. LOCAL: the setting ends with the transaction.
fn tenant(scope: &TenantScope) -> String {
    format!("; SET LOCAL app.tenant_id = '{}'", scope.tenant_id().as_uuid())
}

const RUN: &str = "run";

/// A connection for a single statement, which is a transaction of its own.
pub(crate) enum Single {
    /// Nothing around the statement: one round trip.
    Bare(PoolConnection<Postgres>),
    /// A pooler gives each transaction another connection: limits are set, and statements parsed, in the same one.
    Begun(Begun),
}

impl Connect for Single {
    async fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        match self {
            Self::Bare(connection) => Ok(connection),
            Self::Begun(tx) => tx.connection().await,
        }
    }
}

impl Sending<Single> {
    /// A statement that reads across tenants.
    pub(crate) async fn of_platform(pool: &Pool) -> Result<Self, StoreError> {
        if pool.prepares {
            return Self::alone(pool).await;
        }
        let opening = format!("BEGIN READ ONLY{}", pool.limits);
        Ok(Self::new(Single::Begun(Begun::by(pool.connections.clone(), opening)), pool))
    }

    /// A statement with nothing around it.
    pub(crate) async fn alone(pool: &Pool) -> Result<Self, StoreError> {
        let bare = within(pool.patience, pool.connections.acquire()).await;
        Ok(Self::new(Single::Bare(bare.map_err(unreachable)?), pool))
    }
}

/// Calls a function of the database, which is all that its transaction does.
pub(crate) async fn call(pool: &Pool, function: Statement) -> Result<Vec<QueryResult>, StoreError> {
    if pool.prepares {
        // A statement is a transaction by itself.
        let single = Sending::<Single>::alone(pool).await?;
        return single.query_all_raw(function).await.map_err(store_error(RUN));
    }
    let tx = PgTransaction::of_nobody(pool);
    let rows = tx.query_all_raw(function).await.map_err(store_error(RUN))?;
    tx.commit().await.map_err(store_error(RUN))?;
    Ok(rows)
}

fn unreachable(error: sqlx::Error) -> StoreError {
    store_error("transaction")(connect_error(error))
}

impl<C: Connect> Sending<C> {
    fn new(on: C, pool: &Pool) -> Self {
        Self { on: Mutex::new(on), patience: pool.patience, prepares: pool.prepares, compares: pool.compares }
    }

    async fn connection<'c>(&self, on: &'c mut C) -> Result<&'c mut PgConnection, DbErr> {
        within(self.patience, on.connection()).await.map_err(connect_error)
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
    /// What follows the beginning of each transaction, where nothing can be left on a connection.
    pub(crate) limits: String,
    pub(crate) patience: Duration,
    /// Whether a connection may keep prepared statements.
    pub(crate) prepares: bool,
    /// Whether the database compares vectors.
    pub(crate) compares: bool,
}

pub(crate) async fn within<T>(
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

fn connect_error(error: sqlx::Error) -> DbErr {
    DbErr::Conn(driver(error))
}

#[async_trait]
impl<C: Connect> ConnectionTrait for Sending<C> {
    fn get_database_backend(&self) -> DbBackend {
        DbBackend::Postgres
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let mut on = self.on.lock().await;
        let connection = self.connection(&mut on).await?;
        within(self.patience, self.query(&statement).execute(connection))
            .await
            .map(Into::into)
            .map_err(exec_error)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let mut on = self.on.lock().await;
        let connection = self.connection(&mut on).await?;
        let sent = within(self.patience, sqlx::Executor::execute(connection, AssertSqlSafe(sql))).await;
        sent.map(Into::into).map_err(exec_error)
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let mut on = self.on.lock().await;
        let connection = self.connection(&mut on).await?;
        let row = within(self.patience, self.query(&statement).fetch_optional(connection)).await;
        row.map(|row| row.map(Into::into)).map_err(query_error)
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let mut on = self.on.lock().await;
        let connection = self.connection(&mut on).await?;
        let rows = within(self.patience, self.query(&statement).fetch_all(connection)).await;
        rows.map(|rows| rows.into_iter().map(Into::into).collect()).map_err(query_error)
    }
}

#[async_trait]
impl Transaction for PgTransaction {
    async fn commit(self) -> Result<(), DbErr> {
        within(self.patience, self.on.into_inner().commit()).await.map_err(exec_error)
    }

    fn compares_vectors(&self) -> bool {
        self.compares
    }

    // A refused statement would abort the transaction.
    async fn protect(&self) -> Result<(), DbErr> {
        self.execute_unprepared("SAVEPOINT refusable").await.map(drop)
    }

    async fn recover(&self) -> Result<(), DbErr> {
        self.execute_unprepared("ROLLBACK TO SAVEPOINT refusable").await.map(drop)
    }
}
