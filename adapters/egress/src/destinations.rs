//! Where requests may go: to public addresses with TLS, and to hosts that the operator answers for.

use url::Url;

use crate::addresses::is_public;
use crate::client::AddressPolicy;
use crate::hosts::Hosts;
use crate::resolver::AddressRefused;

/// Where requests may go.
#[derive(Clone)]
pub struct Destinations {
    trusted: Hosts,
    policy: AddressPolicy,
}

/// Why a URL may not be asked, in words for whoever has named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DestinationRefused {
    /// It is none.
    #[error("the URL is not valid")]
    NoUrl,
    /// It has no host.
    #[error("the URL names no host")]
    NoHost,
    /// It has a user or a password.
    #[error("the URL holds a user name or a password")]
    Credentials,
    /// It has no TLS.
    #[error("the URL must begin with https://")]
    NoTls,
    /// It has an address that is not public.
    #[error(transparent)]
    Address(#[from] AddressRefused),
}

impl Destinations {
    /// Public ones, and these hosts, which may have any address and be asked without TLS.
    pub fn trusting(trusted: Hosts) -> Self {
        let of_operator = trusted.clone();
        let policy = AddressPolicy::new(move |host, address| of_operator.has(host) || is_public(address));
        Self { trusted, policy }
    }

    /// The same hosts by another policy.
    pub(crate) fn with_policy(trusted: Hosts, policy: AddressPolicy) -> Self {
        Self { trusted, policy }
    }

    /// By which addresses are checked once names are resolved.
    pub fn policy(&self) -> AddressPolicy {
        self.policy.clone()
    }

    /// The URL, if it may be asked as far as can be told without asking anybody.
    pub fn check(&self, url: &str) -> Result<Url, DestinationRefused> {
        let url = Url::parse(url).map_err(|_| DestinationRefused::NoUrl)?;
        let host = url.host_str().ok_or(DestinationRefused::NoHost)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(DestinationRefused::Credentials);
        }
        if url.scheme() != "https" && !(url.scheme() == "http" && self.trusted.has(host)) {
            return Err(DestinationRefused::NoTls);
        }
        self.policy.check_literal(&url)?;
        Ok(url)
    }
}
