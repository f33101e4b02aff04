//! A tenant's secrets, sealed, and the keys that they are sealed with, wrapped.

use async_trait::async_trait;
use powerhouse_domain::ids::DataKeyId;
use powerhouse_domain::secrets::{Secret, SecretName};

use super::{Limit, Page, StoreError};
use crate::secrets::WrappedKey;

/// A secret's value as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedValue {
    /// The key that it is sealed with.
    pub data_key: DataKeyId,
    /// The sealed value.
    pub sealed: Vec<u8>,
}

/// A data key as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDataKey {
    /// Its id.
    pub id: DataKeyId,
    /// The key, wrapped.
    pub key: WrappedKey,
}

/// A tenant's secrets.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait SecretRepository: Send {
    /// What is told of a secret.
    async fn find(&mut self, name: &SecretName) -> Result<Option<Secret>, StoreError>;
    /// Secrets in the order of their names.
    async fn list(
        &mut self,
        after: Option<SecretName>,
        limit: Limit,
    ) -> Result<Page<Secret, SecretName>, StoreError>;
    /// How many there are.
    async fn count(&mut self) -> Result<u64, StoreError>;
    /// Stores a new secret; `Conflict` when the name is taken.
    async fn add(&mut self, secret: &Secret, value: &SealedValue) -> Result<(), StoreError>;
    /// Stores another value; `Conflict` unless the stored version is the one before.
    async fn update(&mut self, secret: &Secret, value: &SealedValue) -> Result<(), StoreError>;
    /// Removes a secret. Whether there was one.
    async fn remove(&mut self, name: &SecretName) -> Result<bool, StoreError>;
    /// A secret with its value.
    async fn value(&mut self, name: &SecretName) -> Result<Option<(Secret, SealedValue)>, StoreError>;
    /// The key that new values are sealed with: the tenant's newest.
    async fn newest_data_key(&mut self) -> Result<Option<StoredDataKey>, StoreError>;
    /// A data key.
    async fn data_key(&mut self, id: DataKeyId) -> Result<Option<StoredDataKey>, StoreError>;
    /// Stores a new data key.
    async fn add_data_key(&mut self, key: &StoredDataKey) -> Result<(), StoreError>;
}
