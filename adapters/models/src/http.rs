//! What providers behind HTTP have in common: a call is sent, its reply streamed as server-sent events.
//!
//! A call is tried again while nothing of its reply was passed on, so that no reader sees a text twice. What differs
//! between the APIs is a [`Dialect`]. What a call costs the runner says, from the price list.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use async_trait::async_trait;
use powerhouse_domain::idempotency::CallKey;
use powerhouse_domain::model::{ModelReply, ModelRequest};
use powerhouse_ports::models::{DeltaSink, ModelError, ModelProvider};
use reqwest::header::{
    ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue, RETRY_AFTER,
};
use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect};
use serde_json::Value;
use tokio::time::timeout;
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::events::Events;
use crate::flaws::checked;
use crate::retry::{self, Retries};

/// Sent along with each try of a call. Few providers heed it, and none minds it.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The longest error document that is read, in bytes.
const MAX_ERROR_BODY: usize = 16 * 1024;
/// The longest list of models that is read, in bytes.
const MAX_LISTING: usize = 4 * 1024 * 1024;
/// The longest part of a provider's complaint that is logged, in characters.
const MAX_COMPLAINT: usize = 300;

/// A provider's key. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct ApiKey(Zeroizing<String>);

impl ApiKey {
    /// A key.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// A header's value that begins like this, and that nobody prints.
    pub(crate) fn header(&self, prefix: &str) -> Result<HeaderValue, InvalidHeaderValue> {
        let text = Zeroizing::new(format!("{prefix}{}", self.0.as_str()));
        let mut value = HeaderValue::from_str(&text)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl From<Zeroizing<String>> for ApiKey {
    fn from(text: Zeroizing<String>) -> Self {
        Self(text)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// How long parts of a call may take.
#[derive(Clone, Copy, Debug)]
pub struct TimeOuts {
    /// To connect, TLS included.
    pub connect: Duration,
    /// From the request to the head of the response.
    pub first_byte: Duration,
    /// Between two pieces of the response.
    pub idle: Duration,
    /// The whole call with its retries.
    pub total: Duration,
}

impl Default for TimeOuts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_mins(2),
            idle: Duration::from_mins(1),
            total: Duration::from_mins(10),
        }
    }
}

/// Where a provider is, and how it is spoken to.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The API's base, such as `https://api.openai.com/v1`.
    pub base_url: Url,
    /// The key, where one is needed.
    pub key: Option<ApiKey>,
    /// How long a call may take.
    pub time_outs: TimeOuts,
    /// How often it is tried.
    pub retries: Retries,
    /// Whether the provider is asked to keep prompts, also when a request does not say so. Some keep them by themselves.
    pub cache_prompts: bool,
}

/// Why an endpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The URL has no host, or another scheme than HTTP.
    #[error("the model's URL must be http:// or https:// with a host, and without credentials or a query")]
    Url,
    /// The key cannot be sent.
    #[error("the model's API key has characters that a header cannot hold")]
    Key,
    /// The HTTP client could not be made.
    #[error("the HTTP client could not be made")]
    Client(#[source] reqwest::Error),
}

/// How an API is spoken.
pub(crate) trait Dialect: Send + Sync + 'static {
    /// What puts its replies together.
    type Assembly: Assembly;

    /// Where calls go, below the API's base.
    const PATH: &'static [&'static str];

    /// How a key is shown.
    fn key_header(key: &ApiKey) -> Result<(HeaderName, HeaderValue), InvalidHeaderValue>;

    /// What else every request says of itself.
    fn headers() -> HeaderMap {
        HeaderMap::new()
    }

    /// The body of a request.
    fn body(model: &str, request: &ModelRequest) -> Result<Vec<u8>, serde_json::Error>;
}

/// Puts a reply together from its pieces.
pub(crate) trait Assembly: Default + Send {
    /// Takes one event's data.
    fn take(&mut self, data: &str) -> Result<Taken, Failure>;

    /// Whether any text was passed on.
    fn has_text(&self) -> bool;

    /// The reply. Its usage is estimated where the provider gave none.
    fn into_reply(self, model: &str, request: &ModelRequest) -> Result<ModelReply, Failure>;
}

/// What an event is.
pub(crate) enum Taken {
    /// It adds this text.
    Text(String),
    /// It adds no text.
    Silent,
    /// Nothing follows.
    End,
}

/// A provider behind HTTP that speaks a dialect.
pub struct HttpProvider<D> {
    client: Client,
    url: Url,
    key: Option<ApiKey>,
    time_outs: TimeOuts,
    retries: Retries,
    cache_prompts: bool,
    dialect: PhantomData<D>,
}

