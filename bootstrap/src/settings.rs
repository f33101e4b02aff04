//! The configuration: defaults, then the environment's usual names, then a file, then `POWERHOUSE__…`.
//!
//! Every setting is a row of [`KNOWN`]. All mistakes are named at once, and secrets are never shown.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{Months, TimeDelta};
use config::{Config, Environment, File, FileFormat};
use powerhouse_auth::{HashingLimits, LocalMasterKeys, TokenProfile};
use powerhouse_domain::breaker::BreakerSettings;
use powerhouse_domain::ids::TenantId;
use powerhouse_domain::tenants::Plan;
use powerhouse_domain::webhooks::Retries;
use powerhouse_egress::Hosts;
use powerhouse_models::ApiKey;
use powerhouse_ports::limits::Rate;
use powerhouse_postgres::{PoolSettings, Pooler};
use powerhouse_tools::AllowList;
use powerhouse_usecases::runner::{self, Retention};
use tracing_subscriber::EnvFilter;
use url::Url;
use zeroize::Zeroizing;

mod known;
mod reader;

use known::{API_KEY, EMBEDDINGS_KEY, KNOWN, Known, MASTER_KEY, OLD_MASTER_KEYS, SECRETS};
use reader::Reader;

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "powerhouse.toml";

/// The settings, checked.
pub(crate) struct Settings {
    pub(crate) address: SocketAddr,
    pub(crate) grace: Duration,
    pub(crate) anonymous: Rate,
    /// Where operations are served, if anywhere.
    pub(crate) operations: Option<SocketAddr>,
    pub(crate) data: PathBuf,
    pub(crate) database: Database,
    /// The answers to requests with a key.
    pub(crate) answers_kept: TimeDelta,
    pub(crate) kept: Retention,
    pub(crate) redis: Option<Redis>,
    pub(crate) sign_up_plan: Plan,
    pub(crate) tokens: TokenProfile,
    pub(crate) hashing: HashingLimits,
    pub(crate) model: Model,
    pub(crate) embeddings: Embeddings,
    /// The master key and those before, by commas; in a file when there is none.
    pub(crate) master_key: Option<Zeroizing<String>>,
    pub(crate) worker: runner::Settings,
    /// After how long without a try the worker is wedged.
    pub(crate) wedged_after: Duration,
    /// Without a host there is no tool.
    pub(crate) http_allow: Option<AllowList>,
    /// Hosts of tenants' tools that the operator answers for.
    pub(crate) tool_hosts: Hosts,
    /// The same, of single tenants.
    pub(crate) tool_hosts_of: BTreeMap<TenantId, Hosts>,
    /// When deliveries to webhooks are tried again.
    pub(crate) retries: Retries,
    /// Hosts of tenants' providers of models that the operator answers for.
    pub(crate) model_hosts: Hosts,
    /// Hosts of webhooks that the operator answers for.
    pub(crate) webhook_hosts: Hosts,
    pub(crate) log: Log,
}

impl Settings {
    pub(crate) fn sqlite(&self) -> PathBuf {
        self.data.join("powerhouse.db")
    }

    pub(crate) fn signing_keys(&self) -> PathBuf {
        self.data.join("signing-keys.pem")
    }

    pub(crate) fn secrets_key(&self) -> PathBuf {
        self.data.join("secrets.key")
    }

    pub(crate) fn master_keys(&self) -> PathBuf {
        self.data.join("master.keys")
    }

