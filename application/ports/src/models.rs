//! Language models.

use std::time::Duration;

use async_trait::async_trait;
use powerhouse_domain::idempotency::CallKey;
use powerhouse_domain::model::{ModelReply, ModelRequest};

/// Why a model gave no reply.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Overloaded, rate limited or unreachable; trying again may help.
    #[error("the model is unavailable")]
    Unavailable {
        /// How long the provider asks to wait.
        retry_after: Option<Duration>,
        /// What happened, for the log.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The provider refuses this request, and will again.
    #[error("the model refuses the request")]
    Rejected(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What came back is no reply.
    #[error("the model's reply is malformed")]
    Malformed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Takes the text of a reply while it is generated.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait DeltaSink: Send {
    /// The next piece of text. Waits while the reader is slow, so that memory stays bounded.
    async fn push(&mut self, text: &str);
}

/// A provider of models. Dropping the future closes the connection.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait ModelProvider: Send + Sync {
    /// Asks a model, streaming its text to `deltas`; the reply repeats that text whole. `key` is that of the call, the same
    /// when it is made again: it is sent along, for providers that heed it.
    async fn complete(
        &self,
        key: &CallKey,
        model: &str,
        request: &ModelRequest,
        deltas: Box<dyn DeltaSink>,
    ) -> Result<ModelReply, ModelError>;
}
