//! Any server of the OpenAI chat completions API: OpenAI itself, vLLM, Ollama, `LiteLLM` and others.
//!
//! A reply is streamed. A call is tried again while nothing of its reply was passed on, so that no reader sees a
//! text twice. What a call costs the runner says, from the price list.

mod assemble;
mod events;
mod retry;
mod wire;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use powerhouse_domain::idempotency::CallKey;
use powerhouse_domain::model::{ModelReply, ModelRequest};
use powerhouse_ports::models::{DeltaSink, ModelError, ModelProvider};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect};
use tokio::time::timeout;
use url::{Host, Url};
use zeroize::Zeroizing;

use assemble::Assembly;
use events::{Events, OutOfBounds};

pub use retry::Retries;

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

/// A provider behind the chat completions API.
pub struct OpenAiCompatible {
    client: Client,
    url: Url,
    key: Option<ApiKey>,
    time_outs: TimeOuts,
    retries: Retries,
}

impl OpenAiCompatible {
    /// A provider at this endpoint.
    pub fn new(endpoint: Endpoint) -> Result<Self, EndpointError> {
        let Endpoint { base_url, key, time_outs, retries } = endpoint;
        let url = completions_url(&base_url)?;
        let mut builder = Client::builder()
            // A redirect would take the key along.
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(time_outs.connect)
            .default_headers(headers(key.as_ref())?)
            .user_agent(concat!("powerhouse/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&url) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(EndpointError::Client)?;
        Ok(Self { client, url, key, time_outs, retries })
    }

    /// The names of the models that the provider lists. Says also whether it answers, and takes the key.
    pub async fn models(&self) -> Result<Vec<String>, ModelError> {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop().pop().push("models");
        }
        let response = self.send(self.client.get(url).header(ACCEPT, "application/json")).await?;
        let body = self.bounded(response, MAX_LISTING).await;
        wire::model_names(&body).ok_or_else(|| Failure::malformed("the answer is no list of models").into())
    }

    async fn try_often(
        &self,
        key: &CallKey,
        model: &str,
        request: &ModelRequest,
        deltas: &mut dyn DeltaSink,
    ) -> Result<ModelReply, Failure> {
        let body = wire::body(model, request).map_err(Failure::rejected)?;
        let mut attempt = 0;
        loop {
            let mut assembly = Assembly::default();
            let read = self.try_once(key, body.clone(), &mut assembly, deltas).await;
            let was_heard = assembly.has_text();
            let failure = match read.and_then(|()| assembly.into_reply(model, request)) {
                Ok(reply) => return Ok(reply),
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
        assembly: &mut Assembly,
        deltas: &mut dyn DeltaSink,
    ) -> Result<(), Failure> {
        let response = self
            .send(self.client.post(self.url.clone()).header(IDEMPOTENCY_KEY, key.as_str()).body(body))
            .await?;
        if !is_event_stream(response.headers()) {
            return Err(Failure::malformed("the answer is no text/event-stream"));
        }
        self.read(response, assembly, deltas).await
    }

    /// Sends a request, and waits for the head of a response that is a success.
    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = timeout(self.time_outs.first_byte, request.send())
            .await
            .map_err(|_| Failure::passing("the provider did not answer in time"))?
            .map_err(|error| Failure::passing(error.without_url()))?;
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response).await) }
    }

    async fn read(
        &self,
        mut response: Response,
        assembly: &mut Assembly,
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
            events.feed(&chunk).map_err(|OutOfBounds| Failure::malformed(OutOfBounds))?;
            while let Some(data) = events.next() {
                if data == "[DONE]" {
                    return Ok(());
                }
                if let Some(text) = assembly.take(&data)? {
                    deltas.push(&text).await;
                }
            }
        }
    }

    /// What a response that is no success means.
    async fn refusal(&self, response: Response) -> Failure {
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(retry::after);
        let complaint = format!("HTTP {status}: {}", self.complaint(response).await);
        let passing = matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS
        );
        if passing || status.is_server_error() {
            Failure::Passing { retry_after, source: complaint.into() }
        } else {
            Failure::rejected(complaint)
        }
    }

    /// The provider's own words, for the log, without the key that some of them repeat.
    async fn complaint(&self, response: Response) -> String {
        if matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return "the key is not accepted".to_owned();
        }
        let body = self.bounded(response, MAX_ERROR_BODY).await;
        let text = wire::error_message(&body).unwrap_or_else(|| "without an error document".to_owned());
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
impl ModelProvider for OpenAiCompatible {
    async fn complete(
        &self,
        key: &CallKey,
        model: &str,
        request: &ModelRequest,
        mut deltas: Box<dyn DeltaSink>,
    ) -> Result<ModelReply, ModelError> {
        match timeout(self.time_outs.total, self.try_often(key, model, request, &mut *deltas)).await {
            Ok(result) => result.map_err(ModelError::from),
            Err(_) => Err(Failure::passing("the call took too long").into()),
        }
    }
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// Another attempt may do better, unless part of the reply was passed on.
    #[error("{source}")]
    Passing { retry_after: Option<Duration>, source: Cause },
    #[error("{0}")]
    Rejected(Cause),
    #[error("{0}")]
    Malformed(Cause),
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

impl Failure {
    fn passing(source: impl Into<Cause>) -> Self {
        Self::Passing { retry_after: None, source: source.into() }
    }

