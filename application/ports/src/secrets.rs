//! Secrets at rest.

use powerhouse_domain::access::TenantScope;
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
