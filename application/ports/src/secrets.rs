//! Secrets at rest: what seals them, what keeps the keys that they are sealed with, and what opens them where they are used.

use async_trait::async_trait;
use powerhouse_domain::access::TenantScope;
use powerhouse_domain::ids::{DataKeyId, TenantId};
use powerhouse_domain::secrets::{SecretName, SecretValue};
use zeroize::Zeroizing;

/// Why a sealed secret cannot be opened. It says no more: the difference would help an attacker only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sealed secret cannot be opened")]
pub struct OpenFailed;

/// A secret could not be sealed: the operating system gives no randomness.
#[derive(Debug, thiserror::Error)]
#[error("the secret could not be sealed")]
pub struct SealFailed(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Seals secrets for storage. A sealed secret opens only for the tenant and the name that it was sealed for, so that
/// nobody can swap one row for another.
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait SecretBox: Send + Sync {
    /// Seals a secret. The same secret sealed twice gives different bytes.
    fn seal(&self, scope: &TenantScope, name: &str, secret: &[u8]) -> Result<Vec<u8>, SealFailed>;

    /// Opens what was sealed for this tenant and this name.
    fn open(&self, scope: &TenantScope, name: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenFailed>;
}

/// A key that secrets of one tenant are sealed with. Wiped when dropped.
pub type DataKey = Zeroizing<[u8; 32]>;

/// Makes boxes for data keys.
pub trait Envelopes: Send + Sync {
    /// A box that this key locks.
    fn locked_by(&self, key: &DataKey) -> Box<dyn SecretBox>;
}

/// A data key as it is stored: wrapped by a master key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    /// The master key's name: at most 255 characters.
    pub master: String,
    /// What only that master key opens, and only for the same tenant and data key.
    pub wrapped: Vec<u8>,
}

/// Why a master key did not serve.
#[derive(Debug, thiserror::Error)]
pub enum KeyManagementError {
    /// It is not at hand here: another process has it, or it was thrown away.
    #[error("the master key {0} is not known here")]
    UnknownMaster(String),
    /// What is stored was not wrapped by this master key for this tenant and this data key.
    #[error("the wrapped key cannot be opened")]
    Refused,
    /// Who keeps it cannot be reached; trying again may help.
    #[error("the master keys cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Keeps master keys, which wrap data keys: in this process, or in a key management service, which they never leave.
#[async_trait]
pub trait KeyManagement: Send + Sync {
    /// The name of the master key that wraps now.
    async fn current(&self) -> Result<String, KeyManagementError>;

    /// Wraps a data key by the current master key.
    async fn wrap(
        &self,
        tenant: TenantId,
        id: DataKeyId,
        key: &DataKey,
    ) -> Result<WrappedKey, KeyManagementError>;

    /// Opens what any master key has wrapped that is still at hand.
    async fn unwrap(
        &self,
        tenant: TenantId,
        id: DataKeyId,
        wrapped: &WrappedKey,
    ) -> Result<DataKey, KeyManagementError>;
}

/// Why a secret cannot be used. The text is for the tenant's people and models: it tells nothing of the value.
#[derive(Debug, thiserror::Error)]
pub enum SecretUnreadable {
    /// There is none of this name.
    #[error("there is no secret `{0}`: somebody who may has to put it in")]
    Missing(SecretName),
    /// It cannot be opened now.
    #[error("the secret `{name}` cannot be opened now")]
    Unavailable {
        /// Which.
        name: SecretName,
        /// Why, for the log.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Opens a tenant's secrets for whoever sends them out. Nobody else asks.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait SecretReader: Send + Sync {
    /// The value that a secret has now.
    async fn read(&self, scope: &TenantScope, name: &SecretName) -> Result<SecretValue, SecretUnreadable>;
}
