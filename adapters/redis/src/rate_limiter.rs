//! A rate limiter that all replicas share: GCRA in one script, by the clock of Redis.

use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use powerhouse_ports::limits::{Admission, Bucket, Rate, RateLimiter};
use redis::Script;

use crate::Redis;

const MICROS_PER_MINUTE: f64 = 60_000_000.0;

/// The theoretical arrival time is kept, in microseconds; a bucket that is full again expires.
static GCRA: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local time = redis.call('TIME')
        local now = time[1] * 1000000 + time[2]
        local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
        local full = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
        local after = full + interval
        local earliest = after - interval * burst
        if now < earliest then return {0, math.ceil(earliest - now)} end
        redis.call('SET', KEYS[1], string.format('%.3f', after), 'PX', math.ceil((after - now) / 1000) + 1)
        return {1, math.floor((now - earliest) / interval)}",
    )
});

/// In any interval of length τ a bucket admits at most `burst + rate · τ` over all replicas. While Redis is away each
/// replica admits half of that by itself.
pub struct RedisRateLimiter {
    redis: Redis,
    fallback: Arc<dyn RateLimiter>,
}

impl RedisRateLimiter {
    /// A limiter, and the one in the process that stands in for it.
    pub fn new(redis: Redis, fallback: Arc<dyn RateLimiter>) -> Self {
        Self { redis, fallback }
    }
}

#[async_trait]
impl RateLimiter for RedisRateLimiter {
    async fn admit(&self, bucket: Bucket, rate: Rate) -> Admission {
        if rate.burst == 0 || rate.per_minute == 0 {
            return Admission::Refused { retry_after: Duration::from_mins(1) };
        }
        let interval = MICROS_PER_MINUTE / f64::from(rate.per_minute);
        let answer = self.redis.with(async |connection| {
            GCRA.key(key(bucket)).arg(interval).arg(rate.burst).invoke_async::<(u8, u64)>(connection).await
        });
        match answer.await {
            Some((1, remaining)) => {
                decided("redis", "admitted");
                Admission::Admitted { remaining: u32::try_from(remaining).unwrap_or(u32::MAX) }
            }
            Some((_, micros)) => {
                decided("redis", "refused");
                Admission::Refused { retry_after: Duration::from_micros(micros) }
            }
            None => {
                let admission = self.fallback.admit(bucket, stricter(rate)).await;
                let is_admitted = matches!(admission, Admission::Admitted { .. });
                decided("fallback", if is_admitted { "admitted" } else { "refused" });
                admission
            }
        }
    }
}

fn decided(by: &'static str, decision: &'static str) {
    metrics::counter!("powerhouse_redis_rate_limit_decisions_total", "by" => by, "decision" => decision)
        .increment(1);
}

fn stricter(rate: Rate) -> Rate {
    Rate { burst: rate.burst.div_ceil(2), per_minute: rate.per_minute.div_ceil(2) }
}

fn key(bucket: Bucket) -> String {
    match bucket {
        Bucket::Tenant(scope) => format!("t:{{{}}}:rate", scope.tenant_id()),
        Bucket::Address(address) => format!("a:{{{address}}}:rate"),
    }
}
