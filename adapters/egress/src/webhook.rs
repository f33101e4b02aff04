//! Requests to webhooks' endpoints.

use std::error::Error as _;
use std::time::Duration;

use async_trait::async_trait;
use powerhouse_ports::webhooks::{Answer, Post, PostError, WebhookSender};
use reqwest::header::{CONTENT_TYPE, HeaderName};
use reqwest::{Client, Response};
use url::Url;

use crate::client::{Egress, Timeouts};
use crate::destinations::Destinations;
use crate::hosts::Hosts;
use crate::resolver::AddressRefused;

/// How long an endpoint has. The specification asks for 15 to 30 seconds.
const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(5), total: Duration::from_secs(20) };
/// The most bytes of an answer that are read, and kept.
const MAX_EXCERPT: usize = 1_024;

/// Sends by HTTP to public addresses with TLS, and to hosts that the operator names.
pub struct HttpWebhookSender {
    client: Client,
    destinations: Destinations,
}

impl HttpWebhookSender {
    /// A sender; `trusted` are the hosts that the operator answers for.
    pub fn new(trusted: Hosts) -> reqwest::Result<Self> {
        let destinations = Destinations::trusting(trusted);
        let client = Egress::new(destinations.policy(), TIMEOUTS).client()?;
        Ok(Self { client, destinations })
    }

    #[cfg(test)]
    fn through(egress: &Egress, trusted: Hosts) -> reqwest::Result<Self> {
        let destinations = Destinations::with_policy(trusted, egress.policy.clone());
        Ok(Self { client: egress.client()?, destinations })
    }

    fn checked(&self, url: &str) -> Result<Url, PostError> {
        self.destinations.check(url).map_err(|error| PostError::Refused(error.to_string()))
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
