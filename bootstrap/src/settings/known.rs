//! The settings that there are: the table that is read, checked and printed.

/// A setting: where it stands, what it is when nobody sets it, and what it is for.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) key: &'static str,
    pub(super) default: &'static str,
    pub(super) about: &'static str,
}

const fn known(key: &'static str, default: &'static str, about: &'static str) -> Known {
    Known { key, default, about }
}

pub(super) const API_KEY: &str = "model.api_key";
pub(super) const EMBEDDINGS_KEY: &str = "embeddings.api_key";
pub(super) const MASTER_KEY: &str = "secrets.master_key";
pub(super) const OLD_MASTER_KEYS: &str = "secrets.old_master_keys";
/// What is never shown.
pub(super) const SECRETS: [&str; 8] = [
    API_KEY,
    EMBEDDINGS_KEY,
    MASTER_KEY,
    OLD_MASTER_KEYS,
    "database.url",
    "database.platform_url",
    "database.owner_url",
    "redis.url",
];

/// All settings.
pub(super) const KNOWN: &[Known] = &[
    known("server.address", "127.0.0.1:8080", "where the API is served"),
    known("server.grace_seconds", "10", "how long requests may take to end when the server stops"),
    known("server.anonymous_burst", "20", "requests at once from an address that has not signed in"),
    known("server.anonymous_per_minute", "60", "requests a minute from an address that has not signed in"),
    known(
        "operations.address",
        "",
        "where /metrics and /health are served, for whoever runs it; nowhere when empty",
    ),
    known("data.folder", "powerhouse-data", "where the database and the keys are"),
    known("database.url", "", "PostgreSQL, as the application's role; SQLite when empty (also DATABASE_URL)"),
    known("database.platform_url", "", "the same database, as the platform's role"),
    known("database.owner_url", "", "the same database, as its owner; only `powerhouse migrate` uses it"),
    known("database.connections", "20", "connections to PostgreSQL as the application's role"),
    known("database.acquire_seconds", "5", "how long a request may wait for a connection"),
    known("database.statement_seconds", "10", "how long a statement may take"),
    known("database.pooler", "none", "`transaction` behind PgBouncer in transaction mode"),
    known("retention.runs_days", "0", "days that a run is kept after its month is over; for ever when 0"),
    known("retention.usage_months", "25", "months that usage is kept after its own is over; for ever when 0"),
    known(
        "retention.audit_months",
        "37",
        "months that audit records are kept after their own is over; for ever when 0",
    ),
    known("retention.idempotency_hours", "24", "hours that the answer to a request with a key is kept"),
    known("redis.url", "", "Redis, which replicas share; each is alone when empty (also REDIS_URL)"),
    known("redis.connections", "16", "connections to Redis"),
    known("tenants.plan", "free", "what new tenants sign up for: `free`, `team` or `enterprise`"),
    known("tokens.issuer", "powerhouse", "who issues access tokens (`iss`)"),
    known("tokens.audience", "powerhouse", "whom access tokens are for (`aud`)"),
    known("tokens.lifetime_seconds", "900", "how long an access token works"),
    known("passwords.at_once", "2", "passwords hashed at the same time; each takes 19 MiB and a core"),
    known("passwords.waiting", "64", "passwords that may wait for their turn"),
    known("model.provider", "auto", "`auto`, `openai_compatible`, `anthropic` or `offline`"),
    known(
        "model.base_url",
        "",
        "the provider's API; its maker's when empty (also OPENAI_BASE_URL, ANTHROPIC_BASE_URL)",
    ),
    known(API_KEY, "", "the key of that API (also OPENAI_API_KEY, ANTHROPIC_API_KEY)"),
    known("model.name", "", "the model of agents that name none"),
    known(
        "model.cache_prompts",
        "false",
        "`true` asks the provider to keep prompts, where it does not by itself",
    ),
    known("model.fallbacks", "", "models that answer while another cannot, in their order, by commas"),
    known("model.hedging", "false", "`true` makes a call twice when its answer is late; both are counted"),
    known("model.breaker_failures", "5", "failures in a row after which a model is left alone; never when 0"),
    known("model.breaker_window_seconds", "60", "within how long they count"),
    known("model.breaker_cooldown_seconds", "30", "for how long the model is left alone"),
    known(
        "model.allow",
        "",
        "hosts that tenants' providers of models may have though not public, or without TLS, by commas",
    ),
    known(
        "embeddings.provider",
        "auto",
        "who turns texts into vectors: `auto`, `openai_compatible`, `offline`, or `none`",
    ),
    known(
        "embeddings.base_url",
        "",
        "the API of vectors; that of the model when empty and it is one of chat completions, else OpenAI's, with a key of its own",
    ),
    known(EMBEDDINGS_KEY, "", "the key of that API; that of the model where it is the model's"),
    known("embeddings.model", "", "the model that makes vectors; OpenAI's text-embedding-3-small when empty"),
    known(
        MASTER_KEY,
        "",
        "the key that wraps the keys of tenants' secrets: 32 bytes in base64; in a file of the data folder when empty",
    ),
    known(OLD_MASTER_KEYS, "", "master keys that opened before, by commas, until everything is wrapped anew"),
    known("worker.concurrency", "64", "runs at the same time"),
    known("worker.for_newcomers", "8", "further runs, of tenants that have no other under way"),
    known("worker.lease_seconds", "30", "how long a run belongs to a worker that gives no sign of life"),
    known("worker.tool_timeout_seconds", "60", "how long a tool may take"),
    known(
        "worker.progress_seconds",
        "900",
        "how long a run may move nothing before another worker is to try",
    ),
    known("worker.approval_seconds", "86400", "how long a person has to answer what a run has asked"),
    known("tools.http_allow", "", "hosts that the tool http_get may fetch from, by commas; none when empty"),
    known(
        "tools.allow",
        "",
        "hosts that tenants' tools may reach though not public, or without TLS, by commas",
    ),
    known("tools.allow_for", "", "the same for single tenants: entries `tenant_…=host`, by commas"),
    known(
        "webhooks.retries",
        "5,300,1800,7200,18000,36000,50400,72000,86400",
        "seconds between attempts, by commas",
    ),
    known("webhooks.allow", "", "hosts that webhooks may have though not public, or without TLS, by commas"),
    known("log.format", "auto", "`auto` (JSON unless on a terminal), `json` or `pretty`"),
    known("log.filter", "info,sea_orm_migration=warn", "what is logged, as tracing's filters are written"),
];
