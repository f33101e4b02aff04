//! What is there for whoever runs the product, on a listener of its own: metrics, and health.

use std::sync::Arc;

use http::HeaderValue;
use http::header::CONTENT_TYPE;
use salvo::catcher::Catcher;
use salvo::prelude::{Depot, FlowCtrl, Handler, Request, Response, async_trait};
use salvo::{Router, Service};

use crate::Health;
use crate::layers::{CatchPanic, NoRoute, SecurityHeaders, WellFormed};

/// Prometheus' text format, in the version that every scraper reads.
const TEXT_FORMAT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Gives everything that was measured so far, in Prometheus' text format.
pub type Exposition = Arc<dyn Fn() -> String + Send + Sync>;

/// The service of the operations listener. Nobody signs in to it: whoever reaches it may read it.
pub fn operations(health: &Health, exposition: Exposition) -> Service {
    let metrics = Router::with_path("metrics").get(Metrics(exposition));
    Service::new(Router::new().push(metrics).push(health.open()))
        .hoop(SecurityHeaders)
        .hoop(CatchPanic)
        .hoop(WellFormed)
        .catcher(Catcher::new(NoRoute { hint: "there are /metrics and /health" }))
}

struct Metrics(Exposition);

#[async_trait]
impl Handler for Metrics {
    async fn handle(&self, _: &mut Request, _: &mut Depot, res: &mut Response, _: &mut FlowCtrl) {
        res.headers_mut().insert(CONTENT_TYPE, TEXT_FORMAT);
        res.body((self.0)());
    }
}
