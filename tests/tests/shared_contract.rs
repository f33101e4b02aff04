//! The contracts of cache, rate limiter, circuit breakers and event bus: in the process, and over replicas that share a Redis.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use powerhouse_memory::{MemoryBreakers, MemoryCache, MemoryEventBus, MemoryRateLimiter, SystemClock};
use powerhouse_ports::cache::Cache;
use powerhouse_ports::events::EventBus;
use powerhouse_ports::limits::{Breakers, RateLimiter};
use powerhouse_tests::contract::{breakers, cache, events, limits};
use powerhouse_tests::{breakers_contract, cache_contract, event_bus_contract, limiter_contract};

const BOUND: Duration = Duration::from_secs(2);
const MAX_BYTES: u64 = 1 << 20;

fn local_limiter() -> Arc<dyn RateLimiter> {
    Arc::new(MemoryRateLimiter::new(Arc::new(SystemClock), 1_000))
}

fn local_breakers() -> Arc<dyn Breakers> {
    Arc::new(MemoryBreakers::new(breakers::SETTINGS))
}

mod in_process {
    use super::*;

    struct InProcess;

    #[async_trait]
    impl cache::Harness for InProcess {
        async fn replicas(&self) -> Vec<Arc<dyn Cache>> {
            vec![Arc::new(MemoryCache::new(MAX_BYTES, BOUND))]
        }

        fn bound(&self) -> Duration {
            BOUND
        }
    }

    #[async_trait]
    impl limits::Harness for InProcess {
        async fn replicas(&self) -> Vec<Arc<dyn RateLimiter>> {
            vec![local_limiter()]
        }
    }

    #[async_trait]
    impl breakers::Harness for InProcess {
        async fn replicas(&self) -> Vec<Arc<dyn Breakers>> {
            vec![local_breakers()]
        }
    }

    #[async_trait]
    impl events::Harness for InProcess {
        async fn replicas(&self) -> Vec<Arc<dyn EventBus>> {
            vec![Arc::new(MemoryEventBus::default())]
        }
    }

    cache_contract!(InProcess);
    limiter_contract!(InProcess);
    breakers_contract!(InProcess);
    event_bus_contract!(InProcess);
}

mod on_redis {
    use powerhouse_redis::{Redis, RedisBreakers, RedisCache, RedisEventBus, RedisRateLimiter};
    use powerhouse_tests::own_redis::OwnRedis;

    use super::*;

    struct OnRedis(OwnRedis);

    impl OnRedis {
        fn new() -> Self {
            Self(OwnRedis::start())
        }

        /// Three processes' connections.
        async fn connected(&self) -> Vec<Redis> {
            let mut all = Vec::new();
            for _ in 0..3 {
                all.push(Redis::new(&self.0.url(), 8).await.expect("Redis answers"));
            }
            all
        }
    }

    fn two_tiers(redis: Redis) -> Arc<dyn Cache> {
        let near = Arc::new(MemoryCache::new(MAX_BYTES, BOUND / 2));
        Arc::new(RedisCache::new(redis, near, BOUND / 2))
    }

    #[async_trait]
    impl cache::Harness for OnRedis {
        async fn replicas(&self) -> Vec<Arc<dyn Cache>> {
            self.connected().await.into_iter().map(two_tiers).collect()
        }

        fn bound(&self) -> Duration {
            BOUND
        }
    }

    #[async_trait]
    impl limits::Harness for OnRedis {
        async fn replicas(&self) -> Vec<Arc<dyn RateLimiter>> {
            let limiter =
                |redis| Arc::new(RedisRateLimiter::new(redis, local_limiter())) as Arc<dyn RateLimiter>;
            self.connected().await.into_iter().map(limiter).collect()
        }
    }

    #[async_trait]
    impl breakers::Harness for OnRedis {
        async fn replicas(&self) -> Vec<Arc<dyn Breakers>> {
            let shared = |redis| {
                let shared = RedisBreakers::new(redis, breakers::SETTINGS, local_breakers());
                Arc::new(shared) as Arc<dyn Breakers>
            };
            self.connected().await.into_iter().map(shared).collect()
        }
    }

