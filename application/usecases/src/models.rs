//! Models: who answers a call, in which order, and who is left alone for a while.
//!
//! A tenant's own providers go first, then the platform's. What a tenant has is kept in the process for a few seconds, so
//! that a call costs no round trip.

mod circuits;
mod own;
mod race;
mod route;
mod unveiled;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use powerhouse_domain::access::TenantScope;
use powerhouse_domain::catalogue::{CatalogueModel, find};
use powerhouse_domain::ids::TenantId;
use powerhouse_domain::masking::Classes;
use powerhouse_ports::limits::Breakers;
use powerhouse_ports::models::{ModelProvider, ProviderOpener};
use powerhouse_ports::secrets::SecretReader;
use powerhouse_ports::store::{StoreError, TenantView};

use circuits::{Circuits, NeverOpen};
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
#[derive(Clone)]
pub struct Openers {
    /// Opens them.
    pub opener: Arc<dyn ProviderOpener>,
    /// Reads their keys.
    pub reader: Arc<dyn SecretReader>,
}

/// Finds who answers.
pub struct Models {
    platform: Platform,
    circuits: Circuits,
    /// None where tenants have no providers of their own.
    openers: Option<Openers>,
    known: Mutex<HashMap<TenantId, Known>>,
}

/// What a tenant has: providers, in the order of their names.
#[derive(Clone)]
struct Known {
    read_at: DateTime<Utc>,
    providers: Arc<[Opened]>,
    /// What no model is told.
    masked: Classes,
}

impl Models {
    /// With these breakers, one for each provider and model.
    pub fn new(platform: Platform, breakers: Arc<dyn Breakers>, openers: Option<Openers>) -> Self {
        Self { platform, circuits: Circuits::new(breakers), openers, known: Mutex::default() }
    }