#[expect(private_bounds, reason = "dialects are this crate's own")]
impl<D: Dialect> HttpProvider<D> {
    /// A provider at this endpoint, which the operator has named: it may be on the private network.
    pub fn new(endpoint: Endpoint) -> Result<Self, EndpointError> {
        let mut builder = Client::builder().connect_timeout(endpoint.time_outs.connect);
        if is_loopback(&endpoint.base_url) {
            builder = builder.no_proxy();
        }
        let builder = builder
            // A redirect would take the key along.
            .redirect(redirect::Policy::none())
            .referer(false)
            .user_agent(concat!("powerhouse/", env!("CARGO_PKG_VERSION")));
        Self::through(builder.build().map_err(EndpointError::Client)?, endpoint)
    }

    /// The same through this client, which must not follow redirects.
    pub fn through(client: Client, endpoint: Endpoint) -> Result<Self, EndpointError> {
        let Endpoint { base_url, key, time_outs, retries, cache_prompts } = endpoint;
        let url = operation_url(&base_url, D::PATH)?;
        headers::<D>(key.as_ref())?;
        Ok(Self { client, url, key, time_outs, retries, cache_prompts, dialect: PhantomData })
    }

    /// The names of the models that the provider lists. Says also whether it answers, and takes the key.
    pub async fn models(&self) -> Result<Vec<String>, ModelError> {
        let response = self.send(self.client.get(self.beside(D::PATH, "models")), "application/json").await?;
        let body = self.bounded(response, MAX_LISTING).await;
        model_names(&body).ok_or_else(|| Failure::malformed("the answer is no list of models").into())
    }

