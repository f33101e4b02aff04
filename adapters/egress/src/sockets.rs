//! Connections that are not HTTP, to hosts that tenants name: by the same rules, to checked addresses.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use url::Host;

use crate::client::AddressPolicy;
use crate::destinations::Destinations;
use crate::guarded::Failure;
use crate::hosts::Hosts;
use crate::resolver::{AddressRefused, Lookup, SystemLookup};

/// Opens connections to public addresses, and to hosts that the operator answers for.
pub struct Sockets {
    trusted: Hosts,
    policy: AddressPolicy,
    lookup: Arc<dyn Lookup>,
}

impl Sockets {
    /// `trusted` are the hosts that the operator answers for: they may have any address.
    pub fn new(trusted: Hosts) -> Self {
        let policy = Destinations::trusting(trusted.clone()).policy();
        Self { trusted, policy, lookup: Arc::new(SystemLookup) }
    }

    /// The same by another policy and another resolver.
    pub fn through(policy: AddressPolicy, lookup: Arc<dyn Lookup>) -> Self {
        Self { trusted: Hosts::default(), policy, lookup }
    }

    /// Whether the operator answers for this host.
    pub fn trusts(&self, host: &str) -> bool {
        Host::parse(host).is_ok_and(|host| self.trusted.has(&host.to_string()))
    }

    /// Refuses a host that may not be reached, as far as it tells without asking anybody.
    pub fn check(&self, host: &str) -> Result<(), Failure> {
        match parsed(host)? {
            (Host::Domain(_), _) => Ok(()),
            (Host::Ipv4(address), name) => self.allowed(&name, &[address.into()]),
            (Host::Ipv6(address), name) => self.allowed(&name, &[address.into()]),
        }
    }

    /// A connection to an address of this host, all of which have been checked; the name is not looked up again.
    pub async fn connect(&self, host: &str, port: u16, within: Duration) -> Result<TcpStream, Failure> {
        let no_answer = Failure::NoAnswer("no connection to the host could be made");
        let (parsed, name) = parsed(host)?;
        let connecting = async {
            let addresses = match parsed {
                Host::Domain(name) => self.lookup.addresses_of(&name).await.map_err(|_| no_answer.clone())?,
                Host::Ipv4(address) => vec![IpAddr::from(address)],
                Host::Ipv6(address) => vec![IpAddr::from(address)],
            };
            self.allowed(&name, &addresses)?;
            for address in addresses {
                if let Ok(stream) = TcpStream::connect(SocketAddr::new(address, port)).await {
                    return Ok(stream);
                }
            }
            Err(no_answer.clone())
        };
        tokio::time::timeout(within, connecting).await.unwrap_or_else(|_| Err(no_answer.clone()))
    }

    fn allowed(&self, name: &str, addresses: &[IpAddr]) -> Result<(), Failure> {
        if addresses.iter().all(|address| self.policy.allows(name, *address)) {
            return Ok(());
        }
        Err(Failure::Refused(AddressRefused.to_string()))
    }
}

/// A host, and its name as lists have it.
fn parsed(host: &str) -> Result<(Host, String), Failure> {
    let parsed = Host::parse(host).map_err(|_| Failure::Refused("the host is not valid".to_owned()))?;
    let name = parsed.to_string();
    Ok((parsed, name))
}

#[cfg(test)]
mod tests {
    use std::io;

    use async_trait::async_trait;

    use super::*;

    struct Answer(Vec<IpAddr>);

    #[async_trait]
    impl Lookup for Answer {
        async fn addresses_of(&self, _host: &str) -> io::Result<Vec<IpAddr>> {
            Ok(self.0.clone())
        }
    }

    const SOON: Duration = Duration::from_secs(5);

    fn refused() -> Failure {
        Failure::Refused(AddressRefused.to_string())
    }

    #[tokio::test]
    async fn an_address_that_is_not_public_is_refused_however_it_is_written() {
        let sockets = Sockets::new(Hosts::default());
        for host in ["127.0.0.1", "[::1]", "0x7f.1", "2130706433", "[::ffff:10.0.0.1]", "169.254.169.254"] {
            assert_eq!(sockets.check(host), Err(refused()), "{host}");
            assert_eq!(sockets.connect(host, 5432, SOON).await.unwrap_err(), refused(), "{host}");
        }
        assert_eq!(sockets.connect("localhost", 5432, SOON).await.unwrap_err(), refused());
        assert!(sockets.check("db.example.org").is_ok() && sockets.check("a b").is_err());
    }

    #[tokio::test]
    async fn one_address_that_is_not_allowed_refuses_the_name() {
        let lookup = Arc::new(Answer(vec!["1.1.1.1".parse().unwrap(), "10.0.0.1".parse().unwrap()]));
        let sockets = Sockets::through(AddressPolicy::public(), lookup);
        assert_eq!(sockets.connect("db.example.org", 5432, SOON).await.unwrap_err(), refused());
    }

    #[tokio::test]
    async fn a_host_that_the_operator_answers_for_may_be_anywhere() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let sockets = Sockets::new(Hosts::new(["127.0.0.1"]).unwrap());
        assert!(sockets.trusts("127.0.0.1") && !sockets.trusts("127.0.0.2"));
        assert!(sockets.connect("127.0.0.1", port, SOON).await.is_ok());
        drop(listener);
        let failed = sockets.connect("127.0.0.1", port, SOON).await.unwrap_err();
        assert_eq!(failed, Failure::NoAnswer("no connection to the host could be made"));
    }
}
