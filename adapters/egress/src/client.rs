//! The client: it follows no redirect by itself, keeps no connection, has no proxy, and connects to checked addresses.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, redirect};
use url::{Host, Url};

use crate::addresses::is_public;
use crate::resolver::{AddressRefused, CheckedResolver, Lookup, SystemLookup};

/// Says whether a connection to an address, for a host of this name, is allowed.
#[derive(Clone)]
pub struct AddressPolicy(Arc<Allows>);

type Allows = dyn Fn(&str, IpAddr) -> bool + Send + Sync;

impl AddressPolicy {
    /// A policy of one's own.
    pub fn new(allows: impl Fn(&str, IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(allows))
    }

    /// Only what the public Internet has.
    pub fn public() -> Self {
        Self::new(|_, address| is_public(address))
    }

    /// Whether a connection is allowed.
    pub fn allows(&self, host: &str, address: IpAddr) -> bool {
        (self.0)(host, address)
    }

    /// The same of a URL that has an address in the place of a host's name, which no resolver will see.
    pub fn check_literal(&self, url: &Url) -> Result<(), AddressRefused> {
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::from(address),
            Some(Host::Ipv6(address)) => IpAddr::from(address),
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        let host = url.host_str().unwrap_or_default();
        if self.allows(host, literal) { Ok(()) } else { Err(AddressRefused) }
    }
}

/// How long a request may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Until there is a connection.
    pub connect: Duration,
    /// All of it.
    pub total: Duration,
}

/// What goes out.
pub struct Egress {
    /// Which addresses may be reached.
    pub policy: AddressPolicy,
    /// Where the addresses of a name come from.
    pub lookup: Arc<dyn Lookup>,
    /// How long it may take.
    pub timeouts: Timeouts,
}

impl Egress {
    /// To what this policy allows, by the system's resolver.
    pub fn new(policy: AddressPolicy, timeouts: Timeouts) -> Self {
        Self { policy, lookup: Arc::new(SystemLookup), timeouts }
    }

    /// The client. A URL with a literal address has to be checked by [`AddressPolicy::check_literal`] before each request.
    pub fn client(&self) -> reqwest::Result<Client> {
        let resolver = CheckedResolver { lookup: Arc::clone(&self.lookup), policy: self.policy.clone() };
        Client::builder()
            .dns_resolver(resolver)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd()
            .connect_timeout(self.timeouts.connect)
            .timeout(self.timeouts.total)
            // A kept connection would outlive the check of its address.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("powerhouse/", env!("CARGO_PKG_VERSION")))
            .build()
    }
}
