//! Which adapter serves which port: the only place that knows both.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context as _;
use powerhouse_auth::{
    AeadEnvelopes, AeadSecretBox, Argon2Hasher, JwtIssuer, JwtVerifier, LocalMasterKeys, OpaqueRefreshTokens,
    SigningKeys, SystemSecrets,
};
use powerhouse_egress::HttpWebhookSender;
use powerhouse_http::Api;
use powerhouse_memory::{
    MemoryBreakers, MemoryCache, MemoryEventBus, MemoryRateLimiter, SystemClock, UuidV7Source,
};
use powerhouse_models::EgressOpener;
use powerhouse_ports::cache::Cache;
use powerhouse_ports::clock::{Clock, IdSource};
use powerhouse_ports::crypto::PasswordHasher;
use powerhouse_ports::events::EventBus;
use powerhouse_ports::limits::{Breakers, RateLimiter};
use powerhouse_ports::models::ProviderOpener;
use powerhouse_ports::platform::PlatformStore;
use powerhouse_ports::secrets::{SecretBox, SecretReader};
use powerhouse_ports::store::TenantStore;
use powerhouse_ports::tokens::{RefreshTokens, TokenIssuer, TokenVerifier};
use powerhouse_ports::tools::{ToolFactory, ToolMaker};
use powerhouse_ports::webhooks::WebhookSender;
use powerhouse_postgres::{Compared, PostgresStore, Roles};
use powerhouse_redis::{Redis, RedisBreakers, RedisCache, RedisEventBus, RedisRateLimiter};
use powerhouse_sandbox::{Bounds, RunCode};
use powerhouse_sqlite::SqliteStore;
use powerhouse_tools::{HttpGet, TenantTools};
use powerhouse_usecases::knowledge::{KnowledgeSearch, Searcher};
use powerhouse_usecases::runner::{Housekeeper, Pulse, Toolbox, Worker, Workshop};
use powerhouse_usecases::{
    Embedding, models, schedules, secrets as vault, selection, sessions, tools, webhooks,
};
use tokio::sync::Notify;
use url::Url;
use zeroize::Zeroizing;

mod slices;

use slices::{api, memory_tools, models_slice, submit_run};

use crate::embeddings;
use crate::model::Chosen;
use crate::settings::{Database, Postgres, Settings};

/// Buckets of the rate limiter that are kept: some 100 bytes each.
const MAX_BUCKETS: usize = 100_000;
/// Bytes of the cache in the process.
const MAX_CACHED: u64 = 64 * 1024 * 1024;
/// No replica gives a value that was changed longer ago; what this replica has changed, it never gives.
const STALE_FOR: Duration = Duration::from_secs(5);

/// The product, wired.
pub(crate) struct Product {
    pub(crate) api: Api,
    pub(crate) worker: Worker,
    pub(crate) housekeeper: Housekeeper,
    pub(crate) scheduler: schedules::Scheduler,
    pub(crate) deliverer: webhooks::Deliverer,
    pub(crate) learner: selection::Learner,
    /// What is measured when somebody looks.
    pub(crate) observed: Vec<Observe>,
}

/// Measures what is now.
pub(crate) type Observe = Arc<dyn Fn() + Send + Sync>;

/// What the slices share.
struct Ports {
    store: Arc<dyn TenantStore>,
    platform: Arc<dyn PlatformStore>,
    hasher: Arc<dyn PasswordHasher>,
    issuer: Arc<dyn TokenIssuer>,
    verifier: Arc<dyn TokenVerifier>,
    refresh: Arc<dyn RefreshTokens>,
    bus: Arc<dyn EventBus>,
    limiter: Arc<dyn RateLimiter>,
    callers: sessions::Callers,
    redis: Option<Arc<AtomicBool>>,
    wake: Arc<Notify>,
    pulse: Arc<Pulse>,
    /// Seals the answers that are kept for requests which come again.
    answers: Arc<dyn SecretBox>,
    /// Seals the secrets of tenants.
    vault: vault::Vault,
    /// Makes tools of what tenants declare.
    maker: Arc<dyn ToolMaker>,
    sender: Arc<dyn WebhookSender>,
    wake_deliverer: Arc<Notify>,
    selectors: Arc<selection::Selectors>,
    /// Makes vectors of texts, unless nobody does.
    embedding: Option<Embedding>,
    /// Searches documents.
    searcher: Searcher,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
}

