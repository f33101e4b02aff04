//! What every request passes, outermost first: its measure (`measure.rs`), correlation id, security headers, the request's form, and a net for
//! panics. Authentication and rate limits come next, on the routes that have them (`guard.rs`).

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{StatusCode, Version};
use powerhouse_ports::clock::IdSource;
use powerhouse_ports::request;
use salvo::prelude::{Depot, FlowCtrl, Handler, Request, Response, async_trait};
use tracing::Instrument;

use crate::problem::Problem;

const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The longest correlation id that is taken from a caller.
const MAX_CORRELATION_ID: usize = 128;
/// The longest path with its query.
const MAX_URI: usize = 8 * 1024;

/// The id of this request.
#[derive(Clone, Debug)]
struct CorrelationId(String);

/// The id of the request that this depot belongs to.
pub(crate) fn correlation_id(depot: &Depot) -> Option<String> {
    depot.get_typed::<CorrelationId>().ok().map(|id| id.0.clone())
}

/// Names each request, in its log lines and in its answer.
pub(crate) struct Correlate {
    pub(crate) ids: Arc<dyn IdSource>,
}

#[async_trait]
impl Handler for Correlate {
    async fn handle(&self, req: &mut Request, depot: &mut Depot, res: &mut Response, ctrl: &mut FlowCtrl) {
        let given = req.headers().get(CORRELATION_ID).and_then(|value| value.to_str().ok());
        let id =
            given.filter(|id| is_well_formed(id)).map_or_else(|| self.ids.next().to_string(), str::to_owned);
        let trace = req.headers().get(TRACEPARENT).and_then(|value| trace_id(value.to_str().ok()?));
        let span = tracing::info_span!(
            "http.request",
            method = %req.method(),
            path = req.uri().path(),
            correlation_id = id,
            trace_id = trace,
        );
        if let Ok(value) = HeaderValue::from_str(&id) {
            res.headers_mut().insert(CORRELATION_ID, value);
        }
        depot.insert_typed(CorrelationId(id.clone()));
        let answered = async {
            ctrl.call_next(req, depot, res).await;
            tracing::info!(status = res.status_code.map_or(0, |status| status.as_u16()), "answered");
        };
        request::serving(id, answered.instrument(span)).await;
    }
}

fn is_well_formed(id: &str) -> bool {
    (1..=MAX_CORRELATION_ID).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// The trace's id in a W3C `traceparent`: `00-<32 hex>-<16 hex>-<2 hex>`.
fn trace_id(text: &str) -> Option<String> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |part: &str, length| {
        part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_set = |part: &str| part.bytes().any(|byte| byte != b'0');
    let valid =
        is_hex(version, 2) && version != "ff" && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2);
    (valid && is_set(trace) && is_set(span)).then(|| trace.to_owned())
}

/// Tells browsers to be careful with every answer.
pub(crate) struct SecurityHeaders;