    pub(crate) fn owner_password(&self) -> PathBuf {
        self.data.join("owner-password")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provider {
    /// The API whose key or URL is set, else a local Ollama, else the offline model.
    Auto,
    OpenAiCompatible,
    Anthropic,
    Offline,
}

/// Where the data is.
pub(crate) enum Database {
    /// In a file of the data folder.
    Sqlite,
    Postgres(Postgres),
}

/// What replicas share.
pub(crate) struct Redis {
    pub(crate) url: Zeroizing<String>,
    pub(crate) connections: usize,
}

/// One database, by the roles that use it.
pub(crate) struct Postgres {
    pub(crate) application: Zeroizing<String>,
    pub(crate) platform: Zeroizing<String>,
    /// Not needed for serving.
    pub(crate) owner: Option<Zeroizing<String>>,
    pub(crate) pool: PoolSettings,
}

pub(crate) struct Model {
    pub(crate) provider: Provider,
    pub(crate) base_url: Option<Url>,
    pub(crate) api_key: Option<ApiKey>,
    pub(crate) name: Option<String>,
    pub(crate) cache_prompts: bool,
    pub(crate) fallbacks: Vec<String>,
    pub(crate) is_hedged: bool,
    pub(crate) breaker: BreakerSettings,
}

impl Model {
    /// Whether somebody has said which API answers.
    pub(crate) fn is_configured(&self) -> bool {
        self.api_key.is_some() || self.base_url.is_some()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EmbeddingsProvider {
    /// The API that is named, else OpenAI where it is the model's, else the offline embedder.
    Auto,
    OpenAiCompatible,
    Offline,
    None,
}

/// Who turns texts into vectors.
pub(crate) struct Embeddings {
    pub(crate) provider: EmbeddingsProvider,
    pub(crate) base_url: Option<Url>,
    pub(crate) api_key: Option<ApiKey>,
    pub(crate) model: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Auto,
    Json,
    Pretty,
}

pub(crate) struct Log {
    pub(crate) format: LogFormat,
    pub(crate) filter: String,
}

/// Everything that is wrong with a configuration.
#[derive(Debug)]
pub(crate) struct Mistakes(Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration cannot be used:")?;
        self.0.iter().try_for_each(|mistake| write!(f, "\n  - {mistake}"))
    }
}

impl std::error::Error for Mistakes {}

/// The configuration as it was read, not yet checked.
pub(crate) struct Layers(Config);

impl Layers {
    /// Reads the layers: `file`, or the default file if it is there, and the environment.
    pub(crate) fn read(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Mistakes> {
        let unreadable = |error: config::ConfigError| Mistakes(vec![error.to_string()]);
        let environment: HashMap<String, String> = environment
            .into_iter()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let mut builder = Config::builder();
        for &Known { key, default, .. } in KNOWN {
            let usual = match key {
                API_KEY => environment.get("OPENAI_API_KEY"),
                "redis.url" => environment.get("REDIS_URL"),
                "database.url" => environment.get("DATABASE_URL"),
                "model.base_url" => environment.get("OPENAI_BASE_URL"),
                _ => None,
            };
            let value = usual.map_or(default, String::as_str);
            builder = builder.set_default(key, value).map_err(unreadable)?;
        }
        let source = File::new(&file_name(file)?, FileFormat::Toml).required(file.is_some());
        let variables = Environment::with_prefix("POWERHOUSE")
            .prefix_separator("__")
            .separator("__")
            .source(Some(environment.clone()));
        let mut builder = builder.add_source(source).add_source(variables);
        let config = builder.clone().build().map_err(unreadable)?;
        if !is_anthropic(&config, &environment) {
            return Ok(Self(config));
        }
        let usual = |name| environment.get(name).cloned().unwrap_or_default();
        for (key, value) in [
            ("model.provider", "anthropic".to_owned()),
            (API_KEY, usual("ANTHROPIC_API_KEY")),
            ("model.base_url", usual("ANTHROPIC_BASE_URL")),
        ] {
            builder = builder.set_default(key, value).map_err(unreadable)?;
        }
        builder.build().map(Self).map_err(unreadable)
    }

    /// Every setting with its value, where it is from, and what it is for, as TOML.
    pub(crate) fn effective(&self) -> String {
        let mut shown = String::new();
        let mut reader = Reader::new(&self.0);
        for &Known { key, about, .. } in KNOWN {
            let value = match reader.text(key) {
                Some(value) if SECRETS.contains(&key) && !value.is_empty() => "*****".to_owned(),
                value => value.unwrap_or_default(),
            };
            let origin = reader.origin(key);
            let _ = writeln!(shown, "{key} = {value:?}  # {about}{origin}");
        }
        shown.trim_end().to_owned()
    }

    /// The settings, or everything that is wrong with them.
    pub(crate) fn settings(&self) -> Result<Settings, Mistakes> {
        let mut reader = Reader::new(&self.0);
        reader.refuse_unknown(KNOWN.iter().map(|known| known.key));
        let settings = settings(&mut reader);
        let mistakes = reader.into_mistakes();
        match settings {
            Some(settings) if mistakes.is_empty() => Ok(settings),
            _ => Err(Mistakes(mistakes)),
        }
    }
}

/// Whether Anthropic's usual names count and not OpenAI's: where it is the provider, or where nothing else is named. So no key
/// goes to another's URL.
fn is_anthropic(config: &Config, environment: &HashMap<String, String>) -> bool {
    let is_empty = |key| config.get_string(key).is_ok_and(|value| value.is_empty());
    match config.get_string("model.provider").as_deref() {
        Ok("anthropic") => true,
        Ok("auto") => {
            let has_key = environment.get("ANTHROPIC_API_KEY").is_some_and(|key| !key.is_empty());
            has_key && is_empty(API_KEY) && is_empty("model.base_url")
        }
        _ => false,
    }
}

fn file_name(file: Option<&Path>) -> Result<String, Mistakes> {
    let path = file.unwrap_or(Path::new(DEFAULT_FILE));
    let name = path.to_str().ok_or_else(|| Mistakes(vec!["the file's name is not UTF-8".to_owned()]))?;
    Ok(name.to_owned())
}

/// Reads everything before it gives up, so that every mistake is found.
fn settings(reader: &mut Reader<'_>) -> Option<Settings> {
    let address =
        reader.parsed::<SocketAddr>("server.address", "an address with a port, such as 127.0.0.1:8080");
    let grace = reader.seconds("server.grace_seconds", 0, 3_600);
    let burst = reader.number("server.anonymous_burst", 1, 1_000_000);
    let per_minute = reader.number("server.anonymous_per_minute", 1, 1_000_000);
    let operations = reader.checked("operations.address", |text| match text {
        "" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|_| "must be an address with a port, such as 127.0.0.1:9464, or empty".to_owned()),
    });
    let data = reader.checked("data.folder", |text| {
        if text.is_empty() { Err("must name a folder".to_owned()) } else { Ok(PathBuf::from(text)) }
    });
    let database = database(reader);
    let idempotency_hours = reader.number("retention.idempotency_hours", 1, 8_784);
    let kept = retention(reader);
    let redis = redis(reader);
    let sign_up_plan = reader.parsed("tenants.plan", "free, team or enterprise");
    let tokens = tokens(reader);
    let at_once = reader.number("passwords.at_once", 1, 256);
    let waiting = reader.number("passwords.waiting", 0, 100_000);
    let model = model(reader);
    let embeddings = embeddings(reader);
    let master_key = master_key(reader);
    let worker = worker(reader);
    let wedged_after = wedged_after(database.as_ref(), worker.as_ref());
    let http_allow = reader.checked("tools.http_allow", |text| {
        let hosts: Vec<&str> = entries(text).collect();
        if hosts.is_empty() {
            return Ok(None);
        }
        AllowList::new(hosts).map(Some).map_err(|error| error.to_string())
    });
    let tool_hosts = hosts(reader, "tools.allow");
    let tool_hosts_of = reader.checked("tools.allow_for", hosts_of_tenants);
    let retries = reader.checked("webhooks.retries", retries);
    let webhook_hosts = hosts(reader, "webhooks.allow");
    let model_hosts = hosts(reader, "model.allow");
    let log = log(reader);
    Some(Settings {
        address: address?,
        grace: grace?,
        anonymous: Rate { burst: burst?, per_minute: per_minute? },
        operations: operations?,
        data: data?,
        database: database?,
        answers_kept: TimeDelta::hours(idempotency_hours?.into()),
        kept: kept?,
        redis: redis?,
        sign_up_plan: sign_up_plan?,
        tokens: tokens?,
        hashing: HashingLimits {
            at_once: NonZeroUsize::new(as_usize(at_once?))?,
            waiting: as_usize(waiting?),
        },
        model: model?,
        embeddings: embeddings?,
        master_key: master_key?,
        wedged_after: wedged_after?,
        worker: worker?,
        http_allow: http_allow?,
        tool_hosts: tool_hosts?,
        tool_hosts_of: tool_hosts_of?,
        retries: retries?,
        model_hosts: model_hosts?,
        webhook_hosts: webhook_hosts?,
        log: log?,
    })
}

/// What stands between commas.
fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

fn hosts(reader: &mut Reader<'_>, key: &str) -> Option<Hosts> {
    reader.checked(key, |text| Hosts::new(entries(text)).map_err(|error| error.to_string()))
}

/// Hosts of single tenants: `tenant_…=host`, by commas.
fn hosts_of_tenants(text: &str) -> Result<BTreeMap<TenantId, Hosts>, String> {
    let mut all = BTreeMap::<TenantId, Hosts>::new();
    for entry in entries(text) {
        let (tenant, host) = entry.split_once('=').ok_or("must be entries `tenant_…=host`, by commas")?;
        let tenant = tenant.trim().parse().map_err(|_| format!("{tenant:?} is no tenant's id"))?;
        let host = Hosts::new([host.trim()]).map_err(|error| error.to_string())?;
        let hosts = all.entry(tenant).or_default();
        *hosts = hosts.and(&host);
    }
    Ok(all)
}

fn retries(text: &str) -> Result<Retries, String> {
    let pauses = entries(text).map(|entry| entry.parse().map(Duration::from_secs)).collect::<Result<_, _>>();
    let pauses = pauses.map_err(|_| "must be whole numbers of seconds, by commas".to_owned())?;
    Retries::new(pauses).map_err(|error| format!("must be {error}"))
}

fn as_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn database(reader: &mut Reader<'_>) -> Option<Database> {
    let mut url = |key| {
        reader.checked(key, |text| match text {
            "" => Ok(None),
            text if text.starts_with("postgres://") || text.starts_with("postgresql://") => {
                Ok(Some(Zeroizing::new(text.to_owned())))
            }
            _ => Err("must be a URL that starts with postgres://".to_owned()),
        })
    };
    let (application, platform, owner) =
        (url("database.url"), url("database.platform_url"), url("database.owner_url"));
    let connections = reader.number("database.connections", 1, 10_000);
    let pooler =
        reader.one_of("database.pooler", [("none", Pooler::None), ("transaction", Pooler::Transaction)]);
    let acquire = reader.seconds("database.acquire_seconds", 1, 600);
    let statement = reader.seconds("database.statement_seconds", 1, 600);
    match (application?, platform?) {
        (None, None) => Some(Database::Sqlite),
        (Some(application), Some(platform)) => {
            let pool = PoolSettings {
                connections: connections?,
                acquire: acquire?,
                statement: statement?,
                pooler: pooler?,
                ..PoolSettings::default()
            };
            Some(Database::Postgres(Postgres { application, platform, owner: owner?, pool }))
        }
        _ => reader.mistake("database.url", "and `database.platform_url` must both be set, or neither"),
    }
}

/// Nothing said is for ever, and so is 0.
fn retention(reader: &mut Reader<'_>) -> Option<Retention> {
    let runs = reader.number("retention.runs_days", 0, 36_500);
    let usage = reader.number("retention.usage_months", 0, 1_200);
    let audit = reader.number("retention.audit_months", 0, 1_200);
    let limited = |number: u32| Some(number).filter(|number| *number > 0);
    Some(Retention {
        runs: limited(runs?).map(|days| TimeDelta::days(days.into())),
        usage: limited(usage?).map(Months::new),
        audit: limited(audit?).map(Months::new),
    })
}

#[expect(clippy::option_option, reason = "nothing for a mistake, and no Redis is no mistake")]
fn redis(reader: &mut Reader<'_>) -> Option<Option<Redis>> {
    let url = reader.checked("redis.url", |text| match text {
        "" => Ok(None),
        text if ["redis://", "rediss://"].iter().any(|scheme| text.starts_with(scheme)) => {
            Ok(Some(Zeroizing::new(text.to_owned())))
        }
        _ => Err("must be a URL that starts with redis://, or with rediss:// for TLS".to_owned()),
    });
    let connections = reader.number("redis.connections", 1, 10_000);
    let (url, connections) = (url?, as_usize(connections?));
    Some(url.map(|url| Redis { url, connections }))
}

fn tokens(reader: &mut Reader<'_>) -> Option<TokenProfile> {
    let issuer = reader.text("tokens.issuer");
    let audience = reader.text("tokens.audience");
    let lifetime = reader.seconds("tokens.lifetime_seconds", 1, 3_600);
    match TokenProfile::new(issuer?, audience?, lifetime?) {
        Ok(profile) => Some(profile),
        Err(error) => reader.mistake("tokens", error),
    }
}

fn model(reader: &mut Reader<'_>) -> Option<Model> {
    let provider = reader.one_of(
        "model.provider",
        [
            ("auto", Provider::Auto),
            ("openai_compatible", Provider::OpenAiCompatible),
            ("anthropic", Provider::Anthropic),
            ("offline", Provider::Offline),
        ],
    );
    let base_url = url(reader, "model.base_url");
    let api_key = reader.text(API_KEY);
    let name = reader.text("model.name");
    let cache_prompts = reader.one_of("model.cache_prompts", [("false", false), ("true", true)]);
    let fallbacks = reader.checked("model.fallbacks", |text| Ok(entries(text).map(str::to_owned).collect()));
    let is_hedged = reader.one_of("model.hedging", [("false", false), ("true", true)]);
    let failures = reader.number("model.breaker_failures", 0, 1_000);
    let window = reader.number("model.breaker_window_seconds", 1, 3_600);
    let cool_down = reader.number("model.breaker_cooldown_seconds", 1, 3_600);
    Some(Model {
        provider: provider?,
        base_url: base_url?,
        api_key: named(api_key?).map(ApiKey::new),
        name: named(name?),
        cache_prompts: cache_prompts?,
        fallbacks: fallbacks?,
        is_hedged: is_hedged?,
        breaker: BreakerSettings {
            failures: failures?,
            window: TimeDelta::seconds(window?.into()),
            cool_down: TimeDelta::seconds(cool_down?.into()),
        },
    })
}

fn embeddings(reader: &mut Reader<'_>) -> Option<Embeddings> {
    let provider = reader.one_of(
        "embeddings.provider",
        [
            ("auto", EmbeddingsProvider::Auto),
            ("openai_compatible", EmbeddingsProvider::OpenAiCompatible),
            ("offline", EmbeddingsProvider::Offline),
            ("none", EmbeddingsProvider::None),
        ],
    );
    let base_url = url(reader, "embeddings.base_url");
    let api_key = reader.text(EMBEDDINGS_KEY);
    let model = reader.text("embeddings.model");
    Some(Embeddings {
        provider: provider?,
        base_url: base_url?,
        api_key: named(api_key?).map(ApiKey::new),
        model: named(model?),
    })
}

/// What is not empty.
fn named(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

#[expect(clippy::option_option, reason = "nothing for a mistake, and no URL is no mistake")]
fn url(reader: &mut Reader<'_>, key: &str) -> Option<Option<Url>> {
    reader.checked(key, |text| match text {
        "" => Ok(None),
        text => text.parse::<Url>().map(Some).map_err(|error| format!("must be a URL: {error}")),
    })
}

#[expect(clippy::option_option, reason = "nothing for a mistake, and a key in a file is no mistake")]
fn master_key(reader: &mut Reader<'_>) -> Option<Option<Zeroizing<String>>> {
    let (key, old) = (reader.text(MASTER_KEY)?, reader.text(OLD_MASTER_KEYS)?);
    let (key, old) = (Zeroizing::new(key), Zeroizing::new(old));
    if key.trim().is_empty() {
        if old.trim().is_empty() {
            return Some(None);
        }
        return reader.mistake(OLD_MASTER_KEYS, format!("means nothing without `{MASTER_KEY}`"));
    }
    let keys = Zeroizing::new(format!("{},{}", *key, *old));
    match LocalMasterKeys::new(&keys) {
        Ok(_) => Some(Some(keys)),
        Err(error) => reader.mistake(MASTER_KEY, format!("and `{OLD_MASTER_KEYS}` cannot be used: {error}")),
    }
}

fn worker(reader: &mut Reader<'_>) -> Option<runner::Settings> {
    let concurrency = reader.number("worker.concurrency", 1, 10_000);
    let for_newcomers = reader.number("worker.for_newcomers", 0, 10_000);
    let lease = reader.seconds("worker.lease_seconds", 3, 3_600);
    let tool_timeout = reader.seconds("worker.tool_timeout_seconds", 1, 3_600);
    let progress = reader.seconds("worker.progress_seconds", 10, 86_400);
    let approval = reader.seconds("worker.approval_seconds", 1, 31_536_000);
    Some(runner::Settings {
        concurrency: concurrency?,
        for_newcomers: for_newcomers?,
        lease: lease?,
        tool_timeout: tool_timeout?,
        progress: progress?,
        approval: approval?,
        ..runner::Settings::default()
    })
}

/// A worker tries something in each third of a lease, unless it waits for the database, which is bounded too.
fn wedged_after(database: Option<&Database>, worker: Option<&runner::Settings>) -> Option<Duration> {
    let pool = match database? {
        Database::Sqlite => PoolSettings::default(),
        Database::Postgres(postgres) => postgres.pool,
    };
    Some(worker?.lease * 3 + (pool.acquire + pool.statement) * 4)
}

fn log(reader: &mut Reader<'_>) -> Option<Log> {
    let format = reader.one_of(
        "log.format",
        [("auto", LogFormat::Auto), ("json", LogFormat::Json), ("pretty", LogFormat::Pretty)],
    );
    let filter = reader.checked("log.filter", |text| match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("must be a filter, such as info or powerhouse=debug: {error}")),
    });
    Some(Log { format: format?, filter: filter? })
}

#[cfg(test)]
mod tests;
