//! The tool that fetches a page, from the hosts that an operator allows.

mod allow_list;
mod body;

use std::error::Error as _;
use std::time::Duration;

use async_trait::async_trait;
use powerhouse_domain::idempotency::CallKey;
use powerhouse_domain::tools::{ToolOutput, ToolSpec};
use powerhouse_egress::{AddressPolicy, AddressRefused, Egress, Timeouts};
use powerhouse_ports::tools::Tool;
use reqwest::header::LOCATION;
use reqwest::{Client, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;
use url::Url;

use allow_list::Refusal;
pub(crate) use body::TextType;

pub use allow_list::{AllowList, AllowListError};

use crate::arguments;

/// Longest URL, in bytes.
const MAX_URL: usize = 2048;
/// The key of the call, for whoever logs or counts.
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Most redirects that are followed.
const MAX_REDIRECTS: usize = 5;

/// Fetches text by HTTP GET from allowed hosts on the public Internet.
///
/// Guards against server-side request forgery: every hop of a redirect must be on the [`AllowList`], and
/// every address of its host must be public unicast. The connection goes to an address that was checked. No
/// proxy, no cookies, no credentials.
pub struct HttpGet {
    client: Client,
    allowed: AllowList,
    policy: AddressPolicy,
    limits: Limits,
}

/// The HTTP client could not be made, for example because the system has no certificates.
#[derive(Debug, Error)]
#[error("the HTTP client could not be made")]
pub struct HttpGetError(#[source] reqwest::Error);

#[derive(Clone, Copy)]
struct Limits {
    connect: Duration,
    total: Duration,
    body: usize,
}

const LIMITS: Limits =
    Limits { connect: Duration::from_secs(5), total: Duration::from_secs(20), body: 256 * 1024 };

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    url: String,
}

#[derive(Debug, Error)]
enum FetchError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the URL is not valid: {0}")]
    Url(#[from] url::ParseError),
    #[error("the server redirected more than {MAX_REDIRECTS} times")]
    Redirects,
    #[error("the server redirected without a valid place to go to")]
    Location,
    #[error("the content type is neither text nor JSON nor XML")]
    ContentType,
    #[error("the server did not answer in time")]
    Slow,
    #[error("no connection to the host could be made")]
    Connect,
    #[error("the server's answer could not be read")]
    Broken,
}

impl From<reqwest::Error> for FetchError {
    fn from(error: reqwest::Error) -> Self {
        let mut cause = error.source();
        while let Some(inner) = cause {
            if inner.is::<AddressRefused>() {
                return Self::Refused(Refusal::Address);
            }
            cause = inner.source();
        }
        match error {
            e if e.is_timeout() => Self::Slow,
            e if e.is_connect() => Self::Connect,
            _ => Self::Broken,
        }
    }
}

impl HttpGet {
    /// A tool that fetches from the hosts of `allowed`.
    pub fn new(allowed: AllowList) -> Result<Self, HttpGetError> {
        let timeouts = Timeouts { connect: LIMITS.connect, total: LIMITS.total };
        Self::through(&Egress::new(AddressPolicy::public(), timeouts), allowed, LIMITS)
    }

    fn through(egress: &Egress, allowed: AllowList, limits: Limits) -> Result<Self, HttpGetError> {
        let client = egress.client().map_err(HttpGetError)?;
        Ok(Self { client, allowed, policy: egress.policy.clone(), limits })
    }

    async fn fetch(&self, key: &CallKey, url: &str) -> Result<ToolOutput, FetchError> {
        let mut url = Url::parse(url)?;
        for _ in 0..=MAX_REDIRECTS {
            self.check(&url)?;
            let response = self.client.get(url.clone()).header(IDEMPOTENCY_KEY, key.as_str()).send().await?;
            match response.status().as_u16() {
                301 | 302 | 303 | 307 | 308 => url = redirect_target(&url, &response)?,
                _ => return self.output(&url, response).await,
            }
        }
        Err(FetchError::Redirects)
    }

    fn check(&self, url: &Url) -> Result<(), Refusal> {
        match self.allowed.check(url)? {
            Some(literal) if !self.policy.allows(url.host_str().unwrap_or_default(), literal) => {
                Err(Refusal::Address)
            }
            _ => Ok(()),
        }
    }

    async fn output(&self, url: &Url, mut response: Response) -> Result<ToolOutput, FetchError> {
        let status = response.status();
        let text_type = TextType::of(response.headers());
        // A body of another type is not read, except to learn that there is none.
        let limit = if text_type.is_some() { self.limits.body } else { 0 };
        let (bytes, cut) = powerhouse_egress::read(&mut response, limit).await?;
        let body = match text_type {
            Some(text_type) => {
                let note =
                    if cut { format!("The body was cut after {limit} bytes.\n") } else { String::new() };
                format!("content type: {}\n{note}\n{}", text_type.essence, text_type.decode(&bytes))
            }
            None if cut => return Err(FetchError::ContentType),
            None => "The body is empty.\n".to_owned(),
        };
        let content = format!("status: {}\nurl: {url}\n{body}", status.as_u16());
        let is_error = status.is_client_error() || status.is_server_error();
        Ok(ToolOutput { content, is_error, used: None })
    }
}

fn redirect_target(from: &Url, response: &Response) -> Result<Url, FetchError> {
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let target = location.filter(|location| location.len() <= MAX_URL).and_then(|to| from.join(to).ok());
    target.ok_or(FetchError::Location)
}

#[async_trait]
impl Tool for HttpGet {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "http_get".to_owned(),
            description:
                "Fetches text, JSON or XML by HTTP GET from an allowed host. Returns the status, the \
                          content type and the body."
                    .to_owned(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "url": {
                        "type": "string",
                        "maxLength": MAX_URL,
                        "description": "An absolute https URL without credentials."
                    }
                },
                "required": ["url"],
                "additionalProperties": false
            }),
        }
    }

    fn is_safe_to_repeat(&self) -> bool {
        true
    }

    async fn call(&self, key: &CallKey, arguments: &Value) -> ToolOutput {
        let Arguments { url } = match arguments::read(arguments) {
            Ok(arguments) => arguments,
            Err(refusal) => return refusal,
        };
        if url.len() > MAX_URL {
            return ToolOutput::error(format!("The URL is longer than {MAX_URL} bytes."));
        }
        let fetched = tokio::time::timeout(self.limits.total, self.fetch(key, &url)).await;
        fetched
            .unwrap_or(Err(FetchError::Slow))
            .unwrap_or_else(|e| ToolOutput::error(format!("The URL was not fetched: {e}.")))
    }
}

#[cfg(test)]
mod tests;
