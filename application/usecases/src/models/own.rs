//! A tenant's own provider, opened for this process.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use powerhouse_domain::access::TenantScope;
use powerhouse_domain::catalogue::{CatalogueModel, Provider, ProviderSettings};
use powerhouse_domain::idempotency::CallKey;
use powerhouse_domain::model::{ModelReply, ModelRequest};
use powerhouse_ports::models::{DeltaSink, ModelError, ModelProvider};
use tokio::sync::{OnceCell, Semaphore};
use zeroize::Zeroizing;

use super::Openers;
use super::circuits::Circuit;
use super::route::Choice;

/// A provider, and who calls it.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) entry: Provider,
    /// The version of the secret that is its key, when it was opened.
    secret: Option<u64>,
    provider: Arc<dyn ModelProvider>,
    /// Calls that may be under way at the same time, by model.
    turns: Arc<BTreeMap<String, Arc<Semaphore>>>,
}

impl Opened {
    pub(super) fn open(openers: &Openers, scope: &TenantScope, entry: Provider, secret: Option<u64>) -> Self {
        let provider: Arc<dyn ModelProvider> = Arc::new(Lazy {
            openers: openers.clone(),
            scope: *scope,
            settings: entry.settings.clone(),
            opened: OnceCell::new(),
        });
        let turns = entry.settings.models.as_slice().iter().filter_map(|model| {
            let most =
                usize::try_from(model.max_concurrent?).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
            Some((model.name.clone(), Arc::new(Semaphore::new(most))))
        });
        let turns = Arc::new(turns.collect());
        Self { entry, secret, provider, turns }
    }

    /// Whether it was opened from this, as it stands.
    pub(super) fn is(&self, provider: &Provider, secret: Option<u64>) -> bool {
        self.entry.id == provider.id && self.entry.version == provider.version && self.secret == secret
    }

    pub(super) fn choice(&self, model: &CatalogueModel, circuit: Arc<Circuit>) -> Choice {
        Choice {
            model: model.name.clone(),
            owner: Some(self.entry.name.to_string()),
            provider: Arc::clone(&self.provider),
            circuit,
            context: model.context_tokens,
            max_output: model.max_output_tokens,
            turns: self.turns.get(&model.name).cloned(),
        }
    }
}

/// A provider that is opened, with its key, when it is first called.
struct Lazy {
    openers: Openers,
    scope: TenantScope,
    settings: ProviderSettings,
    opened: OnceCell<Arc<dyn ModelProvider>>,
}

impl Lazy {
    async fn open(&self) -> Result<Arc<dyn ModelProvider>, ModelError> {
        let Openers { opener, reader } = &self.openers;
        let key = match &self.settings.key {
            None => None,
            Some(name) => {
                let value = reader.read(&self.scope, name).await.map_err(ModelError::NoKey)?;
                Some(Zeroizing::new(value.expose().to_owned()))
            }
        };
        opener.open(&self.settings, key).map_err(|refused| ModelError::Rejected(refused.into()))
    }
}

#[async_trait]
impl ModelProvider for Lazy {
    async fn complete(
        &self,
        key: &CallKey,
        model: &str,
        request: &ModelRequest,
        deltas: Box<dyn DeltaSink>,
    ) -> Result<ModelReply, ModelError> {
        // What failed is tried again at the next call.
        let provider = self.opened.get_or_try_init(|| self.open()).await?;
        provider.complete(key, model, request, deltas).await
    }
}
