//! A rate limiter by GCRA, the generic cell rate algorithm (ITU-T I.371): one instant per bucket.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use powerhouse_ports::clock::Clock;
use powerhouse_ports::limits::{Admission, Bucket, Rate, RateLimiter};

const NANOS_PER_MINUTE: i128 = 60_000_000_000;

/// Nanoseconds since the Unix epoch.
type Instant = i128;

/// In any interval of length τ a bucket admits at most `burst + rate · τ`.
pub struct MemoryRateLimiter {
    clock: Arc<dyn Clock>,
    max_buckets: usize,
    /// When each bucket will be full again: the theoretical arrival time.
    full_at: Mutex<HashMap<Bucket, Instant>>,
}

impl MemoryRateLimiter {
    /// A limiter with at most `max_buckets` buckets that are not full. Beyond, unknown buckets are refused: to
    /// forget one would admit more than its bound.
    pub fn new(clock: Arc<dyn Clock>, max_buckets: usize) -> Self {
        Self { clock, max_buckets, full_at: Mutex::default() }
    }
}

#[async_trait]
impl RateLimiter for MemoryRateLimiter {
    async fn admit(&self, bucket: Bucket, rate: Rate) -> Admission {
        let now = nanos(self.clock.now());
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.len() >= self.max_buckets && !full_at.contains_key(&bucket) {
            full_at.retain(|_, instant| *instant > now);
            if full_at.len() >= self.max_buckets {
                return Admission::Refused { retry_after: Duration::from_secs(1) };
            }
        }
        let full = full_at.entry(bucket).or_insert(now);
        let (next, admission) = decide(*full, now, rate);
        *full = next;
        admission
    }
}

/// GCRA: when the bucket will be full, and whether one more goes in now.
fn decide(full_at: Instant, now: Instant, rate: Rate) -> (Instant, Admission) {
    if rate.burst == 0 || rate.per_minute == 0 {
        return (full_at, Admission::Refused { retry_after: Duration::from_mins(1) });
    }
    let interval = (NANOS_PER_MINUTE / i128::from(rate.per_minute)).max(1);
    let after = full_at.max(now) + interval;
    let earliest = after - interval * i128::from(rate.burst);
    if now < earliest {
        let wait = u64::try_from(earliest - now).unwrap_or(u64::MAX);
        return (full_at, Admission::Refused { retry_after: Duration::from_nanos(wait) });
    }
    let remaining = u32::try_from((now - earliest) / interval).unwrap_or(u32::MAX);
    (after, Admission::Admitted { remaining })
}

fn nanos(at: DateTime<Utc>) -> Instant {
    i128::from(at.timestamp()) * 1_000_000_000 + i128::from(at.timestamp_subsec_nanos())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::testing::scope;
    use powerhouse_ports::clock::MockClock;
    use proptest::prelude::*;

    const SECOND: i128 = 1_000_000_000;

    fn still_clock() -> Arc<dyn Clock> {
        let mut clock = MockClock::new();
        clock.expect_now().return_const(DateTime::<Utc>::UNIX_EPOCH);
        Arc::new(clock)
    }

    fn is_admitted(admission: Admission) -> bool {
        matches!(admission, Admission::Admitted { .. })
    }

    proptest! {
        #[test]
        fn no_interval_admits_more_than_burst_plus_rate_times_time(
            burst in 1_u32..20, per_minute in 1_u32..600, gaps in prop::collection::vec(0_i128..2 * SECOND, 1..200),
        ) {
            let rate = Rate { burst, per_minute };
            let (mut now, mut full_at, mut admitted) = (0, 0, Vec::new());
            for gap in gaps {
                now += gap;
                let (next, admission) = decide(full_at, now, rate);
                full_at = next;
                if is_admitted(admission) {
                    admitted.push(now);
                }
            }
            let interval = NANOS_PER_MINUTE / i128::from(per_minute);
            for (first, from) in admitted.iter().enumerate() {
                for (count, to) in (1_i128..).zip(&admitted[first..]) {
                    prop_assert!(count <= i128::from(burst) + (to - from) / interval);
                }
            }
        }

        #[test]
        fn whoever_waits_as_told_is_admitted(burst in 1_u32..20, per_minute in 1_u32..600) {
            let rate = Rate { burst, per_minute };
            let (mut full_at, now) = (0, 0);
            let retry_after = loop {
                match decide(full_at, now, rate) {
                    (next, Admission::Admitted { .. }) => full_at = next,
                    (_, Admission::Refused { retry_after }) => break retry_after,
                }
            };
            let later = now + i128::try_from(retry_after.as_nanos()).unwrap();
            prop_assert!(is_admitted(decide(full_at, later, rate).1));
            prop_assert!(!is_admitted(decide(full_at, later - 1, rate).1));
        }
    }

    #[tokio::test]
    async fn tenants_and_addresses_have_buckets_of_their_own_and_remaining_counts_down() {
        let limiter = MemoryRateLimiter::new(still_clock(), 10);
        let rate = Rate { burst: 2, per_minute: 1 };
        assert_eq!(limiter.admit(Bucket::Tenant(scope(1)), rate).await, Admission::Admitted { remaining: 1 });
        assert_eq!(limiter.admit(Bucket::Tenant(scope(1)), rate).await, Admission::Admitted { remaining: 0 });
        let minute = Admission::Refused { retry_after: Duration::from_mins(1) };
        assert_eq!(limiter.admit(Bucket::Tenant(scope(1)), rate).await, minute);
        assert!(is_admitted(limiter.admit(Bucket::Tenant(scope(2)), rate).await));
        assert!(is_admitted(limiter.admit(Bucket::Address(Ipv4Addr::LOCALHOST.into()), rate).await));
    }

    #[tokio::test]
    async fn a_full_table_refuses_newcomers_and_keeps_its_bounds() {
        let limiter = MemoryRateLimiter::new(still_clock(), 1);
        let rate = Rate { burst: 2, per_minute: 60 };
        assert!(is_admitted(limiter.admit(Bucket::Tenant(scope(1)), rate).await));
        assert!(!is_admitted(limiter.admit(Bucket::Tenant(scope(2)), rate).await));
        assert!(is_admitted(limiter.admit(Bucket::Tenant(scope(1)), rate).await));
    }

    #[tokio::test]
    async fn a_rate_of_nothing_admits_nothing() {
        let limiter = MemoryRateLimiter::new(still_clock(), 1);
        assert!(!is_admitted(
            limiter.admit(Bucket::Tenant(scope(1)), Rate { burst: 0, per_minute: 5 }).await
        ));
        assert!(!is_admitted(
            limiter.admit(Bucket::Tenant(scope(1)), Rate { burst: 5, per_minute: 0 }).await
        ));
    }
}