/// The stores, whatever they are made of.
#[derive(Clone)]
pub(crate) struct Stores {
    tenants: Arc<dyn TenantStore>,
    pub(crate) platform: Arc<dyn PlatformStore>,
    observe: Observe,
}

impl Stores {
    pub(crate) fn tenants(&self) -> &Arc<dyn TenantStore> {
        &self.tenants
    }

    fn both<S: TenantStore + PlatformStore + 'static>(store: S, observe: fn(&S)) -> Self {
        let store = Arc::new(store);
        let observed = Arc::clone(&store);
        Self {
            tenants: Arc::clone(&store) as _,
            platform: store,
            observe: Arc::new(move || observe(&observed)),
        }
    }
}

/// Opens the database: PostgreSQL, or SQLite in the data folder, which is made and brought up to date if need be.
pub(crate) async fn open_stores(settings: &Settings) -> anyhow::Result<Stores> {
    make_folder(&settings.data).with_context(|| {
        format!("the data folder {} cannot be made: see data.folder", settings.data.display())
    })?;
    match &settings.database {
        Database::Sqlite => {
            let file = settings.sqlite();
            let store = SqliteStore::open(&file).await;
            store
                .map(|store| Stores::both(store, SqliteStore::observe))
                .with_context(|| format!("{} cannot be used", file.display()))
        }
        Database::Postgres(Postgres { application, platform, pool, .. }) => {
            let store = PostgresStore::open(application, platform, *pool).await;
            store
                .map(|store| Stores::both(store, PostgresStore::observe))
                .context("PostgreSQL cannot be used: see database.url, `powerhouse migrate`")
        }
    }
}

/// Brings the schema up to date; on PostgreSQL as its owner, who makes the roles too. Says what was done.
pub(crate) async fn migrate(settings: &Settings) -> anyhow::Result<String> {
    let Database::Postgres(postgres) = &settings.database else {
        open_stores(settings).await?;
        return Ok(format!("The schema of {} is up to date.", settings.sqlite().display()));
    };
    let owner = postgres.owner.as_ref().context("set database.owner_url: only the owner migrates")?;
    let (application, platform) = (role(&postgres.application)?, role(&postgres.platform)?);
    let roles = Roles::new((&application.0, application.1), (&platform.0, platform.1));
    let compared = match powerhouse_postgres::migrate(owner, &roles).await? {
        Compared::ByDatabase => "It compares vectors (pgvector).",
        Compared::ByUs => "It has no pgvector: servers compare vectors.",
        Compared::ByUsUntilCreated => {
            "Servers compare vectors: pgvector is there, but this owner may not create it. Have a superuser execute \
             `CREATE EXTENSION vector` in this database, and migrate again."
        }
    };
    Ok(format!("The schema of the database, with its roles, is up to date. {compared}"))
}

/// The name and the password in a database's URL.
fn role(url: &str) -> anyhow::Result<(String, Option<Zeroizing<String>>)> {
    let url: Url = url.parse().context("the database's URL cannot be read")?;
    let decoded = |text: &str| -> anyhow::Result<String> {
        Ok(percent_encoding::percent_decode_str(text)
            .decode_utf8()
            .context("the URL is not UTF-8")?
            .into_owned())
    };
    let password = url.password().map(decoded).transpose()?.map(Zeroizing::new);
    Ok((decoded(url.username())?, password))
}

