//! The contract of `Cache`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::join_all;
use powerhouse_ports::cache::{Cache, CacheKey, Load};
use powerhouse_ports::store::StoreError;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::sample::scope;

/// The adapter under test. Each call gives a cache with nothing in it.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The same cache, as each replica has it.
    async fn replicas(&self) -> Vec<Arc<dyn Cache>>;
    /// How long a replica may give what another has changed.
    fn bound(&self) -> Duration;
}

/// Declares the suite for a harness, an expression that may be evaluated often: one test a promise.
#[macro_export]
macro_rules! cache_contract {
    ($harness:expr) => {
        $crate::contract_tests!($harness, cache:
            a_value_is_loaded_once_and_is_its_tenants_alone, many_who_ask_at_once_cause_one_load,
            what_is_not_there_and_what_fails_is_not_kept, a_load_goes_on_when_its_first_asker_has_gone,
            a_load_that_began_before_a_change_is_not_kept, no_replica_gives_an_old_value_beyond_the_bound,
            whoever_writes_never_reads_older_than_that
        );
    };
}

fn key(id: u32) -> CacheKey {
    CacheKey::new(&scope(1), "thing", id)
}

fn gives(value: &'static str) -> Load {
    async move { Ok(Some(Bytes::from_static(value.as_bytes()))) }.boxed()
}

/// Reads as a use case does: what is at hand first.
pub async fn read(cache: &dyn Cache, key: &CacheKey, load: Load) -> Option<Bytes> {
    match cache.get(key) {
        Some(value) => Some(value),
        None => cache.get_or_load(key, load).await.expect("it loads"),
    }
}

/// The second read is served without the store; another tenant's or id's value is another.
pub async fn a_value_is_loaded_once_and_is_its_tenants_alone(harness: &impl Harness) {
    let cache = &harness.replicas().await[0];
    assert_eq!(read(&**cache, &key(1), gives("a")).await.as_deref(), Some(&b"a"[..]));
    assert_eq!(read(&**cache, &key(1), gives("b")).await.as_deref(), Some(&b"a"[..]));
    assert_eq!(read(&**cache, &key(2), gives("b")).await.as_deref(), Some(&b"b"[..]));
    let elsewhere = CacheKey::new(&scope(2), "thing", 1);
    assert_eq!(read(&**cache, &elsewhere, gives("c")).await.as_deref(), Some(&b"c"[..]));
    cache.invalidate(&key(1)).await;
    assert_eq!(cache.get(&key(1)), None);
    assert_eq!(read(&**cache, &key(1), gives("d")).await.as_deref(), Some(&b"d"[..]));
    assert_eq!(read(&**cache, &elsewhere, gives("e")).await.as_deref(), Some(&b"c"[..]));
}

/// Single flight.
pub async fn many_who_ask_at_once_cause_one_load(harness: &impl Harness) {
    let cache = &harness.replicas().await[0];
    let (key, loads) = (key(1), Arc::new(AtomicUsize::new(0)));
    let asking = (0..100).map(|_| {
        let loads = Arc::clone(&loads);
        let load = async move {
            loads.fetch_add(1, Ordering::SeqCst);
            sleep(Duration::from_millis(50)).await;
            Ok(Some(Bytes::from_static(b"a")))
        };
        cache.get_or_load(&key, load.boxed())
    });
    for answer in join_all(asking).await {
        assert_eq!(answer.expect("it loads").as_deref(), Some(&b"a"[..]));
    }
    assert_eq!(loads.load(Ordering::SeqCst), 1);
}

/// Everybody who waits sees the failure, and the next who asks tries again.
pub async fn what_is_not_there_and_what_fails_is_not_kept(harness: &impl Harness) {
    let cache = &harness.replicas().await[0];
    let fails = || async { Err(StoreError::Unavailable("away".into())) }.boxed();
    let failed = cache.get_or_load(&key(1), fails()).await;
    assert!(matches!(failed, Err(StoreError::Unavailable(_))));
    assert_eq!(cache.get_or_load(&key(1), async { Ok(None) }.boxed()).await.expect("it loads"), None);
    assert_eq!(read(&**cache, &key(1), gives("a")).await.as_deref(), Some(&b"a"[..]));
}

