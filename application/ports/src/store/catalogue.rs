//! A tenant's own providers of models.

use async_trait::async_trait;
use powerhouse_domain::catalogue::Provider;
use powerhouse_domain::ids::ModelProviderId;

use super::{Limit, Page, StoreError};

/// A provider's key as it is sealed.
pub type SealedKey = Vec<u8>;

/// What becomes of a provider's key when the provider is changed.
#[derive(Clone, PartialEq, Eq)]
pub enum KeyChange {
    /// It stays.
    Keep,
    /// There is none any more.
    Remove,
    /// Another one, sealed.
    Put(SealedKey),
}

impl std::fmt::Debug for KeyChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Keep => "Keep",
            Self::Remove => "Remove",
            Self::Put(_) => "Put(…)",
        })
    }
}

/// A tenant's own providers of models.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait ModelProviderRepository: Send {
    /// A provider by id.
    async fn find(&mut self, id: ModelProviderId) -> Result<Option<Provider>, StoreError>;
    /// Providers in the order of their ids.
    async fn list(
        &mut self,
        after: Option<ModelProviderId>,
        limit: Limit,
    ) -> Result<Page<Provider, ModelProviderId>, StoreError>;
    /// All of them in the order of their names, each with its key as it is sealed.
    async fn catalogue(&mut self) -> Result<Vec<(Provider, Option<SealedKey>)>, StoreError>;
    /// How many there are.
    async fn count(&mut self) -> Result<u64, StoreError>;
    /// Stores a new provider with its key, sealed; `Conflict` when its name is taken.
    async fn add(&mut self, provider: &Provider, key: Option<SealedKey>) -> Result<(), StoreError>;
    /// Stores a change; `Conflict` unless the stored version is the one before. Its name stays.
    async fn update(&mut self, provider: &Provider, key: &KeyChange) -> Result<(), StoreError>;
    /// Removes a provider with its key. Whether there was one.
    async fn remove(&mut self, id: ModelProviderId) -> Result<bool, StoreError>;
}
