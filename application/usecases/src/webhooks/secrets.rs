//! The secrets that endpoints' messages are signed with: made, sealed and opened.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use powerhouse_domain::access::TenantScope;
use powerhouse_domain::ids::WebhookId;
use powerhouse_domain::webhooks::Secret;
use powerhouse_ports::Chain;
use powerhouse_ports::secrets::SecretBox;
use powerhouse_ports::store::SealedSecrets;
use powerhouse_ports::webhooks::SecretSource;

use crate::Refused;

/// How long the secret before goes on signing, beside the new one.
const OVERLAP: TimeDelta = TimeDelta::days(1);

/// Makes, seals and opens secrets.
#[derive(Clone)]
pub struct Secrets {
    /// Seals them.
    pub sealer: Arc<dyn SecretBox>,
    /// Where they come from.
    pub source: Arc<dyn SecretSource>,
}

impl Secrets {
    /// A new secret, and the same sealed.
    pub(super) fn make(
        &self,
        scope: &TenantScope,
        id: WebhookId,
    ) -> Result<(Secret, SealedSecrets), Refused> {
        let secret = Secret::new(&self.source.random()[..]).map_err(|error| internal(&error))?;
        let current =
            self.sealer.seal(scope, &name(id), secret.expose()).map_err(|error| internal(&error))?;
        Ok((secret, SealedSecrets { current, previous: None }))
    }

    /// A new secret that takes over from one, which goes on signing for a while.
    pub(super) fn rotate(
        &self,
        scope: &TenantScope,
        id: WebhookId,
        before: SealedSecrets,
        now: DateTime<Utc>,
    ) -> Result<(Secret, SealedSecrets), Refused> {
        let (secret, sealed) = self.make(scope, id)?;
        Ok((secret, SealedSecrets { previous: Some((before.current, now + OVERLAP)), ..sealed }))
    }

    /// The secrets that sign now. None when the current one cannot be opened.
    pub(super) fn open(
        &self,
        scope: &TenantScope,
        id: WebhookId,
        sealed: &SealedSecrets,
        now: DateTime<Utc>,
    ) -> Option<Vec<Secret>> {
        let open = |sealed: &[u8]| {
            let opened = self.sealer.open(scope, &name(id), sealed).ok()?;
            Secret::new(&opened).ok()
        };
        let mut secrets = vec![open(&sealed.current)?];
        if let Some((previous, until)) = &sealed.previous
            && *until > now
        {
            secrets.extend(open(previous));
        }
        Some(secrets)
    }
}

/// What a secret is sealed for.
fn name(id: WebhookId) -> String {
    format!("webhook:{id}")
}

fn internal(error: &(dyn std::error::Error + 'static)) -> Refused {
    Refused::Internal(Chain(error).to_string())
}
