//! Another value for a secret, and the end of one.

use std::sync::Arc;

use powerhouse_domain::access::Principal;
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::secrets::{Secret, SecretName, SecretValue};
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::TenantStore;

use super::{NO_SECRET, Vault, changing, resource};
use crate::refused::expect_version;
use crate::{Refused, audited};

/// Gives secrets other values.
#[derive(Clone)]
pub struct ChangeSecret {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
    /// Seals them.
    pub vault: Vault,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl ChangeSecret {
    /// Puts another value in the place of the one before, for every use from then on.
    pub async fn execute(
        &self,
        principal: &Principal,
        name: SecretName,
        version: Option<u64>,
        value: &SecretValue,
    ) -> Result<Secret, Refused> {
        let permit = changing(principal, name)?;
        let scope = permit.scope();
        let sealer = self.vault.sealer(&scope).await?;
        let mut tx = self.store.begin(&scope).await?;
        let secret = tx.secrets().find(&permit.redeem()).await?.ok_or(NO_SECRET)?;
        expect_version(secret.version, version)?;
        let secret = secret.changed(self.clock.now());
        let stored = sealer.seal(&scope, &secret, value)?;
        if let Some(key) = &sealer.new {
            tx.secrets().add_data_key(key).await?;
        }
        tx.secrets().update(&secret, &stored).await.map_err(Refused::stale)?;
        let entry =
            Entry::by(principal, AuditAction::SecretChanged, resource(&secret.name), secret.updated_at);
        audited::commit(tx, entry.with("version", secret.version)).await?;
        Ok(secret)
    }
}

/// Removes secrets.
#[derive(Clone)]
pub struct DeleteSecret {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl DeleteSecret {
    /// Removes a secret. What uses it fails from then on, and says so.
    pub async fn execute(
        &self,
        principal: &Principal,
        name: SecretName,
        version: Option<u64>,
    ) -> Result<(), Refused> {
        let permit = changing(principal, name)?;
        let mut tx = self.store.begin(&permit.scope()).await?;
        let secret = tx.secrets().find(&permit.redeem()).await?.ok_or(NO_SECRET)?;
        expect_version(secret.version, version)?;
        tx.secrets().remove(&secret.name).await?;
        let entry =
            Entry::by(principal, AuditAction::SecretRemoved, resource(&secret.name), self.clock.now());
        audited::commit(tx, entry).await?;
        Ok(())
    }
}
