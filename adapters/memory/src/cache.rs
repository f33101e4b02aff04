//! A cache in the process, bounded by the bytes that it holds.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use moka::Expiry;
use moka::sync::Cache as Moka;
use powerhouse_ports::cache::{Cache, CacheKey};

/// What an entry takes beside its key and its value, in bytes; roughly.
const OVERHEAD: usize = 128;

#[derive(Clone)]
struct Entry {
    value: Bytes,
    lifetime: Duration,
}

struct ByEntry;

impl Expiry<CacheKey, Entry> for ByEntry {
    fn expire_after_create(&self, _: &CacheKey, entry: &Entry, _: Instant) -> Option<Duration> {
        Some(entry.lifetime)
    }

    fn expire_after_update(
        &self,
        _: &CacheKey,
        entry: &Entry,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.lifetime)
    }
}

/// A cache that pushes out what is used least when it is full.
pub struct MemoryCache(Moka<CacheKey, Entry>);

impl MemoryCache {
    /// A cache of so many bytes.
    pub fn new(max_bytes: u64) -> Self {
        let weigh = |key: &CacheKey, entry: &Entry| {
            let bytes = key.as_str().len().saturating_add(entry.value.len()).saturating_add(OVERHEAD);
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        Self(Moka::builder().weigher(weigh).max_capacity(max_bytes).expire_after(ByEntry).build())
    }
}

#[async_trait]
impl Cache for MemoryCache {
    async fn get(&self, key: &CacheKey) -> Option<Bytes> {
        self.0.get(key).map(|entry| entry.value)
    }

    async fn put(&self, key: &CacheKey, value: Bytes, lifetime: Duration) {
        self.0.insert(key.clone(), Entry { value, lifetime });
    }

    async fn remove(&self, key: &CacheKey) {
        self.0.invalidate(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scope;

    const LONG: Duration = Duration::from_mins(1);

    fn key(tenant: u128, id: u32) -> CacheKey {
        CacheKey::new(&scope(tenant), "agent", id)
    }

    #[tokio::test]
    async fn a_value_is_its_tenants_and_its_ids_alone() {
        let cache = MemoryCache::new(1 << 20);
        cache.put(&key(1, 7), "a".into(), LONG).await;
        assert_eq!(cache.get(&key(1, 7)).await.as_deref(), Some(&b"a"[..]));
        assert_eq!(cache.get(&key(2, 7)).await, None);
        assert_eq!(cache.get(&key(1, 8)).await, None);
        cache.put(&key(1, 7), "b".into(), LONG).await;
        assert_eq!(cache.get(&key(1, 7)).await.as_deref(), Some(&b"b"[..]));
        cache.remove(&key(1, 7)).await;
        assert_eq!(cache.get(&key(1, 7)).await, None);
    }

    #[tokio::test]
    async fn a_value_expires_by_its_own_lifetime_and_a_new_one_starts_anew() {
        let cache = MemoryCache::new(1 << 20);
        cache.put(&key(1, 1), "short".into(), Duration::from_millis(20)).await;
        cache.put(&key(1, 2), "long".into(), LONG).await;
        cache.put(&key(1, 3), "short".into(), Duration::from_millis(20)).await;
        cache.put(&key(1, 3), "long".into(), LONG).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(cache.get(&key(1, 1)).await, None);
        assert!(cache.get(&key(1, 2)).await.is_some() && cache.get(&key(1, 3)).await.is_some());
    }

    #[tokio::test]
    async fn it_holds_no_more_than_its_bytes() {
        let cache = MemoryCache::new(64 * 1024);
        for id in 0..200 {
            cache.put(&key(1, id), vec![0; 1024].into(), LONG).await;
        }
        cache.0.run_pending_tasks();
        assert!(cache.0.weighted_size() <= 64 * 1024 && cache.0.entry_count() > 20);
    }
}
