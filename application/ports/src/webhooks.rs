//! Telling endpoints outside: one request at a time, and the randomness of their secrets.

use async_trait::async_trait;
use zeroize::Zeroizing;

/// A request to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// Where to.
    pub url: String,
    /// Headers beside those that every request has.
    pub headers: [(&'static str, String); 3],
    /// JSON.
    pub body: String,
}

/// What an endpoint answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The beginning of the body, as text.
    pub excerpt: String,
}

/// Why there is no answer. The text is for the endpoint's owner: it says nothing of what is around the server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// The address may not be reached.
    #[error("{0}")]
    Refused(String),
    /// Nobody answered.
    #[error("{0}")]
    NoAnswer(String),
}

/// Sends requests to addresses that tenants name, and to no other place than the public Internet unless the operator
/// allows it.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait WebhookSender: Send + Sync {
    /// Refuses an address that could never be reached, as far as it tells without asking anybody.
    fn check(&self, url: &str) -> Result<(), PostError>;

    /// Sends one request. Follows no redirect, and takes a bounded time.
    async fn post(&self, post: &Post) -> Result<Answer, PostError>;
}

/// Where secrets come from.
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait SecretSource: Send + Sync {
    /// 256 random bits.
    fn random(&self) -> Zeroizing<[u8; 32]>;
}
