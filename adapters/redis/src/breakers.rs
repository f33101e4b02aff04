//! Circuit breakers that all replicas share, by the clock of Redis.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use powerhouse_domain::breaker::{BreakerSettings, Phase};
use powerhouse_ports::limits::{Breakers, CircuitId, Passage};
use redis::{Script, ScriptInvocation, cmd};

use crate::Redis;

/// For how long after its cool-down a breaker stays open when nobody tries.
const REMEMBERED: Duration = Duration::from_hours(1);

const NOW: &str = "local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000) ";

/// `KEYS[1]` is `o` or `h`, for open and half-open, and until when, in milliseconds; nothing while it is closed. `KEYS[2]` has the
/// times of the failures since the last success, the first of them first, while it is closed.
fn script(code: &str) -> Script {
    Script::new(&format!("{NOW}{code}"))
}

/// How a call goes through (0 clear, 1 watched, 2 as the one that tries, 3 not at all), and for how long none does.
static ADMIT: LazyLock<Script> = LazyLock::new(|| {
    script(
        "local state = redis.call('GET', KEYS[1])
        if not state then
            local last = tonumber(redis.call('LINDEX', KEYS[2], -1))
            if last and now - last < tonumber(ARGV[2]) then return {1, 0} end
            return {0, 0}
        end
        local left = tonumber(string.sub(state, 2)) - now
        if left > 0 then return {3, left} end
        redis.call('SET', KEYS[1], 'h' .. string.format('%.0f', now + ARGV[3]), 'PX', ARGV[4])
        return {2, 0}",
    )
});

/// Whether it is open then.
static FAIL: LazyLock<Script> = LazyLock::new(|| {
    script(
        "local most, window = tonumber(ARGV[1]), tonumber(ARGV[2])
        local state = redis.call('GET', KEYS[1])
        if state and string.sub(state, 1, 1) == 'o' then return 1 end
        if not state then
            if most == 0 then return 0 end
            redis.call('RPUSH', KEYS[2], string.format('%.0f', now))
            while now - redis.call('LINDEX', KEYS[2], 0) >= window do redis.call('LPOP', KEYS[2]) end
            redis.call('PEXPIRE', KEYS[2], window)
            if redis.call('LLEN', KEYS[2]) < most then return 0 end
        end
        redis.call('DEL', KEYS[2])
        redis.call('SET', KEYS[1], 'o' .. string.format('%.0f', now + ARGV[3]), 'PX', ARGV[4])
        return 1",
    )
});

/// What failed at one replica counts at all, and after the cool-down one call tries for all. While Redis is away each replica
/// counts for itself.
pub struct RedisBreakers {
    redis: Redis,
    settings: BreakerSettings,
    fallback: Arc<dyn Breakers>,
}

impl RedisBreakers {
    /// Breakers with these settings, and those in the process that stand in for them.
    pub fn new(redis: Redis, settings: BreakerSettings, fallback: Arc<dyn Breakers>) -> Self {
        Self { redis, settings, fallback }
    }

    fn call<'a>(&self, script: &'a Script, circuit: &CircuitId) -> ScriptInvocation<'a> {
        let BreakerSettings { failures, window, cool_down } = self.settings;
        let [state, failed] = keys(circuit);
        let mut call = script.key(state);
        call.key(failed).arg(failures).arg(millis(window)).arg(millis(cool_down));
        call.arg(
            millis(cool_down).saturating_add(millis(TimeDelta::from_std(REMEMBERED).unwrap_or_default())),
        );
        call
    }
}

#[async_trait]
impl Breakers for RedisBreakers {
    async fn admit(&self, circuit: &CircuitId, now: DateTime<Utc>) -> Passage {
        let call = self.call(&ADMIT, circuit);
        let asked = self.redis.with(async |connection| call.invoke_async::<(u8, u64)>(connection).await);
        match asked.await {
            Some((0, _)) => Passage::Clear,
            Some((1, _)) => Passage::Watched { is_try: false },
            Some((2, _)) => Passage::Watched { is_try: true },
            Some((_, left)) => Passage::Barred { left: Duration::from_millis(left) },
            None => self.fallback.admit(circuit, now).await,
        }
    }

    async fn succeeded(&self, circuit: &CircuitId) {
        let keys = keys(circuit);
        let closed = async |connection: &mut _| cmd("DEL").arg(&keys).query_async::<()>(connection).await;
        self.redis.with(closed).await;
        self.fallback.succeeded(circuit).await;
    }

    async fn failed(&self, circuit: &CircuitId, now: DateTime<Utc>) -> Phase {
        let call = self.call(&FAIL, circuit);
        match self.redis.with(async |connection| call.invoke_async::<u8>(connection).await).await {
            Some(0) => Phase::Closed,
            Some(_) => Phase::Open,
            None => self.fallback.failed(circuit, now).await,
        }
    }
}

fn millis(time: TimeDelta) -> i64 {
    time.num_milliseconds().max(1)
}

/// What is known of a circuit. The braces keep both on one node of a Redis Cluster.
fn keys(circuit: &CircuitId) -> [String; 2] {
    let provider = circuit.provider.map_or_else(|| "platform".to_owned(), |provider| provider.to_string());
    ["state", "failed"].map(|what| format!("c:{{{provider}}}:{what}:{}", circuit.model))
}
