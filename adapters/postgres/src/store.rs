//! The pools, and how transactions begin.

use std::str::FromStr as _;
use std::time::Duration;

use async_trait::async_trait;
use powerhouse_domain::access::TenantScope;
use powerhouse_domain::runs::Lease;
use powerhouse_ports::store::{ClaimedRun, Plain, StoreError, TenantStore, TenantTx, TenantView};
use powerhouse_rows::{Own, observe_pool};
use sea_orm::sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sea_orm::sqlx::{self, ConnectOptions as _, Connection as _};

use crate::safety::{self, Unsafe};
use crate::transaction::{PgTransaction, Pool, Sending, Single, within};
use crate::vectors;

/// How much longer than the database itself we wait for a statement.
const GRACE: Duration = Duration::from_secs(1);

/// How long a connection that was idle may take to answer.
const PING: Duration = Duration::from_secs(1);

/// How many connections there are, and how long things may take.
#[derive(Clone, Copy, Debug)]
pub struct PoolSettings {
    /// Connections of the application's role.
    pub connections: u32,
    /// Connections of the platform's role.
    pub platform_connections: u32,
    /// How long a request may wait for a connection.
    pub acquire: Duration,
    /// After how long idle a connection is tried before it is used: the database may have gone meanwhile, and another
    /// taken its place.
    pub test_idle: Duration,
    /// How long a statement may run.
    pub statement: Duration,
    /// How long a statement may wait for a lock.
    pub lock: Duration,
    /// How long a transaction may stand idle.
    pub idle_in_transaction: Duration,
    /// What is between us and the database.
    pub pooler: Pooler,
}

/// What is between us and the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooler {
    /// Nothing, or something that gives each of our connections one to the database.
    #[default]
    None,
    /// A pooler that gives each transaction any connection, such as `PgBouncer` in transaction mode: nothing may be
    /// left on a connection, no setting and no prepared statement.
    Transaction,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            connections: 20,
            platform_connections: 10,
            acquire: Duration::from_secs(5),
            test_idle: Duration::from_secs(30),
            statement: Duration::from_secs(10),
            lock: Duration::from_secs(5),
            idle_in_transaction: Duration::from_secs(30),
            pooler: Pooler::None,
        }
    }
}

/// Why the stores cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL is none of PostgreSQL's.
    #[error("the database's URL cannot be read")]
    Url(#[source] sqlx::Error),
    /// The database does not answer, or refuses the role.
    #[error("the database cannot be reached")]
    Connect(#[source] sqlx::Error),
    /// It would serve, but not keep tenants apart.
    #[error(transparent)]
    Unsafe(#[from] Unsafe),
}

/// The stores, on one database.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    application: Pool,
    pub(crate) platform: Pool,
}

impl PostgresStore {
    /// Connects with both roles. Refuses when either could get around row-level security, or a table lacks it. Whether the
    /// database compares vectors is asked now, and not again.
    pub async fn open(application: &str, platform: &str, settings: PoolSettings) -> Result<Self, OpenError> {
        let mut application = pool(application, settings.connections, settings).await?;
        let mut platform = pool(platform, settings.platform_connections, settings).await?;
        for pool in [&mut application, &mut platform] {
            let mut tx = pool.connections.begin().await.map_err(OpenError::Connect)?;
            safety::check(&mut tx).await.map_err(OpenError::Connect)??;
            pool.compares = vectors::are_compared(&mut tx).await.map_err(OpenError::Connect)?;
        }
        Ok(Self { application, platform })
    }

    /// A transaction across tenants.
    pub(crate) fn across(&self) -> PgTransaction {
        PgTransaction::of_nobody(&self.platform)
    }

    /// Measures the connections of both roles.
    pub fn observe(&self) {
        for (role, pool) in [("application", &self.application), ("platform", &self.platform)] {
            observe_pool(role, pool.connections.size(), pool.connections.num_idle());
        }
    }

    /// A statement across tenants.
    pub(crate) async fn statement(&self) -> Result<Sending<Single>, StoreError> {
        Sending::<Single>::of_platform(&self.platform).await
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.application.connections.close().await;
        self.platform.connections.close().await;
    }
}

async fn pool(url: &str, connections: u32, settings: PoolSettings) -> Result<Pool, OpenError> {
    let milliseconds = |duration: Duration| duration.as_millis().to_string();
    let limits = [
        ("statement_timeout", milliseconds(settings.statement)),
        ("lock_timeout", milliseconds(settings.lock)),
        ("idle_in_transaction_session_timeout", milliseconds(settings.idle_in_transaction)),
    ];
    let options = PgConnectOptions::from_str(url).map_err(OpenError::Url)?.disable_statement_logging();
    let (options, limits) = match settings.pooler {
        Pooler::None => (options.application_name("powerhouse").options(limits), String::new()),
        Pooler::Transaction => {
            let set = limits.map(|(name, value)| format!("; SET LOCAL {name} = {value}"));
            (options.statement_cache_capacity(0).extra_float_digits(None), set.concat())
        }
    };
    let connections = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(settings.acquire)
        // A ping before each use would cost a round trip.
        .test_before_acquire(false)
        .before_acquire(move |connection, meta| {
            Box::pin(async move {
                if meta.idle_for >= settings.test_idle {
                    within(PING, connection.ping()).await?;
                }
                Ok(true)
            })
        })
        .connect_with(options)
        .await
        .map_err(OpenError::Connect)?;
    let patience = settings.acquire + settings.statement + GRACE;
    let prepares = settings.pooler == Pooler::None;
    Ok(Pool { connections, limits, patience, prepares, compares: false })
}

#[async_trait]
impl TenantStore for PostgresStore {
    async fn begin(&self, scope: &TenantScope) -> Result<Box<dyn TenantTx>, StoreError> {
        let tx = PgTransaction::of_tenant(&self.application, scope);
        Ok(Box::new(Own::new(tx, scope.tenant_id())))
    }

    async fn read(&self, scope: &TenantScope) -> Result<Box<dyn TenantView>, StoreError> {
        let tx = PgTransaction::of_reader(&self.application, scope);
        Ok(Box::new(Own::new(tx, scope.tenant_id())))
    }

    async fn record_plain<'a>(&self, work: &[Plain<'a>]) -> Result<Vec<Option<u64>>, StoreError> {
        crate::plain::record(&self.application, work).await
    }

    async fn read_claimed(&self, leases: &[Lease]) -> Result<Vec<Option<ClaimedRun>>, StoreError> {
        crate::plain::read_claimed(&self.application, leases).await
    }
}