    /// One provider, which is always asked, once.
    pub fn of(provider: Arc<dyn ModelProvider>, default_model: &str) -> Arc<Self> {
        let default_model = default_model.to_owned();
        let platform = Platform { provider, default_model, fallbacks: Vec::new(), is_hedged: false };
        Arc::new(Self::new(platform, Arc::new(NeverOpen), None))
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
        let masked = view.model_providers().masking().await?.classes;
        let before = self.known().get(&scope.tenant_id()).map(|known| Arc::clone(&known.providers));
        let opened = stored.into_iter().map(|(provider, secret)| {
            // What has not changed keeps its key and its turns.
            let mut same = before.iter().flat_map(|before| before.iter());
            let same = same.find(|opened| opened.is(&provider, secret));
            same.cloned().unwrap_or_else(|| Opened::open(openers, scope, provider, secret))
        });
        let providers = opened.collect();
        let mut known = self.known();
        if known.len() >= MAX_TENANTS {
            known.retain(|_, known| now - known.read_at < FRESH);
        }
        known.insert(scope.tenant_id(), Known { read_at: now, providers, masked });
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
        let known = self.known().get(&scope.tenant_id()).cloned();
        let (own, masked) = known.as_ref().map_or((&[][..], Classes::NONE), |k| (&*k.providers, k.masked));
        let asked = model.unwrap_or(&self.platform.default_model);
        let Some((first, entry)) = self.own(own, asked) else {
            return Arc::new(Route { masked, ..self.platform(asked) });
        };
        let others = entry.fallbacks.iter().map(|name| match self.own(own, name) {
            Some((choice, _)) => choice,
            None => self.of_platform_named(name),
        });
        let choices = [first].into_iter().chain(others).collect();
        Arc::new(Route { choices, is_hedged: entry.is_hedged, masked })
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
        Route { choices: choices.collect(), is_hedged: self.platform.is_hedged, masked: Classes::NONE }
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

#[cfg(test)]
mod tests {
    use powerhouse_domain::access::{Principal, Role};
    use powerhouse_domain::catalogue::{Provider, ProviderKind, ProviderModels, ProviderSettings};
    use powerhouse_domain::effects::FailureClass;
    use powerhouse_domain::ids::{ModelProviderId, SessionId, UserId};
    use powerhouse_domain::masking::MaskingRules;
    use powerhouse_domain::secrets::SecretValue;
    use powerhouse_ports::models::{
        MockDeltaSink, MockModelProvider, MockProviderOpener, ModelError, ProviderRefused,
    };
    use powerhouse_ports::secrets::{MockSecretReader, SecretUnreadable};
    use powerhouse_ports::store::MockTenantTx;
    use uuid::Uuid;

    use super::*;

    fn scope() -> TenantScope {
        let id = Uuid::from_u128(1);
        let (tenant, user) = (TenantId::from_uuid(id), UserId::from_uuid(id));
        Principal::verified(tenant, user, SessionId::from_uuid(id), Role::Owner).scope()
    }

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap()
    }

    fn provider(number: u128, name: &str, models: Vec<CatalogueModel>) -> Provider {
        Provider {
            id: ModelProviderId::from_uuid(Uuid::from_u128(number)),
            name: name.parse().unwrap(),
            settings: ProviderSettings {
                kind: ProviderKind::OpenAi,
                base_url: "https://llm.example.org/v1".parse().unwrap(),
                key: Some("llm".parse().unwrap()),
                cache_prompts: false,
                models: ProviderModels::new(models).unwrap(),
            },
            created_by: UserId::from_uuid(Uuid::nil()),
            created_at: at(0),
            version: 1,
        }
    }

    /// Models with these openers; the platform has `house`, and `shed` in its place.
    fn models(opener: MockProviderOpener, reader: MockSecretReader) -> Models {
        let platform = Platform {
            provider: Arc::new(MockModelProvider::new()),
            default_model: "house".into(),
            fallbacks: vec!["shed".into()],
            is_hedged: false,
        };
        let openers = Openers { opener: Arc::new(opener), reader: Arc::new(reader) };
        Models::new(platform, Arc::new(NeverOpen), Some(openers))
    }

    /// A reader that is asked so often.
    fn reading(times: usize) -> MockSecretReader {
        let mut reader = MockSecretReader::new();
        reader.expect_read().times(times).returning(|_, name| {
            assert_eq!(name.as_str(), "llm");
            Ok(SecretValue::new("sk-canary".to_owned().into()).unwrap())
        });
        reader
    }

    /// An opener that is asked so often, for providers that refuse.
    fn opening(times: usize) -> MockProviderOpener {
        let mut opener = MockProviderOpener::new();
        opener.expect_open().times(times).returning(|_, key| {
            assert_eq!(key.as_deref().map(String::as_str), Some("sk-canary"));
            let mut provider = MockModelProvider::new();
            provider.expect_complete().returning(|_, _, _, _| Err(ModelError::Rejected("it refuses".into())));
            Ok(Arc::new(provider))
        });
        opener
    }

    /// What a tenant has, each with a key of this version.
    fn stored(providers: Vec<Provider>, secret: Option<u64>) -> MockTenantTx {
        let mut tx = MockTenantTx::default();
        let catalogue: Vec<_> = providers.into_iter().map(|provider| (provider, secret)).collect();
        tx.model_providers.expect_catalogue().returning(move || Ok(catalogue.clone()));
        tx.model_providers.expect_masking().returning(|| Ok(MaskingRules::default()));
        tx
    }

    /// Why a model does not answer.
    async fn refusal(models: &Models, name: &str) -> ModelError {
        let choice = models.route(&scope(), Some(name)).choices[0].clone();
        let request = powerhouse_domain::model::ModelRequest::answer("answer", Vec::new());
        let effect = powerhouse_domain::effects::EffectRequest::Model(request.clone());
        let run = "run_01h455vb4pex5vsknk084sn02q".parse().unwrap();
        let key = powerhouse_domain::idempotency::CallKey::of(run, &"0".parse().unwrap(), &effect);
        let sink = Box::new(MockDeltaSink::new());
        choice.provider.complete(&key, name, &request, sink).await.unwrap_err()
    }

    fn routed(models: &Models, model: Option<&str>) -> Vec<(String, Option<String>)> {
        let route = models.route(&scope(), model);
        route.choices.iter().map(|choice| (choice.model.clone(), choice.owner.clone())).collect()
    }

    fn own(model: &str, owner: &str) -> (String, Option<String>) {
        (model.to_owned(), Some(owner.to_owned()))
    }

    fn platforms(model: &str) -> (String, Option<String>) {
        (model.to_owned(), None)
    }

    #[tokio::test]
    async fn a_tenants_own_go_first_with_those_who_stand_in_for_them() {
        let models = models(opening(0), reading(0));
        assert_eq!(routed(&models, None), [platforms("house"), platforms("shed")]);
        let large = CatalogueModel {
            fallbacks: vec!["west/small".into(), "house".into(), "gpt-5".into()],
            is_hedged: true,
            max_concurrent: Some(3),
            ..CatalogueModel::named("large")
        };
        let catalogue = vec![
            provider(1, "east", vec![large]),
            provider(2, "west", vec![CatalogueModel::named("small"), CatalogueModel::named("house")]),
        ];
        models.refresh(&scope(), &mut stored(catalogue, Some(1)), at(0)).await.unwrap();
        let expected = [own("large", "east"), own("small", "west"), own("house", "west"), platforms("gpt-5")];
        assert_eq!(routed(&models, Some("large")), expected);
        let route = models.route(&scope(), Some("large"));
        let turns = route.choices[0].turns.as_ref().map(|turns| turns.available_permits());
        assert_eq!((turns, route.is_hedged), (Some(3), true));
        assert_eq!(
            routed(&models, None),
            [own("house", "west")],
            "also where it has the name of the usual one"
        );
        assert_eq!(routed(&models, Some("other")), [platforms("other"), platforms("shed")]);
    }

    #[tokio::test]
    async fn a_key_is_read_when_it_is_first_needed_and_again_when_it_or_its_provider_changes() {
        let models = models(opening(3), reading(3));
        let first = provider(1, "east", vec![CatalogueModel::named("m")]);
        let changed = Provider { version: 2, ..first.clone() };
        for (provider, secret) in [(&first, 1), (&first, 1), (&first, 2), (&changed, 2), (&changed, 2)] {
            models.refresh(&scope(), &mut stored(vec![provider.clone()], Some(secret)), at(0)).await.unwrap();
            assert_eq!(refusal(&models, "m").await.class(), FailureClass::Rejected);
        }
    }

    #[tokio::test]
    async fn one_reads_anew_what_is_old_and_all_what_was_changed_here() {
        let models = models(opening(0), reading(0));
        assert!(models.is_stale(&scope(), at(0)) && models.is_stale(&scope(), at(0)), "nothing is known");
        models.refresh(&scope(), &mut stored(Vec::new(), None), at(0)).await.unwrap();
        assert!(!models.is_stale(&scope(), at(4)));
        assert!(models.is_stale(&scope(), at(5)));
        assert!(!models.is_stale(&scope(), at(5)), "somebody reads it");
        models.forget(&scope());
        assert!(models.is_stale(&scope(), at(5)));
    }

    #[tokio::test]
    async fn a_provider_that_cannot_be_called_says_why_and_nothing_of_its_key() {
        let mut opener = MockProviderOpener::new();
        opener
            .expect_open()
            .returning(|_, _| Err(ProviderRefused("the URL must begin with https://".into())));
        let models = models(opener, reading(1));
        let own = vec![provider(1, "east", vec![CatalogueModel::named("m")])];
        models.refresh(&scope(), &mut stored(own, Some(1)), at(0)).await.unwrap();
        let error = refusal(&models, "m").await;
        assert_eq!(error.class(), FailureClass::Rejected);
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }

    #[tokio::test]
    async fn without_its_key_a_provider_is_not_asked_until_there_is_one() {
        let mut reader = MockSecretReader::new();
        reader.expect_read().times(1).returning(|_, name| Err(SecretUnreadable::Missing(name.clone())));
        reader.expect_read().returning(|_, _| Ok(SecretValue::new("sk-canary".to_owned().into()).unwrap()));
        let models = models(opening(1), reader);
        let own = vec![provider(1, "east", vec![CatalogueModel::named("m")])];
        models.refresh(&scope(), &mut stored(own, None), at(0)).await.unwrap();
        let error = refusal(&models, "m").await;
        assert_eq!(error.class(), FailureClass::Rejected);
        assert!(error.to_string().contains("no secret `llm`"), "{error}");
        assert!(refusal(&models, "m").await.to_string().contains("refuses"));
    }
}
