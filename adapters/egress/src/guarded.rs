//! A client for URLs that tenants name: to public addresses with TLS, and to hosts that the operator answers for.

use std::collections::BTreeSet;
use std::error::Error as _;

use reqwest::Client;
use url::{Host, Url};

use crate::addresses::is_public;
use crate::client::{AddressPolicy, Egress, Timeouts};
use crate::resolver::AddressRefused;

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

    pub(crate) fn has(&self, host: &str) -> bool {
        self.0.contains(host)
    }
}

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
    policy: AddressPolicy,
    trusted: Hosts,
}

impl Guarded {
    /// A client; `trusted` are the hosts that the operator answers for.
    pub fn new(trusted: Hosts, timeouts: Timeouts) -> reqwest::Result<Self> {
        let of_operator = trusted.clone();
        let policy = AddressPolicy::new(move |host, address| of_operator.has(host) || is_public(address));
        Self::through(&Egress::new(policy, timeouts), trusted)
    }

    /// The same by another policy and another resolver.
    pub fn through(egress: &Egress, trusted: Hosts) -> reqwest::Result<Self> {
        Ok(Self { client: egress.client()?, policy: egress.policy.clone(), trusted })
    }

    /// The client. Only what was [`checked`](Self::checked) may be asked for.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A URL that may be asked for, as far as it tells. The addresses of a name are checked when it is resolved.
    pub fn checked(&self, url: &str) -> Result<Url, Failure> {
        let refused = |why: &str| Failure::Refused(why.to_owned());
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
