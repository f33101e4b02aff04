//! Requests to webhooks' endpoints.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::time::Duration;

use async_trait::async_trait;
use powerhouse_ports::webhooks::{Answer, Post, PostError, WebhookSender};
use reqwest::header::{CONTENT_TYPE, HeaderName};
use reqwest::{Client, Response};
use url::{Host, Url};

use crate::addresses::is_public;
use crate::client::{AddressPolicy, Egress, Timeouts};
use crate::resolver::AddressRefused;

/// How long an endpoint has. The specification asks for 15 to 30 seconds.
const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(5), total: Duration::from_secs(20) };
/// The most bytes of an answer that are read, and kept.
const MAX_EXCERPT: usize = 1_024;

/// Hosts that the operator answers for: they may have any address, and be asked without TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(BTreeSet<String>);

/// An entry is not a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a host's name nor an address")]
pub struct HostListError(String);

impl Hosts {
    /// Reads names and addresses, without schemes and ports.
    pub fn new<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, HostListError> {
        let read = |entry: &str| match Host::parse(entry) {
            Ok(host) => Ok(host.to_string()),
            Err(_) => Err(HostListError(entry.to_owned())),
        };
        Ok(Self(entries.into_iter().map(read).collect::<Result<_, _>>()?))
    }

    fn has(&self, host: &str) -> bool {
        self.0.contains(host)
    }
}

/// Sends by HTTP to public addresses with TLS, and to hosts that the operator names.
pub struct HttpWebhookSender {
    client: Client,
    policy: AddressPolicy,
    trusted: Hosts,
}

impl HttpWebhookSender {
    /// A sender; `trusted` are the hosts that the operator answers for.
    pub fn new(trusted: Hosts) -> reqwest::Result<Self> {
        let of_operator = trusted.clone();
        let policy = AddressPolicy::new(move |host, address| of_operator.has(host) || is_public(address));
        Self::through(&Egress::new(policy, TIMEOUTS), trusted)
    }

    fn through(egress: &Egress, trusted: Hosts) -> reqwest::Result<Self> {
        Ok(Self { client: egress.client()?, policy: egress.policy.clone(), trusted })
    }

    fn checked(&self, url: &str) -> Result<Url, PostError> {
        let refused = |why: &str| PostError::Refused(why.to_owned());
        let url = Url::parse(url).map_err(|_| refused("the URL is not valid"))?;
        let host = url.host_str().ok_or_else(|| refused("the URL names no host"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("the URL holds a user name or a password"));
        }
        if url.scheme() != "https" && !(url.scheme() == "http" && self.trusted.has(host)) {
            return Err(refused("the URL must begin with https://"));
        }
        self.policy.check_literal(&url).map_err(|error| refused(&error.to_string()))?;
        Ok(url)
    }
}

#[async_trait]
impl WebhookSender for HttpWebhookSender {
    fn check(&self, url: &str) -> Result<(), PostError> {
        self.checked(url).map(drop)
    }

    async fn post(&self, post: &Post) -> Result<Answer, PostError> {
        let mut request = self.client.post(self.checked(&post.url)?).header(CONTENT_TYPE, "application/json");
        for (name, value) in &post.headers {
            request = request.header(HeaderName::from_static(name), value);
        }
        let mut response = request.body(post.body.clone()).send().await.map_err(|error| failure(&error))?;
        let status = response.status().as_u16();
        // The answer counts by its status: a body that breaks off changes nothing.
        Ok(Answer { status, excerpt: excerpt(&mut response).await })
    }
}

async fn excerpt(response: &mut Response) -> String {
    let bytes = crate::read(response, MAX_EXCERPT).await.map(|(bytes, _)| bytes).unwrap_or_default();
    // NUL cannot be stored.
    String::from_utf8_lossy(&bytes).replace('\0', "\u{fffd}")
}

/// What went wrong, without what the system says of it: an owner of an endpoint could look around with that.
fn failure(error: &reqwest::Error) -> PostError {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(refused) = inner.downcast_ref::<AddressRefused>() {
            return PostError::Refused(refused.to_string());
        }
        cause = inner.source();
    }
    let why = match error {
        error if error.is_timeout() => "the endpoint did not answer in time",
        error if error.is_connect() => "no connection to the endpoint could be made",
        _ => "the endpoint's answer could not be read",
    };
    PostError::NoAnswer(why.to_owned())
}

#[cfg(test)]
mod tests;
