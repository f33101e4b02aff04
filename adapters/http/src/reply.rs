//! Answers: a status, a body and the headers that go with it.

use chrono::{DateTime, SecondsFormat, Utc};
use http::header::{ETAG, LOCATION};
use http::{HeaderValue, StatusCode};
use salvo::oapi::{Components, EndpointOutRegister, Operation};
use salvo::prelude::{Depot, Json, Request, Response, Writer, async_trait};
use serde::Serialize;

/// A point in time as callers read it: RFC 3339, in UTC, to the microsecond.
pub(crate) fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// An answer with a JSON body.
#[derive(Debug)]
pub(crate) struct Reply<T> {
    status: StatusCode,
    body: T,
    location: Option<String>,
    etag: Option<u64>,
}

impl<T> Reply<T> {
    pub(crate) fn ok(body: T) -> Self {
        Self { status: StatusCode::OK, body, location: None, etag: None }
    }

    pub(crate) fn created(location: String, body: T) -> Self {
        Self { status: StatusCode::CREATED, location: Some(location), ..Self::ok(body) }
    }

    pub(crate) fn accepted(location: String, body: T) -> Self {
        Self { status: StatusCode::ACCEPTED, location: Some(location), ..Self::ok(body) }
    }

    pub(crate) fn at(mut self, location: String) -> Self {
        self.location = Some(location);
        self
    }

    pub(crate) fn version(mut self, version: u64) -> Self {
        self.etag = Some(version);
        self
    }
}

#[async_trait]
impl<T: Serialize + Send + Sync> Writer for Reply<T> {
    async fn write(self, _: &mut Request, _: &mut Depot, res: &mut Response) {
        res.status_code(self.status);
        if let Some(value) = self.location.and_then(|location| HeaderValue::try_from(location).ok()) {
            res.headers_mut().insert(LOCATION, value);
        }
        if let Some(value) =
            self.etag.and_then(|version| HeaderValue::try_from(format!("\"{version}\"")).ok())
        {
            res.headers_mut().insert(ETAG, value);
        }
        res.render(Json(self.body));
    }
}

impl<T> EndpointOutRegister for Reply<T> {
    fn register(_: &mut Components, _: &mut Operation) {
        // Each endpoint documents its own statuses.
    }
}

/// An answer without a body.
#[derive(Debug)]
pub(crate) struct NoContent;

#[async_trait]
impl Writer for NoContent {
    async fn write(self, _: &mut Request, _: &mut Depot, res: &mut Response) {
        res.status_code(StatusCode::NO_CONTENT);
    }
}

impl EndpointOutRegister for NoContent {
    fn register(_: &mut Components, operation: &mut Operation) {
        operation.responses.insert("204", salvo::oapi::Response::new("Done."));
    }
}