/// A request that is cancelled takes nobody else's answer away.
pub async fn a_load_goes_on_when_its_first_asker_has_gone(harness: &impl Harness) {
    let cache = Arc::clone(&harness.replicas().await[0]);
    let (go, wait) = oneshot::channel::<()>();
    let load = async move {
        let _ = wait.await;
        Ok(Some(Bytes::from_static(b"a")))
    };
    let (first, key) = (Arc::clone(&cache), key(1));
    let asked = tokio::spawn({
        let key = key.clone();
        async move { first.get_or_load(&key, load.boxed()).await }
    });
    sleep(Duration::from_millis(30)).await;
    let second = tokio::spawn({
        let (cache, key) = (Arc::clone(&cache), key.clone());
        async move { cache.get_or_load(&key, gives("b")).await }
    });
    sleep(Duration::from_millis(30)).await;
    asked.abort();
    go.send(()).expect("the load goes on");
    let answer = second.await.expect("no panic").expect("it loads");
    assert_eq!(answer.as_deref(), Some(&b"a"[..]));
}

/// The race that leaves old values in caches: read, change, invalidate, and only then put what was read.
pub async fn a_load_that_began_before_a_change_is_not_kept(harness: &impl Harness) {
    let replicas = harness.replicas().await;
    let (go, wait) = oneshot::channel::<()>();
    let load = async move {
        let _ = wait.await;
        Ok(Some(Bytes::from_static(b"old")))
    };
    let slow = Arc::clone(replicas.last().expect("one"));
    let reading = tokio::spawn(async move { slow.get_or_load(&key(1), load.boxed()).await });
    sleep(Duration::from_millis(50)).await;
    replicas[0].invalidate(&key(1)).await;
    assert_eq!(read(&*replicas[0], &key(1), gives("new")).await.as_deref(), Some(&b"new"[..]));
    replicas[0].invalidate(&key(1)).await;
    go.send(()).expect("the load goes on");
    reading.await.expect("no panic").expect("it loads");
    assert_eq!(read(&*replicas[0], &key(1), gives("newer")).await.as_deref(), Some(&b"newer"[..]));
}

/// What one replica changes, the others give no longer than the bound.
pub async fn no_replica_gives_an_old_value_beyond_the_bound(harness: &impl Harness) {
    let replicas = harness.replicas().await;
    for replica in &replicas {
        assert_eq!(read(&**replica, &key(1), gives("old")).await.as_deref(), Some(&b"old"[..]));
    }
    replicas[0].invalidate(&key(1)).await;
    let changed = Instant::now();
    assert_eq!(read(&*replicas[0], &key(1), gives("new")).await.as_deref(), Some(&b"new"[..]));
    for replica in &replicas {
        while read(&**replica, &key(1), gives("new")).await.as_deref() != Some(&b"new"[..]) {
            assert!(changed.elapsed() <= harness.bound(), "an old value after {:?}", changed.elapsed());
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Writers and readers at once on every replica: after its own write, no replica ever reads an older value, and what it
/// reads of others' writes is within the bound.
pub async fn whoever_writes_never_reads_older_than_that(harness: &impl Harness) {
    let replicas = harness.replicas().await;
    let stored = Arc::new(AtomicUsize::new(0));
    let load = |stored: &Arc<AtomicUsize>| {
        let stored = Arc::clone(stored);
        async move {
            let value = stored.load(Ordering::SeqCst).to_string();
            tokio::task::yield_now().await;
            Ok(Some(Bytes::from(value)))
        }
        .boxed()
    };
    let working = (0..replicas.len() * 4).map(|number| {
        let (cache, stored) = (Arc::clone(&replicas[number % replicas.len()]), Arc::clone(&stored));
        tokio::spawn(async move {
            for turn in 0..200 {
                let written = (turn % 5 == number % 5).then(|| stored.fetch_add(1, Ordering::SeqCst) + 1);
                if written.is_some() {
                    cache.invalidate(&key(1)).await;
                }
                let value = read(&*cache, &key(1), load(&stored)).await.expect("a value");
                let value: usize = std::str::from_utf8(&value).expect("text").parse().expect("a number");
                assert!(written.is_none_or(|written| value >= written), "{value} after {written:?}");
            }
        })
    });
    for worker in join_all(working).await {
        worker.expect("no worker read an old value");
    }
}
