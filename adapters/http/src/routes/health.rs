//! Whether the process lives, and whether it can serve.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;
use powerhouse_ports::Chain;
use powerhouse_ports::platform::PlatformStore;
use powerhouse_usecases::runner::{Pulse, Sign, Vitals};
use salvo::Router;
use salvo::oapi::{ToSchema, endpoint};
use salvo::prelude::{Json, Response};
use serde::Serialize;

use crate::reply::instant;

/// What health is judged by.
#[derive(Clone)]
pub struct Health {
    /// The store that must answer.
    pub platform: Arc<dyn PlatformStore>,
    /// The worker's signs of life.
    pub pulse: Arc<Pulse>,
    /// What answers model calls: `offline`, `openai_compatible` or `anthropic`.
    pub models: Arc<str>,
    /// Whether Redis answers, where there is one. The process serves without it.
    pub redis: Option<Arc<AtomicBool>>,
}

impl Health {
    pub(crate) fn open(&self) -> Router {
        Router::with_path("health")
            .get(Overall(self.clone()))
            .push(Router::with_path("live").get(Live(Arc::clone(&self.pulse))))
            .push(Router::with_path("ready").get(Ready(self.clone())))
    }
}

/// The state of the process and of what it depends on.
#[derive(Debug, Serialize, ToSchema)]
struct HealthReport {
    /// `ok` or `unavailable`.
    status: &'static str,
    /// The product's version.
    version: &'static str,
    /// `ok` or `unavailable`.
    database: &'static str,
    /// `ok` or `unavailable`; none where each process is for itself. While it is away, limits are stricter.
    redis: Option<&'static str>,
    /// What answers model calls: `offline`, `openai_compatible` or `anthropic`.
    models: String,
}

/// Whether the process lives.
#[derive(Debug, Serialize, ToSchema)]
struct LiveReport {
    /// `ok`; or `wedged`: the worker has tried nothing for so long that the process should be started anew.
    status: &'static str,
    worker: WorkerReport,
}

/// What the worker tried last. Trying counts, not succeeding.
#[derive(Debug, Serialize, ToSchema)]
struct WorkerReport {
    /// How many runs it works on.
    runs_held: usize,
    /// When it last tried to claim runs; none once it is told to stop.
    last_claim_at: Option<String>,
    claim_age_seconds: Option<f64>,
    /// Of the run that is longest without a heartbeat.
    last_heartbeat_at: Option<String>,
    heartbeat_age_seconds: Option<f64>,
    /// When the run that is longest without an outcome or text had its last.
    last_progress_at: Option<String>,
    progress_age_seconds: Option<f64>,
}

impl From<&Vitals> for WorkerReport {
    fn from(vitals: &Vitals) -> Self {
        let at = |sign: Option<Sign>| sign.map(|sign| instant(sign.at));
        let age = |sign: Option<Sign>| sign.map(|sign| sign.age.as_secs_f64());
        Self {
            runs_held: vitals.runs_held,
            last_claim_at: at(vitals.claim),
            claim_age_seconds: age(vitals.claim),
            last_heartbeat_at: at(vitals.heartbeat),
            heartbeat_age_seconds: age(vitals.heartbeat),
            last_progress_at: at(vitals.progress),
            progress_age_seconds: age(vitals.progress),
        }
    }
}

struct Live(Arc<Pulse>);

/// Whether the process lives, and what its worker tried last
///
/// It lives while its database is away.
#[endpoint(operation_id = "health_live", tags("health"), responses(
    (status_code = 200, description = "It lives.", body = LiveReport),
    (status_code = 503, description = "Its worker is wedged.", body = LiveReport),
))]
impl Live {
    fn handle(&self, res: &mut Response) {
        let vitals = self.0.vitals();
        let status = if vitals.is_wedged {
            res.status_code(StatusCode::SERVICE_UNAVAILABLE);
            "wedged"
        } else {
            "ok"
        };
        res.render(Json(LiveReport { status, worker: (&vitals).into() }));
    }
}

struct Ready(Health);

/// Whether the process can serve: its database answers.
#[endpoint(operation_id = "health_ready", tags("health"), responses(
    (status_code = 200, description = "It can serve.", body = HealthReport),
    (status_code = 503, description = "It cannot serve now.", body = HealthReport),
))]
impl Ready {
    async fn handle(&self, res: &mut Response) {
        self.0.report(res).await;
    }
}

struct Overall(Health);

/// The same as `/health/ready`.
#[endpoint(operation_id = "health", tags("health"), responses(
    (status_code = 200, description = "It can serve.", body = HealthReport),
    (status_code = 503, description = "It cannot serve now.", body = HealthReport),
))]
impl Overall {
    async fn handle(&self, res: &mut Response) {
        self.0.report(res).await;
    }
}

impl Health {
    async fn report(&self, res: &mut Response) {
        let Self { platform, models, redis, pulse: _ } = self;
        let status = match platform.ping().await {
            Ok(()) => "ok",
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "the database does not answer");
                res.status_code(StatusCode::SERVICE_UNAVAILABLE);
                "unavailable"
            }
        };
        let version = env!("CARGO_PKG_VERSION");
        let redis =
            redis.as_ref().map(|is_up| if is_up.load(Ordering::Relaxed) { "ok" } else { "unavailable" });
        let models = models.to_string();
        res.render(Json(HealthReport { status, version, database: status, redis, models }));
    }
}
