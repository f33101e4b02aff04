//! Rate limits.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use powerhouse_domain::access::TenantScope;

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
