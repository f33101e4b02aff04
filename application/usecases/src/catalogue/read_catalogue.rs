//! Providers, and the models that agents may name.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::catalogue::{CatalogueModel, Provider, ProviderName};
use powerhouse_domain::ids::ModelProviderId;
use powerhouse_ports::store::{Limit, Page, TenantStore};

use super::NO_PROVIDER;
use crate::models::Models;
use crate::{Refused, permit};

/// Lists providers.
#[derive(Clone)]
pub struct ListProviders {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
}

impl ListProviders {
    /// Providers in the order in which they were made.
    pub async fn execute(
        &self,
        principal: &Principal,
        after: Option<ModelProviderId>,
        limit: Limit,
    ) -> Result<Page<Provider, ModelProviderId>, Refused> {
        let permit =
            permit::<access::ListModelProviders>(principal, principal.tenant_id(), "model providers", true)?;
        let mut view = self.store.read(&permit.scope()).await?;
        Ok(view.model_providers().list(after, limit).await?)
    }
}

/// Reads a provider.
#[derive(Clone)]
pub struct ReadProvider {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
}

impl ReadProvider {
    /// A provider of the caller's tenant.
    pub async fn execute(&self, principal: &Principal, id: ModelProviderId) -> Result<Provider, Refused> {
        let permit = permit::<access::ReadModelProvider>(principal, id, "model provider", false)?;
        let mut view = self.store.read(&permit.scope()).await?;
        view.model_providers().find(permit.redeem()).await?.ok_or(NO_PROVIDER)
    }
}

/// A model that an agent may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvailableModel {
    /// The model.
    pub model: CatalogueModel,
    /// Its provider; the platform's when there is none.
    pub provider: Option<ProviderName>,
    /// Whether agents that name no model have it.
    pub is_default: bool,
}

/// Lists models.
#[derive(Clone)]
pub struct ListModels {
    /// Where providers are.
    pub store: Arc<dyn TenantStore>,
    /// What the platform has.
    pub models: Arc<Models>,
}

impl ListModels {
    /// The models of the tenant's providers, in the order in which a name is looked for, and then the platform's.
    pub async fn execute(&self, principal: &Principal) -> Result<Vec<AvailableModel>, Refused> {
        let permit = permit::<access::ListModels>(principal, principal.tenant_id(), "models", true)?;
        let mut view = self.store.read(&permit.scope()).await?;
        let catalogue = view.model_providers().catalogue().await?;
        permit.redeem();
        let own = catalogue.iter().flat_map(|(provider, _)| {
            provider.settings.models.as_slice().iter().map(|model| AvailableModel {
                model: model.clone(),
                provider: Some(provider.name.clone()),
                is_default: false,
            })
        });
        let platform = self
            .models
            .of_platform()
            .into_iter()
            .enumerate()
            .map(|(index, model)| AvailableModel { model, provider: None, is_default: index == 0 });
        Ok(own.chain(platform).collect())
    }
}
