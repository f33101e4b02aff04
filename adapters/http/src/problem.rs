//! Problem documents (RFC 9457): what a caller reads of an error. It has a stable code and no internals; what went
//! wrong inside is logged here, once.

use std::borrow::Cow;
use std::time::Duration;

use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use powerhouse_ports::Chain;
use powerhouse_ports::store::StoreError;
use powerhouse_usecases::Refused;
use salvo::oapi::{Components, Content, EndpointOutRegister, Operation, Response as Documented, ToSchema};
use salvo::prelude::{Depot, FlowCtrl, Request, Response, Writer, async_trait};
use serde::Serialize;

use crate::idempotency;
use crate::layers::correlation_id;

/// When to try again while the store is away.
const STORE_RETRY: Duration = Duration::from_secs(2);

/// An error on its way to its caller.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: Cow<'static, str>,
    pointer: Option<String>,
    retry_after: Option<Duration>,
}

/// An error as its caller reads it.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Problem"))]
pub(crate) struct ProblemDocument {
    /// `urn:powerhouse:problem:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// The HTTP status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// Stable, for programs.
    code: &'static str,
    /// What is wrong and what to do, for people.
    detail: String,
    /// JSON Pointer (RFC 6901) to the part of the body that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    /// Names the request in the server's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, detail: detail.into(), pointer: None, retry_after: None }
    }

    /// The document, for the request with this correlation id.
    pub(crate) fn document(&self, correlation_id: Option<&str>) -> ProblemDocument {
        ProblemDocument {
            kind: format!("urn:powerhouse:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code,
            detail: self.detail.to_string(),
            pointer: self.pointer.clone(),
            correlation_id: correlation_id.map(str::to_owned),
        }
    }

    pub(crate) fn at(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = Some(pointer.into());
        self
    }

    /// The same of a part of a larger body.
    pub(crate) fn below(mut self, parent: &str) -> Self {
        self.pointer = self.pointer.map(|pointer| format!("{parent}{pointer}"));
        self
    }

    pub(crate) fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    /// A part of the path, the query or a header that cannot be read.
    pub(crate) fn bad_request(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no such {what}"))
    }

    pub(crate) fn internal() -> Self {
        let detail = "something went wrong on our side; give the correlation id when you report it";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// Answers with it, and lets nothing that follows answer.
    pub(crate) fn refuse(&self, depot: &Depot, res: &mut Response, ctrl: &mut FlowCtrl) {
        self.render(depot, res);
        ctrl.skip_rest();
    }

    fn render(&self, depot: &Depot, res: &mut Response) {
        res.status_code(self.status);
        let headers = res.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(pause) = self.retry_after {
            // Rounded up: whoever waits as told must not be early.
            let seconds = pause.as_secs() + u64::from(pause.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        res.body(serde_json::to_vec(&self.document(correlation_id(depot).as_deref())).unwrap_or_default());
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotFound(what) => Self::not_found(what),
            Refused::Forbidden(_) => Self::new(StatusCode::FORBIDDEN, "forbidden", refused.to_string()),
            Refused::Invalid { pointer, reason } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", reason).at(pointer)
            }
            Refused::Unsupported { code, pointer, reason } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, reason).at(pointer)
            }
            Refused::Conflict { code, reason } => Self::new(StatusCode::CONFLICT, code, reason),
            Refused::KeyReused => idempotency::reused(),
            Refused::DoneBefore(_) => {
                // INVARIANT: a route that passes a key on shows what was kept.
                tracing::error!("an answer that was kept was not shown");
                Self::internal()
            }
            Refused::Stale => {
                let detail = "it was changed since you read it: read it again, and send its new ETag";
                Self::new(StatusCode::PRECONDITION_FAILED, "version_changed", detail)
            }
            Refused::Unauthenticated(detail) => {
                Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
            }
            Refused::Elsewhere { code, reason } => Self::new(StatusCode::SERVICE_UNAVAILABLE, code, reason),
            Refused::Overloaded { retry_after } => too_many(retry_after),
            Refused::Store(error) => store(&error),
            Refused::Internal(reason) => {
                tracing::error!(reason, "a request failed");
                Self::internal()
            }
        }
    }
}

pub(crate) fn too_many(retry_after: Duration) -> Problem {
    let detail = "too many requests: wait as `Retry-After` says";
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail).retry_after(retry_after)
}

fn store(error: &StoreError) -> Problem {
    tracing::error!(error = %Chain(error), "a request failed in the store");
    if let StoreError::Unavailable(_) = error {
        let detail = "the database is not available: try again shortly";
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).retry_after(STORE_RETRY);
    }
    Problem::internal()
}

#[async_trait]
impl Writer for Problem {
    async fn write(self, _: &mut Request, depot: &mut Depot, res: &mut Response) {
        self.render(depot, res);
    }
}

impl EndpointOutRegister for Problem {
    fn register(components: &mut Components, operation: &mut Operation) {
        let content = Content::new(<ProblemDocument as ToSchema>::to_schema(components));
        let response = Documented::new("What is wrong.").add_content("application/problem+json", content);
        operation.responses.insert("default", response);
    }
}
