//! Connections, and a circuit breaker: while Redis is away, nobody waits for it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_redis::redis::{Client, RedisError as DriverError, RedisResult, cmd};
use deadpool_redis::{Config, Connection, Pool, PoolConfig, Runtime, Timeouts};
use metrics::{counter, gauge};
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

/// How long Redis may take before it counts as away.
const PATIENCE: Duration = Duration::from_millis(250);
/// How often Redis is asked whether it is there.
const PROBE_EVERY: Duration = Duration::from_millis(500);

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
        let mut config = Config::from_url(url);
        let time_outs = Timeouts { wait: Some(PATIENCE), create: Some(PATIENCE), recycle: Some(PATIENCE) };
        config.pool =
            Some(PoolConfig { max_size: connections, timeouts: time_outs, ..PoolConfig::default() });
        let pool = config.create_pool(Some(Runtime::Tokio1)).map_err(|error| RedisError(error.into()))?;
        let client = Client::open(url).map_err(|error| RedisError(error.into()))?;
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
        work: impl AsyncFnOnce(&mut Connection) -> RedisResult<T>,
    ) -> Option<T> {
        if !self.is_up() {
            return None;
        }
        let done = timeout(PATIENCE, async {
            let mut connection = self.0.pool.get().await.map_err(|_| "no_connection")?;
            work(&mut connection).await.inspect_err(log).map_err(|_| "error")
        });
        match done.await.unwrap_or(Err("too_slow")) {
            Ok(done) => Some(done),
            Err(reason) => {
                counter!("powerhouse_redis_calls_failed_total", "reason" => reason).increment(1);
                note(&self.0.is_up, false);
                None
            }
        }
    }
}

fn log(error: &DriverError) {
    tracing::debug!(%error, "Redis refused");
}

async fn answers(pool: &Pool) -> bool {
    let asked = timeout(PATIENCE, async {
        let mut connection = pool.get().await.ok()?;
        cmd("PING").query_async::<String>(&mut connection).await.ok()
    });
    asked.await.ok().flatten().is_some()
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
