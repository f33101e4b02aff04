//! The secrets that endpoints' messages are signed with: made, and sealed with their tenants' data keys, as the vault's are.

use chrono::{DateTime, TimeDelta, Utc};
use powerhouse_domain::access::TenantScope;
use powerhouse_domain::ids::WebhookId;
use powerhouse_domain::webhooks::Secret;
use powerhouse_ports::Chain;
use powerhouse_ports::store::{SealedSecrets, StoreError, StoredDataKey, TenantTx};

use crate::Refused;
use crate::secrets::{Failure, Vault};

/// How long the secret before goes on signing, beside the new one.
const OVERLAP: TimeDelta = TimeDelta::days(1);

/// Makes, seals and opens secrets.
#[derive(Clone)]
pub struct Secrets {
    /// Seals them.
    pub vault: Vault,
}

/// A new secret, which is not stored yet.
pub(super) struct Made {
    pub(super) secret: Secret,
    sealed: Vec<u8>,
    data_key: Option<StoredDataKey>,
}

impl Made {
    /// What is stored of it with its endpoint, and of the secret that it takes over from, which goes on signing for a
    /// while. What it is sealed with is stored at once, if that is new.
    pub(super) async fn store(
        &self,
        tx: &mut dyn TenantTx,
        before: Option<(SealedSecrets, DateTime<Utc>)>,
    ) -> Result<SealedSecrets, StoreError> {
        if let Some(key) = &self.data_key {
            tx.secrets().add_data_key(key).await?;
        }
        let previous = before.map(|(before, now)| (before.current, now + OVERLAP));
        Ok(SealedSecrets { current: self.sealed.clone(), previous })
    }
}

impl Secrets {
    /// A new secret. No transaction is open meanwhile: a master key may be asked for.
    pub(super) async fn make(&self, scope: &TenantScope, id: WebhookId) -> Result<Made, Refused> {
        let secret = Secret::new(&self.vault.random()[..])
            .map_err(|error| Refused::Internal(Chain(&error).to_string()))?;
        let with = self.vault.sealer(scope).await?;
        let sealed = with.enclose(scope, &name(id), secret.expose())?;
        Ok(Made { secret, sealed, data_key: with.new })
    }

    /// The secrets that sign now. None when the current one is not what was sealed.
    pub(super) async fn open(
        &self,
        scope: &TenantScope,
        id: WebhookId,
        sealed: &SealedSecrets,
        now: DateTime<Utc>,
    ) -> Result<Option<Vec<Secret>>, Failure> {
        let previous = sealed.previous.iter().filter(|(_, until)| *until > now).map(|(previous, _)| previous);
        let mut secrets = Vec::new();
        for (index, sealed) in [&sealed.current].into_iter().chain(previous).enumerate() {
            match self.vault.disclose(scope, &name(id), sealed).await? {
                Some(opened) => secrets.push(Secret::new(&opened)?),
                None if index == 0 => return Ok(None),
                None => {}
            }
        }
        Ok(Some(secrets))
    }
}

/// What a secret is sealed for.
fn name(id: WebhookId) -> String {
    format!("webhook:{id}")
}
