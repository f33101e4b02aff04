//! A cache in the process, bounded by the bytes that it holds. Many who miss the same value cause one load.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use moka::Expiry;
use moka::sync::Cache as Moka;
use powerhouse_ports::cache::{Cache, CacheKey, Load, NearCache};
use powerhouse_ports::store::StoreError;

/// What an entry takes beside its key and its value, in bytes; roughly.
const OVERHEAD: usize = 128;
/// By how much lifetimes differ, so that what was loaded together does not expire together: up to a fifth.
const JITTER: u32 = 5;

/// What a load gave, to everybody who waits for it.
type Loaded = Result<Option<Bytes>, Arc<StoreError>>;
type Flight = Shared<BoxFuture<'static, Loaded>>;

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
pub struct MemoryCache(Arc<Inner>);

struct Inner {
    kept: Moka<CacheKey, Entry>,
    flights: Mutex<Flights>,
    bound: Duration,
    jitter: RandomState,
}

/// The loads that are going on. One that was invalidated is no longer among them, and what it gives is not kept.
#[derive(Default)]
struct Flights {
    last: u64,
    open: HashMap<CacheKey, (u64, WeakShared<BoxFuture<'static, Loaded>>)>,
}

impl MemoryCache {
    /// A cache of so many bytes, whose values were read no longer than `bound` ago.
    pub fn new(max_bytes: u64, bound: Duration) -> Self {
        let weigh = |key: &CacheKey, entry: &Entry| {
            let bytes = key.as_str().len().saturating_add(entry.value.len()).saturating_add(OVERHEAD);
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let kept = Moka::builder().weigher(weigh).max_capacity(max_bytes).expire_after(ByEntry).build();
        Self(Arc::new(Inner { kept, flights: Mutex::default(), bound, jitter: RandomState::new() }))
    }

    /// Measures how much is kept now; roughly, since what has expired goes a little later.
    pub fn observe(&self) {
        let entries = u32::try_from(self.0.kept.entry_count()).unwrap_or(u32::MAX);
        metrics::gauge!("powerhouse_cache_near_entries").set(entries);
    }
}

#[async_trait]
impl Cache for MemoryCache {
    fn get(&self, key: &CacheKey) -> Option<Bytes> {
        let found = self.0.kept.get(key)?;
        hit();
        Some(found.value)
    }

    async fn get_or_load(&self, key: &CacheKey, load: Load) -> Result<Option<Bytes>, StoreError> {
        let flight = match Inner::join(&self.0, key, load) {
            Ok(kept) => {
                hit();
                return Ok(Some(kept));
            }
            Err(flight) => flight,
        };
        flight.await.map_err(|error| match *error {
            StoreError::Unavailable(_) => StoreError::Unavailable(error.into()),
            _ => StoreError::Internal(error.into()),
        })
    }

    async fn invalidate(&self, key: &CacheKey) {
        metrics::counter!("powerhouse_cache_invalidations_total").increment(1);
        self.forget(key.as_str());
    }
}

fn hit() {
    metrics::counter!("powerhouse_cache_hits_total", "tier" => "near").increment(1);
}

impl NearCache for MemoryCache {
    fn forget(&self, key: &str) {
        let mut flights = self.0.flights();
        flights.open.remove(key);
        self.0.kept.invalidate(key);
    }
}

impl Inner {
    fn flights(&self) -> MutexGuard<'_, Flights> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value if it has come meanwhile, else the load that is going on, else this one.
    fn join(inner: &Arc<Self>, key: &CacheKey, load: Load) -> Result<Bytes, Flight> {
        let mut flights = inner.flights();
        if let Some(entry) = inner.kept.get(key) {
            return Ok(entry.value);
        }
        if let Some(flight) = flights.open.get(key).and_then(|(_, flight)| flight.upgrade()) {
            return Err(flight);
        }
        flights.last += 1;
        let number = flights.last;
        let open = Open { inner: Arc::clone(inner), key: key.clone(), number, begun: Instant::now() };
        let flight = async move {
            let loaded = load.await.map_err(Arc::new);
            if let Ok(Some(value)) = &loaded {
                open.land(value);
            }
            loaded
        };
        let flight = flight.boxed().shared();
        if let Some(weak) = flight.downgrade() {
            flights.open.insert(key.clone(), (number, weak));
        }
        Err(flight)
    }

    fn lifetime(&self, number: u64) -> Duration {
        let [low, high, ..] = self.jitter.hash_one(number).to_ne_bytes();
        let share = u32::from(u16::from_ne_bytes([low, high]));
        self.bound.saturating_sub(self.bound / JITTER * share / (1 << u16::BITS))
    }
}

/// A load that is going on. Whoever drops the last handle on it ends it.
struct Open {
    inner: Arc<Inner>,
    key: CacheKey,
    number: u64,
    begun: Instant,
}

impl Open {
    /// Keeps the value, unless it has been invalidated meanwhile. It is as old as the beginning of its load.
    fn land(&self, value: &Bytes) {
        let flights = self.inner.flights();
        let is_open = flights.open.get(&self.key).is_some_and(|(number, _)| *number == self.number);
        let left = self.inner.lifetime(self.number).checked_sub(self.begun.elapsed());
        if let (true, Some(lifetime)) = (is_open, left) {
            self.inner.kept.insert(self.key.clone(), Entry { value: value.clone(), lifetime });
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut flights = self.inner.flights();
        if flights.open.get(&self.key).is_some_and(|(number, _)| *number == self.number) {
            flights.open.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scope;

    #[tokio::test]
    async fn it_holds_no_more_than_its_bytes() {
        let cache = MemoryCache::new(64 * 1024, Duration::from_mins(1));
        for id in 0..200 {
            let key = CacheKey::new(&scope(1), "agent", id);
            let load = async { Ok(Some(Bytes::from(vec![0; 1024]))) }.boxed();
            cache.get_or_load(&key, load).await.unwrap();
        }
        cache.0.kept.run_pending_tasks();
        assert!(cache.0.kept.weighted_size() <= 64 * 1024 && cache.0.kept.entry_count() > 20);
        assert!(cache.0.flights().open.is_empty(), "a load that is over is forgotten");
    }

    #[tokio::test]
    async fn lifetimes_differ_and_none_passes_the_bound() {
        let bound = Duration::from_secs(5);
        let cache = MemoryCache::new(1, bound);
        let lifetimes: Vec<_> = (0..1_000).map(|number| cache.0.lifetime(number)).collect();
        assert!(lifetimes.iter().all(|lifetime| (bound * 4 / 5..=bound).contains(lifetime)));
        let distinct: std::collections::BTreeSet<_> = lifetimes.iter().collect();
        assert!(distinct.len() > 300);
    }
}
