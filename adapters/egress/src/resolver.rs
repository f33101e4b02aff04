//! Name resolution that hands out checked addresses only.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::client::AddressPolicy;

/// A name or a URL leads to an address that may not be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the host has an address that is not on the public Internet")]
pub struct AddressRefused;

/// Where the addresses of a name come from.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// All addresses of a host.
    async fn addresses_of(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The system's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn addresses_of(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// Refuses a name as soon as one of its addresses is not allowed.
///
/// The connection goes to an address out of the list that was checked: the name is not looked up again, so
/// its owner cannot change the answer in between (DNS rebinding).
pub(crate) struct CheckedResolver {
    pub(crate) lookup: Arc<dyn Lookup>,
    pub(crate) policy: AddressPolicy,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (lookup, policy) = (Arc::clone(&self.lookup), self.policy.clone());
        Box::pin(async move {
            let addresses = lookup.addresses_of(name.as_str()).await?;
            if !addresses.iter().all(|address| policy.allows(name.as_str(), *address)) {
                return Err(AddressRefused.into());
            }
            // Port 0 stands for the one in the URL.
            Ok(Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Answer(&'static [&'static str]);

    #[async_trait]
    impl Lookup for Answer {
        async fn addresses_of(&self, _host: &str) -> io::Result<Vec<IpAddr>> {
            Ok(self.0.iter().map(|text| text.parse().expect("an address")).collect())
        }
    }

    async fn resolve(answer: &'static [&'static str]) -> Result<Vec<SocketAddr>, String> {
        let resolver = CheckedResolver { lookup: Arc::new(Answer(answer)), policy: AddressPolicy::public() };
        let name = "example.org".parse().expect("a name");
        resolver.resolve(name).await.map(Iterator::collect).map_err(|e| e.to_string())
    }

    #[tokio::test]
    async fn public_addresses_pass_without_a_port_of_their_own() {
        let addresses = resolve(&["1.1.1.1", "2606:4700:4700::1111"]).await.expect("addresses");
        assert_eq!(addresses.len(), 2);
        assert!(addresses.iter().all(|address| address.port() == 0));
    }

    #[tokio::test]
    async fn one_special_address_among_public_ones_refuses_the_name() {
        for answer in [&["1.1.1.1", "127.0.0.1"][..], &["::ffff:1.1.1.1"], &["169.254.169.254", "1.1.1.1"]] {
            assert_eq!(resolve(answer).await, Err(AddressRefused.to_string()));
        }
    }
}
