//! Models: who answers a call, in which order, and who is left alone for a while.
//!
//! A tenant's own providers go first, then the platform's. What a tenant has is kept in the process for a few seconds, so
//! that a call costs no round trip.

mod circuits;
mod own;
mod race;
mod route;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use powerhouse_domain::access::TenantScope;
use powerhouse_domain::breaker::BreakerSettings;
use powerhouse_domain::catalogue::{CatalogueModel, find};
use powerhouse_domain::ids::TenantId;
use powerhouse_ports::models::{ModelProvider, ProviderOpener};
use powerhouse_ports::secrets::SecretBox;
use powerhouse_ports::store::{StoreError, TenantView};

use circuits::Circuits;
use own::Opened;
use route::Choice;

pub use route::Route;

/// How long what a tenant has may be older than the database.
const FRESH: TimeDelta = TimeDelta::seconds(5);
/// The most tenants whose providers are kept.
const MAX_TENANTS: usize = 10_000;

/// What answers where a tenant has nothing else.
pub struct Platform {
    /// Who serves it.
    pub provider: Arc<dyn ModelProvider>,
    /// The model of agents that name none.
    pub default_model: String,
    /// What answers while a model cannot, in this order.
    pub fallbacks: Vec<String>,
    /// Whether a call may be made twice when its answer is late.
    pub is_hedged: bool,
}

/// How tenants' own providers are called.
pub struct Openers {
    /// Opens them.
    pub opener: Arc<dyn ProviderOpener>,
    /// Opens their keys.
    pub sealer: Arc<dyn SecretBox>,
}

/// Finds who answers.
pub struct Models {
    platform: Platform,
    circuits: Circuits,
    /// None where tenants have no providers of their own.
    openers: Option<Openers>,
    known: Mutex<HashMap<TenantId, Known>>,
}

/// What a tenant has, in the order of the providers' names.
#[derive(Clone)]
struct Known {
    read_at: DateTime<Utc>,
    providers: Arc<[Opened]>,
}

impl Models {
    /// With a breaker of these settings for each provider and model.
    pub fn new(platform: Platform, breaker: BreakerSettings, openers: Option<Openers>) -> Self {
        Self { platform, circuits: Circuits::new(breaker), openers, known: Mutex::default() }
    }

    /// One provider, which is always asked, once.
    pub fn of(provider: Arc<dyn ModelProvider>, default_model: &str) -> Arc<Self> {
        let default_model = default_model.to_owned();
        let platform = Platform { provider, default_model, fallbacks: Vec::new(), is_hedged: false };
        let never = BreakerSettings { failures: 0, window: TimeDelta::zero(), cool_down: TimeDelta::zero() };
        Arc::new(Self::new(platform, never, None))
    }

    /// Measures what is now.
    pub fn observe(&self) {
        self.circuits.observe();
    }

    /// Whether what is known of a tenant's providers has to be read anew. Who is told so is the one to read it: the others
    /// go on with what there is, if there is anything.
    pub(crate) fn is_stale(&self, scope: &TenantScope, now: DateTime<Utc>) -> bool {
        if self.openers.is_none() {
            return false;
        }
        match self.known().get_mut(&scope.tenant_id()) {
            Some(known) if now - known.read_at < FRESH => false,
            Some(known) => {
                known.read_at = now;
                true
            }
            None => true,
        }
    }

    /// Reads a tenant's providers.
    pub(crate) async fn refresh(
        &self,
        scope: &TenantScope,
        view: &mut dyn TenantView,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let Some(openers) = &self.openers else { return Ok(()) };
        let stored = view.model_providers().catalogue().await?;
        let before = self.known().get(&scope.tenant_id()).map(|known| Arc::clone(&known.providers));
        let opened = stored.into_iter().map(|(provider, key)| {
            // What has not changed keeps its connections and its turns.
            let same = before.iter().flat_map(|before| before.iter());
            let mut same = same.filter(|opened| opened.is(&provider));
            same.next().cloned().unwrap_or_else(|| Opened::open(openers, scope, provider, key.as_deref()))
        });
        let providers = opened.collect();
        let mut known = self.known();
        if known.len() >= MAX_TENANTS {
            known.retain(|_, known| now - known.read_at < FRESH);
        }
        known.insert(scope.tenant_id(), Known { read_at: now, providers });
        Ok(())
    }

    /// A tenant's providers were changed here: they are read anew before the next call.
    pub(crate) fn forget(&self, scope: &TenantScope) {
        if let Some(known) = self.known().get_mut(&scope.tenant_id()) {
            known.read_at = DateTime::UNIX_EPOCH;
        }
    }

    /// The platform's models that are known by name: its usual one first.
    pub(crate) fn of_platform(&self) -> Vec<CatalogueModel> {
        let Platform { default_model, fallbacks, is_hedged, .. } = &self.platform;
        let others = fallbacks.iter().filter(|name| *name != default_model);
        let names = [default_model].into_iter().chain(others);
        names
            .map(|name| CatalogueModel {
                fallbacks: fallbacks.iter().filter(|other| *other != name).cloned().collect(),
                is_hedged: *is_hedged,
                ..CatalogueModel::named(name)
            })
            .collect()
    }

    /// Who answers a tenant's calls of a model, or of the usual one.
    pub(crate) fn route(&self, scope: &TenantScope, model: Option<&str>) -> Arc<Route> {
        let known = self.known().get(&scope.tenant_id()).map(|known| Arc::clone(&known.providers));
        let own = known.as_deref().unwrap_or_default();
        let asked = model.unwrap_or(&self.platform.default_model);
        let Some((first, entry)) = self.own(own, asked) else { return Arc::new(self.platform(asked)) };
        let others = entry.fallbacks.iter().map(|name| match self.own(own, name) {
            Some((choice, _)) => choice,
            None => self.of_platform_named(name),
        });
        Arc::new(Route { choices: [first].into_iter().chain(others).collect(), is_hedged: entry.is_hedged })
    }

    fn own<'a>(&self, own: &'a [Opened], name: &str) -> Option<(Choice, &'a CatalogueModel)> {
        let (provider, model) = find(own.iter().map(|opened| &opened.entry), name)?;
        let opened = own.iter().find(|opened| opened.entry.id == provider.id)?;
        let circuit = self.circuits.of(Some(provider.id), &model.name);
        Some((opened.choice(model, circuit), model))
    }

    fn platform(&self, asked: &str) -> Route {
        let others = self.platform.fallbacks.iter().map(String::as_str).filter(|name| *name != asked);
        let choices = [asked].into_iter().chain(others).map(|name| self.of_platform_named(name));
        Route { choices: choices.collect(), is_hedged: self.platform.is_hedged }
    }

    fn of_platform_named(&self, name: &str) -> Choice {
        Choice {
            model: name.to_owned(),
            owner: None,
            provider: Arc::clone(&self.platform.provider),
            circuit: self.circuits.of(None, name),
            context: None,
            max_output: None,
            turns: None,
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<TenantId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
