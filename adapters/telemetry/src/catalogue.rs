//! Every metric there is: its name, its kind, its labels, and what it says.

/// Seconds that an answer may take: from a cached read to a request that waits for its run.
const REQUEST_SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Seconds that an effect may take: from a calculation to a model that thinks for minutes.
const EFFECT_SECONDS: &[f64] =
    &[0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0];

/// A metric, by the conventions of Prometheus: its unit is in its name, and a counter ends in `_total`.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// How it is measured.
    pub kind: Kind,
    /// The names of its labels. Each has few values, and none says whose it is.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

/// How something is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only grows while the process lives.
    Counter,
    /// What is now.
    Gauge,
    /// How many, by how long it took: the upper bounds of the buckets, in seconds.
    Histogram(&'static [f64]),
}

impl Kind {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help }
}

const fn histogram(
    name: &'static str,
    buckets: &'static [f64],
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Histogram(buckets), labels, help }
}

/// Every metric.
pub const CATALOGUE: &[Metric] = &[
    gauge("powerhouse_build_info", &["version"], "1, labelled with the version that runs"),
    counter(
        "powerhouse_http_requests_total",
        &["method", "route", "status"],
        "requests to the API that were answered, by the template of their route",
    ),
    histogram(
        "powerhouse_http_request_duration_seconds",
        REQUEST_SECONDS,
        &["method", "route"],
        "how long requests took; a stream of events until it began",
    ),
    gauge("powerhouse_http_requests_in_flight", &[], "requests that are being answered"),
    counter(
        "powerhouse_rate_limit_decisions_total",
        &["bucket", "decision"],
        "requests `admitted` and `refused` by the limit of a `tenant` or of an `address`",
    ),
    counter(
        "powerhouse_redis_rate_limit_decisions_total",
        &["by", "decision"],
        "the same where there is Redis: by `redis`, or by the stricter `fallback`",
    ),
    gauge("powerhouse_redis_up", &[], "1 while Redis answers, else 0"),
    counter(
        "powerhouse_redis_breaker_openings_total",
        &[],
        "how often Redis was given up until it answers again",
    ),
    counter(
        "powerhouse_redis_calls_failed_total",
        &["reason"],
        "calls to Redis that failed: `no_connection`, `too_slow` or `error`",
    ),
    counter("powerhouse_cache_hits_total", &["tier"], "values found in the process (`near`) or in `redis`"),
    counter("powerhouse_cache_loads_total", &[], "values read from the database, since no tier had them"),
    counter("powerhouse_cache_invalidations_total", &[], "values that were changed by this process"),
    gauge("powerhouse_cache_near_entries", &[], "values kept in the process"),
    counter(
        "powerhouse_event_bus_dropped_total",
        &["reason"],
        "news of runs that were dropped, and so come late: `queue_full`, `redis_away` or `slow_reader`",
    ),
    counter("powerhouse_runs_submitted_total", &[], "tasks that were accepted"),
    counter("powerhouse_runs_claimed_total", &[], "runs that were claimed, for the first time or again"),
    counter(
        "powerhouse_runs_ended_total",
        &["status"],
        "runs that have ended: `succeeded`, `failed`, `cancelled` or `timed_out`",
    ),
    gauge("powerhouse_run_drives_in_flight", &[], "runs that are being worked on"),
    counter(
        "powerhouse_run_drives_total",
        &["end"],
        "runs that a worker has left: `ended`, `handed_back`, `lease_lost`, or `failed` and to be tried again",
    ),
    gauge("powerhouse_worker_wedged", &[], "1 while the worker has tried nothing for too long, else 0"),
    gauge("powerhouse_worker_claim_age_seconds", &[], "how long ago the worker last tried to claim runs"),
    gauge(
        "powerhouse_worker_heartbeat_age_seconds",
        &[],
        "how long ago the run that is longest without a heartbeat had its last; 0 without runs",
    ),
    gauge(
        "powerhouse_worker_progress_age_seconds",
        &[],
        "how long the run that is longest without an outcome or text has been so; 0 without runs",
    ),
    histogram(
        "powerhouse_run_effect_duration_seconds",
        EFFECT_SECONDS,
        &["kind", "outcome"],
        "how long a `model` or a `tool` took, and whether it went `ok` or `failed`",
    ),
    gauge(
        "powerhouse_model_circuits",
        &["state"],
        "models of providers that are asked (`closed`), left alone (`open`), or tried (`half_open`)",
    ),
    counter(
        "powerhouse_model_calls_passed_over_total",
        &[],
        "models that could not answer, so that another was asked",
    ),
    counter(
        "powerhouse_model_calls_hedged_total",
        &[],
        "calls that were made a second time, since the first was late",
    ),
    counter(
        "powerhouse_embedded_tokens_total",
        &[],
        "tokens of texts that were turned into vectors, for documents and for what is looked for",
    ),
    gauge(
        "powerhouse_database_connections",
        &["role", "state"],
        "connections `in_use` and `idle`, of `application` and `platform`; with SQLite of `writer` and `readers`",
    ),
    counter(
        "powerhouse_database_unavailable_total",
        &[],
        "statements that failed since the database was away, busy or slow",
    ),
];
