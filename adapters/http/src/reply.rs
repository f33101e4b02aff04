//! Answers: a status, a body and the headers that go with it.

use chrono::{DateTime, SecondsFormat, Utc};
use http::header::{ETAG, LOCATION};
use http::{HeaderValue, StatusCode};
use powerhouse_usecases::Answer;
use salvo::oapi::{Components, EndpointOutRegister, Operation};
use salvo::prelude::{Depot, Json, Request, Response, Text, Writer, async_trait};
use serde::Serialize;

use crate::idempotency::REPLAYED;

/// A point in time as callers read it: RFC 3339, in UTC, to the microsecond.
pub(crate) fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// A JSON body.
#[derive(Debug)]
enum Body<T> {
    /// Made now.
    New(T),
    /// As it was kept when it was given before.
    Kept(String),
}

/// An answer with a JSON body.
#[derive(Debug)]
pub(crate) struct Reply<T> {
    status: StatusCode,
    body: Body<T>,
    location: Option<String>,
    etag: Option<u64>,
}

impl<T> Reply<T> {
    pub(crate) fn ok(body: T) -> Self {
        Self { status: StatusCode::OK, body: Body::New(body), location: None, etag: None }
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

    /// An answer that was given before.
    pub(crate) fn replayed(answer: Answer) -> Self {
        Self {
            status: StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK),
            body: Body::Kept(answer.body),
            location: answer.location,
            etag: answer.version,
        }
    }

    pub(crate) fn version(mut self, version: u64) -> Self {
        self.etag = Some(version);
        self
    }
}

impl<T: Serialize> Reply<T> {
    /// The answer as it is kept, to be given again.
    pub(crate) fn kept(self) -> Answer {
        Answer {
            status: self.status.as_u16(),
            location: self.location,
            version: self.etag,
            body: match self.body {
                Body::New(body) => serde_json::to_string(&body).unwrap_or_default(),
                Body::Kept(text) => text,
            },
        }
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
        match self.body {
            Body::New(body) => res.render(Json(body)),
            Body::Kept(text) => {
                res.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
                res.render(Text::Json(text));
            }
        }
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
