//! A tenant's own provider, opened for this process.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use powerhouse_domain::access::TenantScope;
use powerhouse_domain::catalogue::{CatalogueModel, Provider};
use powerhouse_domain::idempotency::CallKey;
use powerhouse_domain::model::{ModelReply, ModelRequest};
use powerhouse_ports::models::{DeltaSink, ModelError, ModelProvider, ProviderRefused};
use powerhouse_ports::secrets::OpenFailed;
use tokio::sync::Semaphore;

use super::Openers;
use super::circuits::Circuit;
use super::route::Choice;
use crate::catalogue::sealed_for;

/// A provider, and who calls it.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) entry: Provider,
    provider: Arc<dyn ModelProvider>,
    /// Calls that may be under way at the same time, by model.
    turns: Arc<BTreeMap<String, Arc<Semaphore>>>,
}

impl Opened {
    pub(super) fn open(
        Openers { opener, sealer }: &Openers,
        scope: &TenantScope,
        entry: Provider,
        sealed: Option<&[u8]>,
    ) -> Self {
        let opened = match sealed {
            None => opener.open(&entry.settings, None),
            Some(sealed) => match sealer.open(scope, &sealed_for(entry.id), sealed) {
                // INVARIANT: only ASCII is sealed.
                Ok(key) => {
                    opener.open(&entry.settings, str::from_utf8(&key).ok().map(|key| key.to_owned().into()))
                }
                Err(OpenFailed) => Err(ProviderRefused("its key cannot be opened: give it again".to_owned())),
            },
        };
        let provider = opened.unwrap_or_else(|refused| {
            tracing::warn!(provider = %entry.id, reason = %refused, "a tenant's provider of models cannot be called");
            Arc::new(Unusable(refused))
        });
        let turns = entry.settings.models.as_slice().iter().filter_map(|model| {
            let most =
                usize::try_from(model.max_concurrent?).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
            Some((model.name.clone(), Arc::new(Semaphore::new(most))))
        });
        let turns = Arc::new(turns.collect());
        Self { entry, provider, turns }
    }

    /// Whether it was opened from this, as it stands.
    pub(super) fn is(&self, provider: &Provider) -> bool {
        self.entry.id == provider.id && self.entry.version == provider.version
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

/// A provider that cannot be called as it stands.
struct Unusable(ProviderRefused);

#[async_trait]
impl ModelProvider for Unusable {
    async fn complete(
        &self,
        _: &CallKey,
        _: &str,
        _: &ModelRequest,
        _: Box<dyn DeltaSink>,
    ) -> Result<ModelReply, ModelError> {
        Err(ModelError::Rejected(self.0.clone().into()))
    }
}