    /// Another operation of the same API.
    pub(crate) fn beside(&self, path: &[&str], operation: &str) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            for _ in path {
                segments.pop();
            }
            segments.push(operation);
        }
        url
    }

    /// Sends a body, and reads an answer that comes as a whole; tried again while that may help.
    pub(crate) async fn post_whole(
        &self,
        url: &Url,
        body: Vec<u8>,
        limit: usize,
    ) -> Result<Vec<u8>, ModelError> {
        let tried = async {
            let mut attempt = 0;
            loop {
                let request = self.client.post(url.clone()).body(body.clone());
                let failure = match self.send(request, "application/json").await {
                    Ok(response) => match self.whole(response, limit).await {
                        Ok(answer) => return Ok(answer),
                        Err(failure) => failure,
                    },
                    Err(failure) => failure,
                };
                attempt += 1;
                let pause = match &failure {
                    Failure::Passing { retry_after, .. } => self.retries.pause(attempt, *retry_after),
                    _ => None,
                };
                let Some(pause) = pause else { return Err(failure) };
                tokio::time::sleep(pause).await;
            }
        };
        match timeout(self.time_outs.total, tried).await {
            Ok(result) => result.map_err(ModelError::from),
            Err(_) => Err(Failure::passing("the call took too long").into()),
        }
    }

    /// All of a body, which is no longer than that.
    async fn whole(&self, mut response: Response, limit: usize) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        loop {
            let chunk = timeout(self.time_outs.idle, response.chunk())
                .await
                .map_err(|_| Failure::passing("the provider stopped sending"))?
                .map_err(|error| Failure::passing(error.without_url()))?;
            let Some(chunk) = chunk else { return Ok(body) };
            if body.len() + chunk.len() > limit {
                return Err(Failure::malformed("the answer is longer than it can be"));
            }
            body.extend_from_slice(&chunk);
        }
    }

    async fn try_often(
        &self,
        key: &CallKey,
        model: &str,
        request: &ModelRequest,
        deltas: &mut dyn DeltaSink,
    ) -> Result<ModelReply, Failure> {
        let body = D::body(model, request).map_err(Failure::rejected)?;
        let mut attempt = 0;
        loop {
            let mut assembly = D::Assembly::default();
            let read = self.try_once(key, body.clone(), &mut assembly, deltas).await;
            let was_heard = assembly.has_text();
            let failure = match read.and_then(|()| assembly.into_reply(model, request)) {
                Ok(reply) => return Ok(checked(reply, request)),
                Err(failure) => failure,
            };
            attempt += 1;
            let pause = match &failure {
                Failure::Passing { retry_after, .. } if !was_heard => {
                    self.retries.pause(attempt, *retry_after)
                }
                _ => None,
            };
            let Some(pause) = pause else { return Err(failure) };
            tracing::info!(attempt, pause_ms = pause.as_millis(), reason = %failure, "a model call is tried again");
            tokio::time::sleep(pause).await;
        }
    }

    async fn try_once(
        &self,
        key: &CallKey,
        body: Vec<u8>,
        assembly: &mut D::Assembly,
        deltas: &mut dyn DeltaSink,
    ) -> Result<(), Failure> {
        let request = self.client.post(self.url.clone()).header(IDEMPOTENCY_KEY, key.as_str()).body(body);
        let response = self.send(request, "text/event-stream").await?;
        if !is_event_stream(response.headers()) {
            return Err(Failure::malformed("the answer is no text/event-stream"));
        }
        self.read(response, assembly, deltas).await
    }

    /// Sends a request, and waits for the head of a response that is a success.
    async fn send(&self, request: RequestBuilder, accept: &'static str) -> Result<Response, Failure> {
        // INVARIANT: they were made once before.
        let headers = headers::<D>(self.key.as_ref()).map_err(Failure::rejected)?;
        let request = request.headers(headers).header(ACCEPT, accept);
        let response = timeout(self.time_outs.first_byte, request.send())
            .await
            .map_err(|_| Failure::passing("the provider did not answer in time"))?
            .map_err(|error| Failure::passing(error.without_url()))?;
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response).await) }
    }

    async fn read(
        &self,
        mut response: Response,
        assembly: &mut D::Assembly,
        deltas: &mut dyn DeltaSink,
    ) -> Result<(), Failure> {
        let mut events = Events::default();
        loop {
            let chunk = timeout(self.time_outs.idle, response.chunk())
                .await
                .map_err(|_| Failure::passing("the provider stopped sending"))?
                .map_err(|error| Failure::passing(error.without_url()))?;
            // Some servers close after the last choice without a word; the assembly knows whether it was the last.
            let Some(chunk) = chunk else { return Ok(()) };
            events.feed(&chunk).map_err(Failure::malformed)?;
            while let Some(data) = events.next().map_err(Failure::malformed)? {
                match assembly.take(&data)? {
                    Taken::Text(text) => deltas.push(&text).await,
                    Taken::Silent => {}
                    Taken::End => return Ok(()),
                }
            }
        }
    }

    /// What a response that is no success means.
    async fn refusal(&self, response: Response) -> Failure {
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(retry::after);
        let complaint = format!("HTTP {status}: {}", self.complaint(response).await);
        match status {
            _ if is_passing(status) => Failure::Passing { retry_after, source: complaint.into() },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Failure::Key(complaint.into()),
            StatusCode::NOT_FOUND => Failure::Unknown(complaint.into()),
            _ => Failure::rejected(complaint),
        }
    }

    /// The provider's own words, for the log, without the key that some of them repeat.
    async fn complaint(&self, response: Response) -> String {
        if matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return "the key is not accepted".to_owned();
        }
        let body = self.bounded(response, MAX_ERROR_BODY).await;
        let text = error_message(&body).unwrap_or_else(|| "without an error document".to_owned());
        let text = match &self.key {
            Some(key) if !key.0.is_empty() => text.replace(key.0.as_str(), "…"),
            _ => text,
        };
        text.chars().filter(|c| !c.is_control()).take(MAX_COMPLAINT).collect()
    }

    /// What comes of a body, up to a bound.
    async fn bounded(&self, mut response: Response, limit: usize) -> Vec<u8> {
        let mut body = Vec::new();
        while let Ok(Ok(Some(chunk))) = timeout(self.time_outs.idle, response.chunk()).await {
            body.extend_from_slice(&chunk);
            if body.len() > limit {
                break;
            }
        }
        body
    }
}

#[async_trait]
impl<D: Dialect> ModelProvider for HttpProvider<D> {
    async fn complete(
        &self,
        key: &CallKey,
        model: &str,
        request: &ModelRequest,
        mut deltas: Box<dyn DeltaSink>,
    ) -> Result<ModelReply, ModelError> {
        let asked = if self.cache_prompts && !request.cache_prompt {
            Cow::Owned(request.clone().cached())
        } else {
            Cow::Borrowed(request)
        };
        match timeout(self.time_outs.total, self.try_often(key, model, &asked, &mut *deltas)).await {
            Ok(result) => result.map_err(ModelError::from),
            Err(_) => Err(Failure::passing("the call took too long").into()),
        }
    }
}

