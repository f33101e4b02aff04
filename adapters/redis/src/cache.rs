//! A cache of two tiers: the process first, then Redis, which all replicas share.

use std::pin::pin;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use powerhouse_ports::cache::{Cache, CacheKey, Load, NearCache};
use powerhouse_ports::store::StoreError;
use redis::{Script, cmd, pipe};
use tokio_util::task::AbortOnDropHandle;

use crate::Redis;
use crate::listener::messages;

const CHANNEL: &str = "powerhouse:cache";
/// How long it is remembered that a value changed: longer than any load that may still put the old one.
const REMEMBERED: Duration = Duration::from_mins(1);

/// Puts a value unless it was invalidated since its load began.
static PUT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if (redis.call('GET', KEYS[2]) or '') ~= ARGV[1] then return 0 end
        redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
        return 1",
    )
});

/// A cache over all replicas. Each tier keeps a value for half of the bound at most, so that together they keep it for
/// the bound, even when Redis fails between a write and its invalidation.
pub struct RedisCache {
    near: Arc<dyn NearCache>,
    far: Far,
    _listening: AbortOnDropHandle<()>,
}

impl RedisCache {
    /// A cache, and the one in the process before it; `lifetime` is how long Redis keeps a value. Needs a tokio runtime.
    pub fn new(redis: Redis, near: Arc<dyn NearCache>, lifetime: Duration) -> Self {
        let (told, client) = (Arc::clone(&near), redis.client().clone());
        let listening = AbortOnDropHandle::new(tokio::spawn(async move {
            let mut changed = pin!(messages(client, CHANNEL));
            while let Some(key) = changed.next().await {
                told.forget(&key);
            }
        }));
        Self { near, far: Far { redis, lifetime, distrusted_until: Arc::default() }, _listening: listening }
    }
}

#[async_trait]
impl Cache for RedisCache {
    fn get(&self, key: &CacheKey) -> Option<Bytes> {
        self.near.get(key)
    }

    async fn get_or_load(&self, key: &CacheKey, load: Load) -> Result<Option<Bytes>, StoreError> {
        let (far, wanted) = (self.far.clone(), key.clone());
        self.near.get_or_load(key, async move { far.get_or_load(&wanted, load).await }.boxed()).await
    }

    async fn invalidate(&self, key: &CacheKey) {
        // Redis first: what is read from it meanwhile is forgotten here afterwards.
        self.far.invalidate(key).await;
        self.near.invalidate(key).await;
    }
}

/// The tier in Redis.
#[derive(Clone)]
struct Far {
    redis: Redis,
    lifetime: Duration,
    /// Redis was not told of a change that was made here; what it had then is gone by this time.
    distrusted_until: Arc<Mutex<Option<Instant>>>,
}

impl Far {
    async fn get_or_load(&self, key: &CacheKey, load: Load) -> Result<Option<Bytes>, StoreError> {
        let begun = Instant::now();
        let version = match self.look(key).await {
            Some((Some(value), _)) => {
                metrics::counter!("powerhouse_cache_hits_total", "tier" => "redis").increment(1);
                return Ok(Some(value.into()));
            }
            Some((None, version)) => version.unwrap_or_default(),
            None => return load.await,
        };
        let loaded = load.await?;
        if let Some(value) = &loaded
            && let Some(left) = self.lifetime.checked_sub(begun.elapsed())
        {
            self.put(key, &version, value, left).await;
        }
        Ok(loaded)
    }

    /// The value, and how often it has changed lately.
    async fn look(&self, key: &CacheKey) -> Option<(Option<Vec<u8>>, Option<Vec<u8>>)> {
        let distrusted = *self.distrusted_until.lock().unwrap_or_else(PoisonError::into_inner);
        if distrusted.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let get = async |connection: &mut _| {
            cmd("MGET").arg(key.as_str()).arg(version_key(key)).query_async(connection).await
        };
        self.redis.with(get).await
    }

    async fn put(&self, key: &CacheKey, version: &[u8], value: &Bytes, left: Duration) {
        let milliseconds = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1);
        let put = async |connection: &mut _| {
            let mut script = PUT.key(key.as_str());
            script.key(version_key(key)).arg(version).arg(&**value).arg(milliseconds);
            script.invoke_async::<u8>(connection).await
        };
        self.redis.with(put).await;
    }

    async fn invalidate(&self, key: &CacheKey) {
        let version = version_key(key);
        let mut changed = pipe();
        changed.atomic().incr(&version, 1).ignore();
        changed.pexpire(&version, i64::try_from(REMEMBERED.as_millis()).unwrap_or(i64::MAX)).ignore();
        changed.del(key.as_str()).ignore().publish(CHANNEL, key.as_str()).ignore();
        let told = self.redis.with(async |connection| changed.query_async::<()>(connection).await).await;
        if told.is_none() {
            let until = Instant::now() + self.lifetime;
            *self.distrusted_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
        }
    }
}

fn version_key(key: &CacheKey) -> String {
    format!("{}:v", key.as_str())
}
