//! A cache. What is in it may be gone at any time; the store is the truth.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use powerhouse_domain::access::TenantScope;

/// Where a value is. Made from a tenant's scope only, so that no tenant can be handed another's (ADR 0002).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey(String);

impl CacheKey {
    /// The key of something of a tenant: what kind of thing, and which one.
    pub fn new(scope: &TenantScope, kind: &'static str, id: impl fmt::Display) -> Self {
        // The braces keep a tenant's keys on one node of a Redis Cluster.
        Self(format!("t:{{{}}}:{kind}:{id}", scope.tenant_id()))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A cache. It never fails: what cannot be reached is not there.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Cache: Send + Sync {
    /// A value that was put there, and has neither expired nor been pushed out.
    async fn get(&self, key: &CacheKey) -> Option<Bytes>;

    /// Puts a value there for so long at most. It replaces the one before.
    async fn put(&self, key: &CacheKey, value: Bytes, lifetime: Duration);

    /// Takes a value away.
    async fn remove(&self, key: &CacheKey);
}
