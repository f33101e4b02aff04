//! Whether the process lives, and whether it can serve.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;
use powerhouse_ports::Chain;
use powerhouse_ports::platform::PlatformStore;
use salvo::Router;
use salvo::oapi::{ToSchema, endpoint};
use salvo::prelude::{Json, Response};
use serde::Serialize;

/// What health is judged by.
#[derive(Clone)]
pub struct Health {
    /// The store that must answer.
    pub platform: Arc<dyn PlatformStore>,
    /// What answers model calls: `offline` or `openai_compatible`.
    pub models: Arc<str>,
    /// Whether Redis answers, where there is one. The process serves without it.
    pub redis: Option<Arc<AtomicBool>>,
}

impl Health {
    pub(crate) fn open(&self) -> Router {
        Router::with_path("health")
            .get(Overall(self.clone()))
            .push(Router::with_path("live").get(live))
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
    /// What answers model calls: `offline` or `openai_compatible`.
    models: String,
}

/// Whether the process lives.
#[endpoint(operation_id = "health_live", tags("health"), responses((status_code = 200, description = "It lives.")))]
fn live(res: &mut Response) {
    res.render(Json(serde_json::json!({ "status": "ok" })));
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
        let Self { platform, models, redis } = self;
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
