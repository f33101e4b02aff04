//! A cache. What is in it may be gone at any time; the store is the truth.

use std::borrow::Borrow;
use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use powerhouse_domain::access::TenantScope;

use crate::store::StoreError;

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

impl Borrow<str> for CacheKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Reads a value from the store. What is not there is not kept.
pub type Load = BoxFuture<'static, Result<Option<Bytes>, StoreError>>;

/// A cache. What cannot be reached is not there; only a load can fail.
///
/// After `invalidate` returns, the cache that was told gives no value whose load began before. Other replicas give
/// one no longer than the bound that the cache was made with, counted from the beginning of its load.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Cache: Send + Sync {
    /// A value that is at hand in this process.
    fn get(&self, key: &CacheKey) -> Option<Bytes>;

    /// A value from wherever it is nearest, in the end from the store. Many who ask at the same time cause one load,
    /// and all see its failure.
    async fn get_or_load(&self, key: &CacheKey, load: Load) -> Result<Option<Bytes>, StoreError>;

    /// The value has changed in the store.
    async fn invalidate(&self, key: &CacheKey);
}

/// A cache in the process that stands before one further away.
pub trait NearCache: Cache {
    /// Another replica says that a value has changed. Forgetting shows nobody anything, so the text of a key will do.
    fn forget(&self, key: &str);
}
