//! Requests to webhooks' endpoints.

use std::time::Duration;

use async_trait::async_trait;
use powerhouse_ports::webhooks::{Answer, Post, PostError, WebhookSender};
use reqwest::Response;
use reqwest::header::{CONTENT_TYPE, HeaderName};
use url::Url;

use crate::client::Timeouts;
use crate::guarded::{Failure, Guarded};
use crate::hosts::Hosts;

/// How long an endpoint has. The specification asks for 15 to 30 seconds.
const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(5), total: Duration::from_secs(20) };
/// The most bytes of an answer that are read, and kept.
const MAX_EXCERPT: usize = 1_024;

/// Sends by HTTP to public addresses with TLS, and to hosts that the operator names.
pub struct HttpWebhookSender(Guarded);

impl HttpWebhookSender {
    /// A sender; `trusted` are the hosts that the operator answers for.
    pub fn new(trusted: Hosts) -> reqwest::Result<Self> {
        Guarded::new(trusted, TIMEOUTS).map(Self)
    }

    fn checked(&self, url: &str) -> Result<Url, PostError> {
        self.0.checked(url).map_err(post_error)
    }
}

#[async_trait]
impl WebhookSender for HttpWebhookSender {
    fn check(&self, url: &str) -> Result<(), PostError> {
        self.checked(url).map(drop)
    }

    async fn post(&self, post: &Post) -> Result<Answer, PostError> {
        let mut request =
            self.0.client().post(self.checked(&post.url)?).header(CONTENT_TYPE, "application/json");
        for (name, value) in &post.headers {
            request = request.header(HeaderName::from_static(name), value);
        }
        let sent = request.body(post.body.clone()).send().await;
        let mut response = sent.map_err(|error| post_error(Failure::from(&error)))?;
        let status = response.status().as_u16();
        // The answer counts by its status: a body that breaks off changes nothing.
        Ok(Answer { status, excerpt: excerpt(&mut response).await })
    }
}

fn post_error(failure: Failure) -> PostError {
    match failure {
        Failure::Refused(why) => PostError::Refused(why),
        Failure::NoAnswer(why) => PostError::NoAnswer(why.to_owned()),
    }
}

async fn excerpt(response: &mut Response) -> String {
    let bytes = crate::read(response, MAX_EXCERPT).await.map(|(bytes, _)| bytes).unwrap_or_default();
    // NUL cannot be stored.
    String::from_utf8_lossy(&bytes).replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests;
