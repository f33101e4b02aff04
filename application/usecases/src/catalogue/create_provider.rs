//! A new provider of models.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::catalogue::{MAX_PROVIDERS, Provider, ProviderName, ProviderSettings};
use powerhouse_domain::ids::ModelProviderId;
use powerhouse_ports::clock::{Clock, IdSource};
use powerhouse_ports::models::ProviderOpener;
use powerhouse_ports::store::TenantStore;

use super::check_url;
use crate::models::Models;
use crate::{Once, Refused, permit};

/// What is to be made.
#[derive(Clone, Debug)]
pub struct CreateProviderCommand {
    /// Its name, which no other of the tenant has.
    pub name: ProviderName,
    /// What it is.
    pub settings: ProviderSettings,
}

/// Makes providers.
#[derive(Clone)]
pub struct CreateProvider {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
    /// Says which addresses may be called.
    pub opener: Arc<dyn ProviderOpener>,
    /// Is told.
    pub models: Arc<Models>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
    /// Gives ids.
    pub ids: Arc<dyn IdSource>,
}

impl CreateProvider {
    /// Makes a provider, whose models runs use from their next call on.
    pub async fn execute(
        &self,
        principal: &Principal,
        command: CreateProviderCommand,
        once: &Once<Provider>,
    ) -> Result<Provider, Refused> {
        let permit =
            permit::<access::CreateModelProvider>(principal, principal.tenant_id(), "model providers", true)?;
        let CreateProviderCommand { name, settings } = command;
        check_url(&*self.opener, settings.base_url.as_str())?;
        let (scope, id) = (permit.scope(), ModelProviderId::from_uuid(self.ids.next()));
        let provider = Provider {
            id,
            name,
            settings,
            created_by: permit.granted_to(),
            created_at: self.clock.now(),
            version: 1,
        };
        let mut tx = once.begin(&*self.store, &scope).await?;
        if tx.model_providers().count().await? >= MAX_PROVIDERS {
            let reason = format!("a tenant has at most {MAX_PROVIDERS} providers of models");
            return Err(Refused::conflict("too_many_model_providers", reason));
        }
        let taken = Refused::taken("name_taken", "another provider of this tenant has this name");
        tx.model_providers().add(&provider).await.map_err(taken)?;
        let entry = Entry::by(principal, AuditAction::ModelProviderCreated, id, provider.created_at);
        once.commit_audited(tx, &provider, entry).await?;
        self.models.forget(&scope);
        permit.redeem();
        Ok(provider)
    }
}
