//! Changing and removing an endpoint, and giving it another secret.

use std::sync::Arc;

use powerhouse_domain::access::Principal;
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::ids::WebhookId;
use powerhouse_domain::webhooks::{Endpoint, EndpointUrl, Filter};
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::TenantStore;
use powerhouse_ports::webhooks::WebhookSender;

use super::{Created, NO_WEBHOOK, Secrets, changing, check_url};
use crate::refused::expect_version;
use crate::{Once, Refused, audited};

/// All that people choose of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSettings {
    /// Where it is.
    pub url: EndpointUrl,
    /// What it wants to hear of.
    pub filter: Filter,
    /// Whether it is told.
    pub is_enabled: bool,
}

/// Changes endpoints.
#[derive(Clone)]
pub struct ChangeWebhook {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
    /// Says which addresses can be reached.
    pub sender: Arc<dyn WebhookSender>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl ChangeWebhook {
    /// Replaces all that people chose.
    pub async fn execute(
        &self,
        principal: &Principal,
        id: WebhookId,
        version: Option<u64>,
        settings: EndpointSettings,
    ) -> Result<Endpoint, Refused> {
        let permit = changing(principal, id)?;
        let mut tx = self.store.begin(&permit.scope()).await?;
        let endpoint = tx.webhooks().find(permit.redeem()).await?.ok_or(NO_WEBHOOK)?;
        let EndpointSettings { url, filter, is_enabled } = settings;
        check_url(&*self.sender, url.as_str())?;
        expect_version(endpoint.version, version)?;
        let now = self.clock.now();
        let mut changed = Vec::new();
        for (name, has_changed) in [
            ("url", url != endpoint.url),
            ("events", filter != endpoint.filter),
            ("is_enabled", is_enabled != endpoint.is_enabled()),
        ] {
            changed.extend(has_changed.then_some(name));
        }
        let entry = Entry::by(principal, AuditAction::WebhookChanged, id, now).changing(&changed);
        let endpoint = endpoint.change(url, filter, is_enabled, now);
        tx.webhooks().update(&endpoint).await.map_err(Refused::stale)?;
        audited::commit(tx, entry.with("is_enabled", is_enabled)).await?;
        Ok(endpoint)
    }
}

/// Gives endpoints another secret.
#[derive(Clone)]
pub struct RotateSecret {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
    /// Makes secrets.
    pub secrets: Secrets,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl RotateSecret {
    /// Another secret. The one before signs too for a day, so that nothing is lost while the endpoint changes over.
    pub async fn execute(
        &self,
        principal: &Principal,
        id: WebhookId,
        once: &Once<Created>,
    ) -> Result<Created, Refused> {
        let permit = changing(principal, id)?;
        let scope = permit.scope();
        let made = self.secrets.make(&scope, id).await?;
        let mut tx = once.begin(&*self.store, &scope).await?;
        let endpoint = tx.webhooks().find(permit.redeem()).await?.ok_or(NO_WEBHOOK)?;
        let before = tx.webhooks().secrets(id).await?.ok_or(NO_WEBHOOK)?;
        let now = self.clock.now();
        let sealed = made.store(&mut *tx, Some((before, now))).await?;
        tx.webhooks().put_secrets(id, &sealed).await.map_err(Refused::stale)?;
        let created = Created { endpoint, secret: made.secret };
        once.commit_audited(tx, &created, Entry::by(principal, AuditAction::WebhookSecretRotated, id, now))
            .await?;
        Ok(created)
    }
}

/// Removes endpoints.
#[derive(Clone)]
pub struct DeleteWebhook {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl DeleteWebhook {
    /// Removes an endpoint, with what is on its way to it.
    pub async fn execute(
        &self,
        principal: &Principal,
        id: WebhookId,
        version: Option<u64>,
    ) -> Result<(), Refused> {
        let permit = changing(principal, id)?;
        let mut tx = self.store.begin(&permit.scope()).await?;
        let endpoint = tx.webhooks().find(permit.redeem()).await?.ok_or(NO_WEBHOOK)?;
        expect_version(endpoint.version, version)?;
        tx.webhooks().remove(id).await?;
        audited::commit(tx, Entry::by(principal, AuditAction::WebhookRemoved, id, self.clock.now())).await?;
        Ok(())
    }
}
