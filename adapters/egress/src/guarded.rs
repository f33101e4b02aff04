//! A client for URLs that tenants name: to public addresses with TLS, and to hosts that the operator answers for.

use std::error::Error as _;

use reqwest::Client;
use url::Url;

use crate::client::{Egress, Timeouts};
use crate::destinations::Destinations;
use crate::hosts::Hosts;
use crate::resolver::AddressRefused;

/// Why a request was not answered. The text is for whoever named the URL: it says nothing of what is around the server,
/// which an owner of an endpoint could look around with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub enum Failure {
    /// The address may not be reached.
    Refused(String),
    /// Nobody answered.
    NoAnswer(&'static str),
}

/// The client, and what it may be asked for.
pub struct Guarded {
    client: Client,
    destinations: Destinations,
}

impl Guarded {
    /// A client; `trusted` are the hosts that the operator answers for.
    pub fn new(trusted: Hosts, timeouts: Timeouts) -> reqwest::Result<Self> {
        let destinations = Destinations::trusting(trusted);
        Ok(Self { client: Egress::new(destinations.policy(), timeouts).client()?, destinations })
    }

    /// The same by another policy and another resolver.
    pub fn through(egress: &Egress, trusted: Hosts) -> reqwest::Result<Self> {
        let destinations = Destinations::with_policy(trusted, egress.policy.clone());
        Ok(Self { client: egress.client()?, destinations })
    }

    /// The client. Only what was [`checked`](Self::checked) may be asked for.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A URL that may be asked for, as far as it tells. The addresses of a name are checked when it is resolved.
    pub fn checked(&self, url: &str) -> Result<Url, Failure> {
        self.destinations.check(url).map_err(|error| Failure::Refused(error.to_string()))
    }
}

impl From<&reqwest::Error> for Failure {
    fn from(error: &reqwest::Error) -> Self {
        let mut cause = error.source();
        while let Some(inner) = cause {
            if let Some(refused) = inner.downcast_ref::<AddressRefused>() {
                return Self::Refused(refused.to_string());
            }
            cause = inner.source();
        }
        Self::NoAnswer(match error {
            error if error.is_timeout() => "the endpoint did not answer in time",
            error if error.is_connect() => "no connection to the endpoint could be made",
            _ => "the endpoint's answer could not be read",
        })
    }
}
