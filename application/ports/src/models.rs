//! Language models.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use powerhouse_domain::catalogue::ProviderSettings;
use powerhouse_domain::effects::FailureClass;
use powerhouse_domain::idempotency::CallKey;
use powerhouse_domain::model::{ModelReply, ModelRequest};
use zeroize::Zeroizing;

use crate::secrets::SecretUnreadable;

/// Why a model gave no reply.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Overloaded, rate limited or unreachable; trying again may help.
    #[error("the model's provider is overloaded or cannot be reached: {}", again(*retry_after))]
    Unavailable {
        /// How long the provider asks to wait.
        retry_after: Option<Duration>,
        /// What happened, for the log.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no key to send.
    #[error("the model's provider was not asked: {0}")]
    NoKey(#[source] SecretUnreadable),
    /// The provider does not take the key.
    #[error("the model's provider does not accept the key: set one that is valid there")]
    KeyRefused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The provider has no such model, or no such API at its address.
    #[error(
        "the model's provider does not know the model: name one that it has, and check the provider's URL"
    )]
    UnknownModel(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The provider refuses this request, and will again.
    #[error("the model's provider refuses the request, and would again: its reason is in the server's log")]
    Rejected(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What came back is no reply.
    #[error("what the model's provider sent is no reply: check that its URL and its kind of API are right")]
    Malformed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ModelError {
    /// What a run makes of it.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Unavailable { .. }
            | Self::Malformed(_)
            | Self::NoKey(SecretUnreadable::Unavailable { .. }) => FailureClass::Unavailable,
            Self::NoKey(SecretUnreadable::Missing(_))
            | Self::KeyRefused(_)
            | Self::UnknownModel(_)
            | Self::Rejected(_) => FailureClass::Rejected,
        }
    }
}

fn again(after: Option<Duration>) -> String {
    match after {
        Some(after) => format!("it asks to wait for {} seconds", after.as_secs().max(1)),
        None => "try again later".to_owned(),
    }
}

/// Takes the text of a reply while it is generated.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait DeltaSink: Send {
    /// The next piece of text. Waits while the reader is slow, so that memory stays bounded.
    async fn push(&mut self, text: &str);
}

/// Why a provider cannot be called, in words for whoever has named it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ProviderRefused(pub String);

/// Opens providers at addresses that tenants name, and at no other place than the public Internet unless the operator
/// allows it.
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait ProviderOpener: Send + Sync {
    /// Refuses an address that could never be called, as far as it tells without asking anybody.
    fn check(&self, base_url: &str) -> Result<(), ProviderRefused>;

    /// A provider as it was set up, with its key, where it wants one. Nobody is asked yet.
    fn open(
        &self,
        settings: &ProviderSettings,
        key: Option<Zeroizing<String>>,
    ) -> Result<Arc<dyn ModelProvider>, ProviderRefused>;
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