    fn rejected(source: impl Into<Cause>) -> Self {
        Self::Rejected(source.into())
    }

    fn malformed(source: impl Into<Cause>) -> Self {
        Self::Malformed(source.into())
    }
}

impl From<Failure> for ModelError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Passing { retry_after, source } => Self::Unavailable { retry_after, source },
            Failure::Rejected(source) => Self::Rejected(source),
            Failure::Malformed(source) => Self::Malformed(source),
        }
    }
}

fn completions_url(base: &Url) -> Result<Url, EndpointError> {
    let plain = base.username().is_empty() && base.password().is_none() && base.query().is_none();
    if !matches!(base.scheme(), "http" | "https") || base.host().is_none() || !plain {
        return Err(EndpointError::Url);
    }
    let mut url = base.clone();
    url.set_fragment(None);
    url.path_segments_mut().map_err(|()| EndpointError::Url)?.pop_if_empty().extend(["chat", "completions"]);
    Ok(url)
}

fn headers(key: Option<&ApiKey>) -> Result<HeaderMap, EndpointError> {
    let mut headers = HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (ACCEPT, HeaderValue::from_static("text/event-stream")),
    ]);
    if let Some(key) = key {
        let text = Zeroizing::new(format!("Bearer {}", key.0.as_str()));
        let mut value = HeaderValue::from_str(&text).map_err(|_| EndpointError::Key)?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
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

    fn endpoint(url: &str, key: &str) -> Endpoint {
        Endpoint {
            base_url: url.parse().unwrap(),
            key: Some(ApiKey::new(key)),
            time_outs: TimeOuts::default(),
            retries: Retries::default(),
        }
    }

    #[test]
    fn the_path_is_the_bases_own_with_the_operation() {
        for base in ["https://example.org/v1", "https://example.org/v1/", "https://example.org/v1#x"] {
            let url = completions_url(&base.parse().unwrap()).unwrap();
            assert_eq!(url.as_str(), "https://example.org/v1/chat/completions");
        }
        for base in ["ftp://example.org", "data:x", "https://u:p@example.org", "https://example.org/?a=b"] {
            assert!(completions_url(&base.parse().unwrap()).is_err(), "{base}");
        }
    }

    #[test]
    fn a_key_is_never_printed_and_must_fit_a_header() {
        let endpoint = endpoint("https://example.org/v1", "sk-canary");
        assert!(!format!("{endpoint:?}").contains("canary"));
        assert!(!format!("{:?}", headers(endpoint.key.as_ref()).unwrap()).contains("canary"));
        assert!(matches!(headers(Some(&ApiKey::new("a\nb"))), Err(EndpointError::Key)));
    }
}
