//! Rate limits, and who is left alone for a while.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use powerhouse_domain::access::TenantScope;
use powerhouse_domain::breaker::Phase;
use powerhouse_domain::ids::ModelProviderId;

/// Whose allowance a request counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// Everything that a tenant's users ask for.
    Tenant(TenantScope),
    /// What comes from an address before anybody has signed in.
    Address(IpAddr),
}

/// A token bucket: `burst` at once, then `per_minute` evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many the bucket holds.
    pub burst: u32,
    /// How many flow in each minute.
    pub per_minute: u32,
}

/// A limiter's decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Go on.
    Admitted {
        /// How many more would be admitted at once.
        remaining: u32,
    },
    /// Too many.
    Refused {
        /// When to try again.
        retry_after: Duration,
    },
}

/// A rate limiter. It answers always: an adapter whose backend is away falls back to a stricter local bound.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait RateLimiter: Send + Sync {
    /// Takes one from a bucket. A bucket is always asked with the same rate, but for a change of plan.
    async fn admit(&self, bucket: Bucket, rate: Rate) -> Admission;
}

/// What has a circuit breaker of its own: a model, as its provider serves it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CircuitId {
    /// The provider; the platform's when none.
    pub provider: Option<ModelProviderId>,
    /// The model's name.
    pub model: String,
}

/// Whether a call goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It does, and nothing has failed lately: that it went well is not worth a word.
    Clear,
    /// It does, and what becomes of it counts.
    Watched {
        /// Whether it is the one that tries.
        is_try: bool,
    },
    /// It does not.
    Barred {
        /// For how long none will.
        left: Duration,
    },
}

/// Circuit breakers, one for each circuit. They answer always: an adapter whose backend is away falls back to those of the
/// process.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Breakers: Send + Sync {
    /// Lets a call through, or says for how long none will be. `now` is for breakers without a clock of their own.
    async fn admit(&self, circuit: &CircuitId, now: DateTime<Utc>) -> Passage;

    /// A call went well: it is closed.
    async fn succeeded(&self, circuit: &CircuitId);

    /// A call failed. Where the breaker is then.
    async fn failed(&self, circuit: &CircuitId, now: DateTime<Utc>) -> Phase;
}