#[async_trait]
impl Handler for SecurityHeaders {
    async fn handle(&self, req: &mut Request, depot: &mut Depot, res: &mut Response, ctrl: &mut FlowCtrl) {
        ctrl.call_next(req, depot, res).await;
        let headers = res.headers_mut();
        for (name, value) in [
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (X_FRAME_OPTIONS, "DENY"),
            (REFERRER_POLICY, "no-referrer"),
            (STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains"),
            (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
            (CACHE_CONTROL, "no-store"),
            (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
            (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        ] {
            // A route that says otherwise knows better.
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        }
    }
}

/// Refuses requests that two servers could route differently (RFC 9112 §3.2), and those too long. What they could
/// cut differently (§6.3) is up to hyper: it believes `Transfer-Encoding`, and closes the connection after it.
pub(crate) struct WellFormed;

#[async_trait]
impl Handler for WellFormed {
    async fn handle(&self, req: &mut Request, depot: &mut Depot, res: &mut Response, ctrl: &mut FlowCtrl) {
        let refusal = if req.uri().path_and_query().is_some_and(|path| path.as_str().len() > MAX_URI) {
            let detail = format!("a path with its query has at most {MAX_URI} bytes");
            Some(Problem::new(StatusCode::URI_TOO_LONG, "uri_too_long", detail))
        } else {
            ambiguity(req.version(), req.headers())
                .map(|detail| Problem::bad_request("request_malformed", detail))
        };
        match refusal {
            Some(problem) => problem.refuse(depot, res, ctrl),
            None => {
                ctrl.call_next(req, depot, res).await;
            }
        }
    }
}

fn ambiguity(version: Version, headers: &HeaderMap) -> Option<&'static str> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => Some("the request has more than one `Host`"),
        (None, None) if version == Version::HTTP_11 => Some("the request has no `Host`"),
        (Some(host), None) if !host.to_str().is_ok_and(is_host) => Some("the request's `Host` is malformed"),
        _ => None,
    }
}

/// A host with an optional port, as an authority without user information.
fn is_host(text: &str) -> bool {
    !text.contains('@') && text.parse::<http::uri::Authority>().is_ok_and(|host| !host.host().is_empty())
}

/// A panic ends its request only.
pub(crate) struct CatchPanic;

#[async_trait]
impl Handler for CatchPanic {
    async fn handle(&self, req: &mut Request, depot: &mut Depot, res: &mut Response, ctrl: &mut FlowCtrl) {
        if AssertUnwindSafe(ctrl.call_next(req, depot, res)).catch_unwind().await.is_err() {
            tracing::error!("a handler panicked");
            Problem::internal().refuse(depot, res, ctrl);
        }
    }
}

/// Answers what no route did.
pub(crate) struct NoRoute {
    /// Where to look for what there is.
    pub(crate) hint: &'static str,
}

#[async_trait]
impl Handler for NoRoute {
    async fn handle(&self, _: &mut Request, depot: &mut Depot, res: &mut Response, ctrl: &mut FlowCtrl) {
        let problem = match res.status_code {
            Some(StatusCode::METHOD_NOT_ALLOWED) => {
                let detail = format!("this path does not take this method; {}", self.hint);
                Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
            }
            Some(status) if status.is_client_error() && status != StatusCode::NOT_FOUND => {
                Problem::new(status, "bad_request", "the request cannot be served as it is")
            }
            Some(status) if status.is_server_error() => Problem::internal(),
            _ => Problem::new(
                StatusCode::NOT_FOUND,
                "not_found",
                format!("there is nothing at this path; {}", self.hint),
            ),
        };
        problem.refuse(depot, res, ctrl);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_correlation_id_is_taken_only_when_it_can_do_no_harm() {
        assert!(is_well_formed("order-17_a.b"));
        for bad in ["", "a b", "a\"b", "é", "a\nb", &"a".repeat(129)] {
            assert!(!is_well_formed(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_traceparent_is_read_as_w3c_has_it() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace_id(&format!("00-{id}-00f067aa0ba902b7-01")).as_deref(), Some(id));
        for bad in [
            "",
            "00-xyz-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(trace_id(bad), None, "{bad}");
        }
    }

    #[test]
    fn requests_that_two_servers_could_read_differently_are_refused() {
        let refused = |headers: &[(HeaderName, &'static str)]| {
            let mut collected = HeaderMap::new();
            for (name, value) in headers {
                collected.append(name, HeaderValue::from_static(value));
            }
            ambiguity(Version::HTTP_11, &collected).is_some()
        };
        assert!(!refused(&[(HOST, "example.org:8080")]));
        assert!(!refused(&[(HOST, "[::1]:8080")]));
        assert!(refused(&[]));
        assert!(refused(&[(HOST, "a"), (HOST, "b")]));
        assert!(refused(&[(HOST, "a@b")]));
        assert!(refused(&[(HOST, "a/b")]));
    }
}
