//! A new secret.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::secrets::{MAX_SECRETS, Secret, SecretName, SecretValue};
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::TenantStore;

use super::{Vault, resource};
use crate::{Once, Refused, permit};

/// Puts secrets in.
#[derive(Clone)]
pub struct CreateSecret {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
    /// Seals them.
    pub vault: Vault,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl CreateSecret {
    /// Puts a secret in, under a name that no other secret of the tenant has. Its value is never shown again.
    pub async fn execute(
        &self,
        principal: &Principal,
        name: SecretName,
        value: &SecretValue,
        once: &Once<Secret>,
    ) -> Result<Secret, Refused> {
        let permit = permit::<access::CreateSecret>(principal, principal.tenant_id(), "secrets", true)?;
        let scope = permit.scope();
        let secret = Secret::new(name, permit.granted_to(), self.clock.now());
        let sealer = self.vault.sealer(&scope).await?;
        let stored = sealer.seal(&scope, &secret, value)?;
        let mut tx = once.begin(&*self.store, &scope).await?;
        if tx.secrets().count().await? >= MAX_SECRETS {
            let reason = format!("a tenant has at most {MAX_SECRETS} secrets");
            return Err(Refused::conflict("too_many_secrets", reason));
        }
        if let Some(key) = &sealer.new {
            tx.secrets().add_data_key(key).await?;
        }
        let taken = Refused::taken("secret_name_taken", "a secret with this name exists: PUT another value");
        tx.secrets().add(&secret, &stored).await.map_err(taken)?;
        let entry =
            Entry::by(principal, AuditAction::SecretCreated, resource(&secret.name), secret.created_at);
        once.commit_audited(tx, &secret, entry).await?;
        permit.redeem();
        Ok(secret)
    }
}
