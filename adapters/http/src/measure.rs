//! Counts requests and times them, by the templates of their routes: what a caller writes is never a label.

use std::sync::Arc;
use std::time::Instant;

use http::Method;
use metrics::{SharedString, counter, gauge, histogram};
use salvo::prelude::{Depot, FlowCtrl, Handler, Request, Response, async_trait};

/// The outermost layer, so that nothing is answered unseen.
pub(crate) struct Measure;

#[async_trait]
impl Handler for Measure {
    async fn handle(&self, req: &mut Request, depot: &mut Depot, res: &mut Response, ctrl: &mut FlowCtrl) {
        let (method, route) = (method(req.method()), route(req.matched_path()));
        let begun = Instant::now();
        let in_flight = InFlight::enter();
        ctrl.call_next(req, depot, res).await;
        drop(in_flight);
        let took = begun.elapsed();
        let status = res.status_code.unwrap_or_default();
        counter!(
            "powerhouse_http_requests_total",
            "method" => method,
            "route" => route.clone(),
            "status" => status.as_str().to_owned(),
        )
        .increment(1);
        histogram!("powerhouse_http_request_duration_seconds", "method" => method, "route" => route)
            .record(took);
    }
}

/// Methods can be made up, so only those that a route may have are told apart.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn route(matched: &str) -> SharedString {
    if matched.is_empty() {
        return SharedString::const_str("unmatched");
    }
    // Shared by both metrics.
    Arc::<str>::from(format!("/{matched}")).into()
}

/// A request that is being answered. One whose caller hangs up is dropped in the middle.
struct InFlight;

impl InFlight {
    fn enter() -> Self {
        gauge!("powerhouse_http_requests_in_flight").increment(1);
        Self
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        gauge!("powerhouse_http_requests_in_flight").decrement(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_bounded_whatever_a_caller_sends() {
        assert_eq!(method(&Method::PATCH), "PATCH");
        assert_eq!(method(&Method::from_bytes(b"BREW").unwrap()), "other");
        assert_eq!(&*route("v1/runs/{run_id}"), "/v1/runs/{run_id}");
        assert_eq!(&*route(""), "unmatched");
    }
}
