//! The contract of `RateLimiter`.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use powerhouse_ports::limits::{Admission, Bucket, Rate, RateLimiter};
use tokio::time::sleep;

use super::sample::scope;

/// The adapter under test. Each call gives a limiter whose buckets are full.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The same limiter, as each replica has it.
    async fn replicas(&self) -> Vec<Arc<dyn RateLimiter>>;
}

/// Declares the suite for a harness, an expression that may be evaluated often: one test a promise.
#[macro_export]
macro_rules! limiter_contract {
    ($harness:expr) => {
        $crate::contract_tests!($harness, limits:
            no_more_than_the_burst_is_admitted_at_once, each_bucket_is_its_own, whoever_waits_as_told_is_admitted,
            a_rate_of_nothing_admits_nothing
        );
    };
}

fn is_admitted(admission: Admission) -> bool {
    matches!(admission, Admission::Admitted { .. })
}

/// However many ask, and wherever.
pub async fn no_more_than_the_burst_is_admitted_at_once(harness: &impl Harness) {
    let replicas = harness.replicas().await;
    let rate = Rate { burst: 20, per_minute: 1 };
    let asking = (0..200).map(|number| {
        let limiter = Arc::clone(&replicas[number % replicas.len()]);
        tokio::spawn(async move { limiter.admit(Bucket::Tenant(scope(1)), rate).await })
    });
    let answers = join_all(asking).await.into_iter().map(|answer| answer.expect("no panic"));
    assert_eq!(answers.filter(|answer| is_admitted(*answer)).count(), 20);
}

/// Tenants, and addresses, count apart; what remains is told.
pub async fn each_bucket_is_its_own(harness: &impl Harness) {
    let limiter = &harness.replicas().await[0];
    let rate = Rate { burst: 2, per_minute: 1 };
    let addresses = [Ipv4Addr::LOCALHOST, Ipv4Addr::BROADCAST].map(IpAddr::from).map(Bucket::Address);
    for bucket in [Bucket::Tenant(scope(1)), Bucket::Tenant(scope(2)), addresses[0], addresses[1]] {
        assert_eq!(limiter.admit(bucket, rate).await, Admission::Admitted { remaining: 1 });
        assert_eq!(limiter.admit(bucket, rate).await, Admission::Admitted { remaining: 0 });
        let Admission::Refused { retry_after } = limiter.admit(bucket, rate).await else {
            panic!("a third was admitted");
        };
        assert!((Duration::from_secs(50)..=Duration::from_mins(1)).contains(&retry_after));
    }
}

/// The time that a refusal names is enough.
pub async fn whoever_waits_as_told_is_admitted(harness: &impl Harness) {
    let limiter = &harness.replicas().await[0];
    let rate = Rate { burst: 1, per_minute: 600 };
    assert!(is_admitted(limiter.admit(Bucket::Tenant(scope(1)), rate).await));
    for _ in 0..3 {
        if let Admission::Refused { retry_after } = limiter.admit(Bucket::Tenant(scope(1)), rate).await {
            assert!(retry_after <= Duration::from_millis(100));
            sleep(retry_after).await;
            assert!(is_admitted(limiter.admit(Bucket::Tenant(scope(1)), rate).await));
        }
    }
}

/// Neither a burst nor a rate of nothing lets anybody through.
pub async fn a_rate_of_nothing_admits_nothing(harness: &impl Harness) {
    let limiter = &harness.replicas().await[0];
    for (burst, per_minute) in [(0, 5), (5, 0), (0, 0)] {
        assert!(!is_admitted(limiter.admit(Bucket::Tenant(scope(1)), Rate { burst, per_minute }).await));
    }
}
