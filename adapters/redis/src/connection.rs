//! Connections, and a circuit breaker: while Redis is away, nobody waits for it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{self, Metrics, Object, RecycleResult};
use metrics::{counter, gauge};
use redis::aio::MultiplexedConnection;
use redis::{Client, RedisError as DriverError, RedisResult, cmd};
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

/// How long Redis may take before it counts as away.
const PATIENCE: Duration = Duration::from_millis(250);
/// How often Redis is asked whether it is there.
const PROBE_EVERY: Duration = Duration::from_millis(500);

/// After how long idle a connection is tried before it is used.
const TEST_IDLE: Duration = Duration::from_secs(30);

type Pool = managed::Pool<Connections>;

/// Makes connections. To ask each before every use would cost a round trip: one that has failed is not used again, and
/// one that was idle is asked.
struct Connections(Client);

impl managed::Manager for Connections {
    type Type = MultiplexedConnection;
    type Error = DriverError;

    async fn create(&self) -> RedisResult<MultiplexedConnection> {
        self.0.get_multiplexed_async_connection().await
    }

    async fn recycle(
        &self,
        connection: &mut MultiplexedConnection,
        metrics: &Metrics,
    ) -> RecycleResult<DriverError> {
        if metrics.last_used() >= TEST_IDLE {
            cmd("PING").query_async::<()>(connection).await?;
        }
        Ok(())
    }
}

/// The URL is none of Redis's.
#[derive(Debug, thiserror::Error)]
#[error("the URL of Redis cannot be used")]
pub struct RedisError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// Redis, there or away.
#[derive(Clone)]
pub struct Redis(Arc<Shared>);

struct Shared {
    pool: Pool,
    client: Client,
    is_up: Arc<AtomicBool>,
    _probing: AbortOnDropHandle<()>,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("is_up", &self.is_up()).finish_non_exhaustive()
    }
}

impl Redis {
    /// Redis at this URL, whether it is there now or not. Needs a tokio runtime.
    pub async fn new(url: &str, connections: usize) -> Result<Self, RedisError> {
        let client = Client::open(url).map_err(|error| RedisError(error.into()))?;
        let pool = Pool::builder(Connections(client.clone()))
            .max_size(connections)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(PATIENCE))
            .create_timeout(Some(PATIENCE))
            .recycle_timeout(Some(PATIENCE))
            .build()
            .map_err(|error| RedisError(error.into()))?;
        let is_up = Arc::new(AtomicBool::new(true));
        note(&is_up, answers(&pool).await);
        let probing = AbortOnDropHandle::new(tokio::spawn(probe(pool.clone(), Arc::clone(&is_up))));
        Ok(Self(Arc::new(Shared { pool, client, is_up, _probing: probing })))
    }

    /// Whether Redis answered when it was asked last.
    pub fn is_up(&self) -> bool {
        self.0.is_up.load(Ordering::Relaxed)
    }

    /// Whether it is there, as it is now and will be.
    pub fn watch(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0.is_up)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.0.client
    }

    /// Does something with a connection; nothing while Redis is away, or when it takes too long.
    pub(crate) async fn with<T>(
        &self,
        work: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> Option<T> {
        if !self.is_up() {
            return None;
        }
        match once(&self.0.pool, work).await {
            Ok(done) => Some(done),
            Err(reason) => {
                counter!("powerhouse_redis_calls_failed_total", "reason" => reason).increment(1);
                note(&self.0.is_up, false);
                None
            }
        }
    }
}

/// Does something with a connection. When it fails, neither that one is used again nor any that is idle.
async fn once<T>(
    pool: &Pool,
    work: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
) -> Result<T, &'static str> {
    let done = timeout(PATIENCE, async {
        let mut connection = Lent(Some(pool.get().await.map_err(|_| "no_connection")?));
        let lent = connection.0.as_mut().ok_or("no_connection")?;
        let done = work(lent).await.inspect_err(log).map_err(|_| "error")?;
        drop(connection.0.take());
        Ok(done)
    });
    let done = done.await.unwrap_or(Err("too_slow"));
    if done.is_err() {
        // The others may lead nowhere as well.
        pool.retain(|_, _| false);
    }
    done
}

/// A connection that leaves the pool unless it is taken out of here, also when the work is abandoned.
struct Lent(Option<Object<Connections>>);

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(Object::take(connection));
        }
    }
}

fn log(error: &DriverError) {
    tracing::debug!(%error, "Redis refused");
}

async fn answers(pool: &Pool) -> bool {
    let ping = async |connection: &mut _| cmd("PING").query_async::<()>(connection).await;
    once(pool, ping).await.is_ok()
}

/// Notes whether Redis is there; a change is logged, once.
fn note(is_up: &AtomicBool, now: bool) {
    gauge!("powerhouse_redis_up").set(u8::from(now));
    match (is_up.swap(now, Ordering::Relaxed), now) {
        (true, false) => {
            counter!("powerhouse_redis_breaker_openings_total").increment(1);
            tracing::warn!("Redis is away: limits are stricter and per process, news of runs come late");
        }
        (false, true) => tracing::info!("Redis is back"),
        _ => {}
    }
}

/// Finds out when Redis goes and comes.
async fn probe(pool: Pool, is_up: Arc<AtomicBool>) {
    loop {
        note(&is_up, answers(&pool).await);
        sleep(PROBE_EVERY).await;
    }
}