    #[async_trait]
    impl events::Harness for OnRedis {
        async fn replicas(&self) -> Vec<Arc<dyn EventBus>> {
            let bus = |redis| {
                let local = Arc::new(MemoryEventBus::default());
                Arc::new(RedisEventBus::new(redis, local)) as Arc<dyn EventBus>
            };
            let all: Vec<_> = self.connected().await.into_iter().map(bus).collect();
            // Until all three listen.
            tokio::time::sleep(Duration::from_millis(200)).await;
            all
        }
    }

    cache_contract!(OnRedis::new());
    limiter_contract!(OnRedis::new());
    breakers_contract!(OnRedis::new());
    event_bus_contract!(OnRedis::new());

    /// While Redis is away, a replica counts for itself; what it counted then is over with the first success after it.
    #[tokio::test(flavor = "multi_thread")]
    async fn without_redis_each_replica_has_breakers_of_its_own() {
        use chrono::Utc;
        use powerhouse_domain::breaker::Phase;
        use powerhouse_ports::limits::{CircuitId, Passage};
        use powerhouse_tests::proxy::{Mode, Proxy};

        let own = OnRedis::new();
        let proxy = Proxy::to(own.0.address()).await.expect("a proxy");
        let through = format!("redis://127.0.0.1:{}", proxy.port());
        let connected = Redis::new(&through, 8).await.expect("Redis answers");
        let cut_off = RedisBreakers::new(connected.clone(), breakers::SETTINGS, local_breakers());
        let others =
            RedisBreakers::new(own.connected().await.remove(0), breakers::SETTINGS, local_breakers());
        let model = CircuitId { provider: None, model: "m".into() };
        proxy.set(Mode::Cut);
        for expected in [Phase::Closed, Phase::Closed, Phase::Open] {
            assert_eq!(cut_off.failed(&model, Utc::now()).await, expected);
        }
        assert!(matches!(cut_off.admit(&model, Utc::now()).await, Passage::Barred { .. }));
        assert_eq!(others.admit(&model, Utc::now()).await, Passage::Clear);
        proxy.set(Mode::Open);
        while !connected.is_up() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(cut_off.admit(&model, Utc::now()).await, Passage::Clear);
    }

    /// Redis goes away between a write and its invalidation, and comes back with the old value: whoever wrote does not
    /// believe it, and everybody else only within the bound.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_change_that_redis_did_not_hear_of_is_not_undone_by_it() {
        use bytes::Bytes;
        use futures::FutureExt as _;
        use powerhouse_ports::cache::CacheKey;
        use powerhouse_tests::contract::sample::scope;
        use powerhouse_tests::proxy::{Mode, Proxy};

        let own = OnRedis::new();
        let proxy = Proxy::to(own.0.address()).await.expect("a proxy");
        let through = format!("redis://127.0.0.1:{}", proxy.port());
        let writer = two_tiers(Redis::new(&through, 8).await.expect("Redis answers"));
        let reader = two_tiers(Redis::new(&own.0.url(), 8).await.expect("Redis answers"));
        let key = CacheKey::new(&scope(1), "thing", 1);
        let gives = |text: &'static str| async move { Ok(Some(Bytes::from_static(text.as_bytes()))) }.boxed();
        reader.get_or_load(&key, gives("old")).await.expect("it loads");
        proxy.set(Mode::Silent);
        let changed = std::time::Instant::now();
        writer.invalidate(&key).await;
        proxy.set(Mode::Cut);
        tokio::time::sleep(Duration::from_millis(50)).await;
        proxy.set(Mode::Open);
        while changed.elapsed() < BOUND {
            let read = cache::read(&*writer, &key, gives("new")).await;
            assert_eq!(read.as_deref(), Some(&b"new"[..]), "after {:?}", changed.elapsed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let read = cache::read(&*reader, &key, gives("new")).await;
        assert_eq!(read.as_deref(), Some(&b"new"[..]));
    }
}
