//! A tenant's own providers of models, and what is masked in what is sent to any.

use async_trait::async_trait;
use powerhouse_domain::catalogue::Provider;
use powerhouse_domain::ids::ModelProviderId;
use powerhouse_domain::masking::MaskingRules;

use super::{Limit, Page, StoreError};

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
    /// All of them in the order of their names, each with the version of the secret that is its key, if it is there.
    async fn catalogue(&mut self) -> Result<Vec<(Provider, Option<u64>)>, StoreError>;
    /// How many there are.
    async fn count(&mut self) -> Result<u64, StoreError>;
    /// Stores a new provider; `Conflict` when its name is taken.
    async fn add(&mut self, provider: &Provider) -> Result<(), StoreError>;
    /// Stores a change; `Conflict` unless the stored version is the one before. Its name stays.
    async fn update(&mut self, provider: &Provider) -> Result<(), StoreError>;
    /// Removes a provider. Whether there was one.
    async fn remove(&mut self, id: ModelProviderId) -> Result<bool, StoreError>;
    /// What is masked in what is sent to models.
    async fn masking(&mut self) -> Result<MaskingRules, StoreError>;
    /// Stores other rules; `Conflict` unless the stored version is the one before.
    async fn replace_masking(&mut self, rules: &MaskingRules) -> Result<(), StoreError>;
}