/// Whether another attempt may do better.
pub(crate) fn is_passing(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS
        )
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Another attempt may do better, unless part of the reply was passed on.
    #[error("{source}")]
    Passing { retry_after: Option<Duration>, source: Cause },
    #[error("{0}")]
    Key(Cause),
    #[error("{0}")]
    Unknown(Cause),
    #[error("{0}")]
    Rejected(Cause),
    #[error("{0}")]
    Malformed(Cause),
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

impl Failure {
    pub(crate) fn passing(source: impl Into<Cause>) -> Self {
        Self::Passing { retry_after: None, source: source.into() }
    }

    pub(crate) fn rejected(source: impl Into<Cause>) -> Self {
        Self::Rejected(source.into())
    }

    pub(crate) fn malformed(source: impl Into<Cause>) -> Self {
        Self::Malformed(source.into())
    }

    /// What a provider complains of in the middle of a stream; lasting, if it would again. Its own words may be those of whoever
    /// wrote the prompt.
    pub(crate) fn in_stream(is_lasting: bool) -> Self {
        let words = "the provider reports an error in the stream";
        if is_lasting { Self::rejected(words) } else { Self::passing(words) }
    }
}

impl From<Failure> for ModelError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Passing { retry_after, source } => Self::Unavailable { retry_after, source },
            Failure::Key(source) => Self::KeyRefused(source),
            Failure::Unknown(source) => Self::UnknownModel(source),
            Failure::Rejected(source) => Self::Rejected(source),
            Failure::Malformed(source) => Self::Malformed(source),
        }
    }
}

fn operation_url(base: &Url, path: &[&str]) -> Result<Url, EndpointError> {
    let plain = base.username().is_empty() && base.password().is_none() && base.query().is_none();
    if !matches!(base.scheme(), "http" | "https") || base.host().is_none() || !plain {
        return Err(EndpointError::Url);
    }
    let mut url = base.clone();
    url.set_fragment(None);
    url.path_segments_mut().map_err(|()| EndpointError::Url)?.pop_if_empty().extend(path);
    Ok(url)
}

fn headers<D: Dialect>(key: Option<&ApiKey>) -> Result<HeaderMap, EndpointError> {
    let mut headers = D::headers();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(key) = key {
        let (name, value) = D::key_header(key).map_err(|_| EndpointError::Key)?;
        headers.insert(name, value);
    }
    Ok(headers)
}

/// The words of an error document, `{"error": {"message": …}}` or `{"error": …}`.
fn error_message(body: &[u8]) -> Option<String> {
    let document: Value = serde_json::from_slice(body).ok()?;
    let error = &document["error"];
    error["message"].as_str().or_else(|| error.as_str()).map(str::to_owned)
}

/// The names in a list of models, `{"data": [{"id": …}]}`.
fn model_names(body: &[u8]) -> Option<Vec<String>> {
    let document: Value = serde_json::from_slice(body).ok()?;
    let listed = document["data"].as_array()?;
    Some(listed.iter().filter_map(|model| model["id"].as_str().map(str::to_owned)).collect())
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let essence = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()?.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("text/event-stream"))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anthropic::Messages;
    use crate::openai::ChatCompletions;

    #[test]
    fn the_path_is_the_bases_own_with_the_operation() {
        for base in ["https://example.org/v1", "https://example.org/v1/", "https://example.org/v1#x"] {
            let url = operation_url(&base.parse().unwrap(), ChatCompletions::PATH).unwrap();
            assert_eq!(url.as_str(), "https://example.org/v1/chat/completions");
        }
        for base in ["ftp://example.org", "data:x", "https://u:p@example.org", "https://example.org/?a=b"] {
            assert!(operation_url(&base.parse().unwrap(), Messages::PATH).is_err(), "{base}");
        }
    }

    #[test]
    fn a_key_is_never_printed_and_must_fit_a_header() {
        let key = ApiKey::new("sk-canary");
        for headers in [headers::<ChatCompletions>(Some(&key)), headers::<Messages>(Some(&key))] {
            assert!(!format!("{key:?} {:?}", headers.unwrap()).contains("canary"));
        }
        let key = ApiKey::new("a\nb");
        assert!(matches!(headers::<ChatCompletions>(Some(&key)), Err(EndpointError::Key)));
        assert!(matches!(headers::<Messages>(Some(&key)), Err(EndpointError::Key)));
    }

    #[test]
    fn errors_come_in_two_shapes() {
        assert_eq!(error_message(br#"{"error":{"message":"a"}}"#).as_deref(), Some("a"));
        assert_eq!(error_message(br#"{"error":"b"}"#).as_deref(), Some("b"));
        assert_eq!(error_message(b"<html>"), None);
    }
}
