//! Changing and removing a provider of models.

use std::sync::Arc;

use powerhouse_domain::access::{self, Permit, Principal};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::catalogue::{Provider, ProviderSettings};
use powerhouse_domain::ids::ModelProviderId;
use powerhouse_ports::clock::Clock;
use powerhouse_ports::models::ProviderOpener;
use powerhouse_ports::store::TenantStore;

use super::{NO_PROVIDER, check_url};
use crate::models::Models;
use crate::refused::expect_version;
use crate::{Refused, audited, permit};

/// Changes providers.
#[derive(Clone)]
pub struct ChangeProvider {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
    /// Says which addresses may be called.
    pub opener: Arc<dyn ProviderOpener>,
    /// Is told.
    pub models: Arc<Models>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl ChangeProvider {
    /// Replaces all that people chose.
    pub async fn execute(
        &self,
        principal: &Principal,
        id: ModelProviderId,
        version: Option<u64>,
        settings: ProviderSettings,
    ) -> Result<Provider, Refused> {
        let permit = changing(principal, id)?;
        let scope = permit.scope();
        let mut tx = self.store.begin(&scope).await?;
        let before = tx.model_providers().find(permit.redeem()).await?.ok_or(NO_PROVIDER)?;
        check_url(&*self.opener, settings.base_url.as_str())?;
        expect_version(before.version, version)?;
        let mut changed = Vec::new();
        for (name, has_changed) in [
            ("kind", settings.kind != before.settings.kind),
            ("base_url", settings.base_url != before.settings.base_url),
            ("cache_prompts", settings.cache_prompts != before.settings.cache_prompts),
            ("models", settings.models != before.settings.models),
            ("key", settings.key != before.settings.key),
        ] {
            changed.extend(has_changed.then_some(name));
        }
        let provider = Provider { settings, version: before.version + 1, ..before };
        tx.model_providers().update(&provider).await.map_err(Refused::stale)?;
        let entry = Entry::by(principal, AuditAction::ModelProviderChanged, id, self.clock.now());
        audited::commit(tx, entry.changing(&changed)).await?;
        self.models.forget(&scope);
        Ok(provider)
    }
}

/// Removes providers.
#[derive(Clone)]
pub struct DeleteProvider {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
    /// Is told.
    pub models: Arc<Models>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl DeleteProvider {
    /// Removes a provider; the secret that was its key stays. Agents that name its models ask the platform for them from then on.
    pub async fn execute(
        &self,
        principal: &Principal,
        id: ModelProviderId,
        version: Option<u64>,
    ) -> Result<(), Refused> {
        let permit = changing(principal, id)?;
        let scope = permit.scope();
        let mut tx = self.store.begin(&scope).await?;
        let provider = tx.model_providers().find(permit.redeem()).await?.ok_or(NO_PROVIDER)?;
        expect_version(provider.version, version)?;
        tx.model_providers().remove(id).await?;
        audited::commit(tx, Entry::by(principal, AuditAction::ModelProviderRemoved, id, self.clock.now()))
            .await?;
        self.models.forget(&scope);
        Ok(())
    }
}

fn changing(
    principal: &Principal,
    id: ModelProviderId,
) -> Result<Permit<access::UpdateModelProvider>, Refused> {
    let visible = principal.permit::<access::ReadModelProvider>(id).is_ok();
    permit::<access::UpdateModelProvider>(principal, id, "model provider", visible)
}