/// Only its owner may look into it: it holds keys.
fn make_folder(path: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Wires the product on these stores.
pub(crate) async fn wire(settings: &Settings, stores: Stores, model: Chosen) -> anyhow::Result<Product> {
    let file = settings.signing_keys();
    let keys = SigningKeys::load_or_generate(&file)
        .with_context(|| format!("the signing keys in {} cannot be used", file.display()))?;
    let keys = Arc::new(keys);
    let ids: Arc<dyn IdSource> = Arc::new(UuidV7Source);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let shared = Shared::with(settings, &clock).await?;
    let callers = sessions::Callers { platform: Arc::clone(&stores.platform), cache: shared.cache };
    let vault = vault::Vault::new(
        Arc::clone(&stores.tenants),
        Arc::new(master_keys(settings)?),
        Arc::new(AeadEnvelopes),
        Arc::new(SystemSecrets),
        Arc::clone(&ids),
    );
    let embedding = embedding(settings, &stores.tenants, &clock)?;
    let searcher = Searcher::new(Arc::clone(&stores.tenants), embedding.clone());
    let reader: Arc<dyn SecretReader> = Arc::new(vault::VaultReader(vault.clone()));
    let ports = Ports {
        platform: stores.platform,
        store: stores.tenants,
        hasher: Arc::new(Argon2Hasher::new(settings.hashing)),
        issuer: Arc::new(JwtIssuer::new(Arc::clone(&keys), settings.tokens.clone(), Arc::clone(&ids))),
        verifier: Arc::new(JwtVerifier::new(keys, &settings.tokens)),
        refresh: Arc::new(OpaqueRefreshTokens),
        bus: shared.bus,
        limiter: shared.limiter,
        callers,
        redis: shared.redis,
        wake: Arc::new(Notify::new()),
        pulse: Pulse::new(Arc::clone(&clock), settings.wedged_after),
        answers: answers(settings)?,
        maker: Arc::new(TenantTools::new(&settings.tool_hosts, settings.tool_hosts_of.clone(), &reader)?),
        vault,
        sender: Arc::new(HttpWebhookSender::new(settings.webhook_hosts.clone())?),
        wake_deliverer: Arc::new(Notify::new()),
        selectors: Arc::default(),
        searcher,
        embedding,
        clock,
        ids,
    };
    let pulse = Arc::clone(&ports.pulse);
    let mut observed: Vec<Observe> = vec![stores.observe, shared.observe, Arc::new(move || pulse.observe())];
    let tools = tools::Resolver {
        built_in: Arc::new(toolbox(settings, &ports)?),
        made: Arc::new(made(settings, &ports)),
        maker: Arc::clone(&ports.maker),
    };
    let kind = model.kind;
    let (models, opener) = models(settings, &ports, shared.breakers, model)?;
    let watched = Arc::clone(&models);
    observed.push(Arc::new(move || watched.observe()));
    let catalogue = models_slice(&ports, &models, &opener);
    let api = api(settings, &ports, &tools, (kind, catalogue));
    let housekeeper = Housekeeper {
        platform: Arc::clone(&ports.platform),
        clock: Arc::clone(&ports.clock),
        kept: settings.kept,
    };
    let scheduler =
        schedules::Scheduler { platform: Arc::clone(&ports.platform), submit: submit_run(&ports, &tools) };
    let deliverer = webhooks::Deliverer {
        platform: Arc::clone(&ports.platform),
        store: Arc::clone(&ports.store),
        sender: Arc::clone(&ports.sender),
        secrets: webhooks::Secrets { vault: ports.vault.clone() },
        retries: settings.retries.clone(),
        clock: Arc::clone(&ports.clock),
        wake: Arc::clone(&ports.wake_deliverer),
    };
    let learner = selection::Learner {
        store: Arc::clone(&ports.store),
        clock: Arc::clone(&ports.clock),
        selectors: Arc::clone(&ports.selectors),
    };
    let workshop = Workshop {
        store: ports.store,
        platform: ports.platform,
        models,
        tools,
        bus: ports.bus,
        clock: ports.clock,
        ids: ports.ids,
        wake: ports.wake,
        pulse: ports.pulse,
        settings: settings.worker,
    };
    let worker = Worker { workshop: Arc::new(workshop) };
    Ok(Product { api, worker, housekeeper, scheduler, deliverer, learner, observed })
}

/// What replicas share through Redis, or one process has for itself.
struct Shared {
    bus: Arc<dyn EventBus>,
    limiter: Arc<dyn RateLimiter>,
    breakers: Arc<dyn Breakers>,
    cache: Arc<dyn Cache>,
    redis: Option<Arc<AtomicBool>>,
    observe: Observe,
}

impl Shared {
    async fn with(settings: &Settings, clock: &Arc<dyn Clock>) -> anyhow::Result<Self> {
        let bus = Arc::new(MemoryEventBus::default());
        let limiter = Arc::new(MemoryRateLimiter::new(Arc::clone(clock), MAX_BUCKETS));
        let breakers = Arc::new(MemoryBreakers::new(settings.model.breaker));
        let Some(redis) = &settings.redis else {
            let cache = Arc::new(MemoryCache::new(MAX_CACHED, STALE_FOR));
            return Ok(Self { bus, limiter, breakers, observe: observe(&cache), cache, redis: None });
        };
        // Half of the time in each tier: what the first takes from the second may be as old as that.
        let near = Arc::new(MemoryCache::new(MAX_CACHED, STALE_FOR / 2));
        let redis = Redis::new(&redis.url, redis.connections).await.context("see redis.url")?;
        Ok(Self {
            bus: Arc::new(RedisEventBus::new(redis.clone(), bus)),
            limiter: Arc::new(RedisRateLimiter::new(redis.clone(), limiter)),
            breakers: Arc::new(RedisBreakers::new(redis.clone(), settings.model.breaker, breakers)),
            observe: observe(&near),
            cache: Arc::new(RedisCache::new(redis.clone(), near, STALE_FOR / 2)),
            redis: Some(redis.watch()),
        })
    }
}

fn observe(cache: &Arc<MemoryCache>) -> Observe {
    let cache = Arc::clone(cache);
    Arc::new(move || cache.observe())
}

fn toolbox(settings: &Settings, ports: &Ports) -> anyhow::Result<Toolbox> {
    let http = settings.http_allow.clone().map(HttpGet::new).transpose()?;
    let mut tools = powerhouse_tools::built_in(Arc::clone(&ports.clock), http);
    tools.push(Arc::new(RunCode::new(Bounds::default())));
    Ok(tools.into_iter().map(|tool| (tool.spec().name, tool)).collect::<BTreeMap<_, _>>())
}

/// The platform's tools that know whose run calls them.
fn made(settings: &Settings, ports: &Ports) -> tools::Factories {
    let mut made: Vec<Arc<dyn ToolFactory>> =
        vec![Arc::new(KnowledgeSearch { searcher: ports.searcher.clone() })];
    made.extend(memory_tools(settings, ports));
    made.into_iter().map(|factory| (factory.spec().name, factory)).collect()
}

/// Who answers model calls, and how tenants' own providers are called.
fn models(
    settings: &Settings,
    ports: &Ports,
    breakers: Arc<dyn Breakers>,
    chosen: Chosen,
) -> anyhow::Result<(Arc<models::Models>, Arc<dyn ProviderOpener>)> {
    let platform = models::Platform {
        provider: chosen.provider,
        default_model: chosen.default_model,
        fallbacks: settings.model.fallbacks.clone(),
        is_hedged: settings.model.is_hedged,
    };
    let opener: Arc<dyn ProviderOpener> = Arc::new(EgressOpener::new(settings.model_hosts.clone())?);
    let reader = Arc::new(vault::VaultReader(ports.vault.clone()));
    let openers = models::Openers { opener: Arc::clone(&opener), reader };
    Ok((Arc::new(models::Models::new(platform, breakers, Some(openers))), opener))
}

fn embedding(
    settings: &Settings,
    store: &Arc<dyn TenantStore>,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Option<Embedding>> {
    let chosen = embeddings::choose(&settings.embeddings, &settings.model)?;
    let embedding = |embeddings::Chosen { embedder, model, .. }| {
        Embedding::new(embedder, model, Arc::clone(store), Arc::clone(clock))
    };
    Ok(chosen.map(embedding))
}

fn answers(settings: &Settings) -> anyhow::Result<Arc<dyn SecretBox>> {
    let file = settings.secrets_key();
    let sealer = AeadSecretBox::load_or_generate(&file)
        .with_context(|| format!("the key of kept answers in {} cannot be used", file.display()))?;
    Ok(Arc::new(sealer))
}

/// The master keys: as configured, or in a file, with a new one in it if there is none.
pub(crate) fn master_keys(settings: &Settings) -> anyhow::Result<LocalMasterKeys> {
    if let Some(keys) = &settings.master_key {
        return LocalMasterKeys::new(keys).context("see secrets.master_key");
    }
    let file = settings.master_keys();
    LocalMasterKeys::load_or_generate(&file)
        .with_context(|| format!("the master keys in {} cannot be used", file.display()))
}
