//! Hosts that the operator answers for.

use std::collections::BTreeSet;

use url::Host;

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

    /// These and others.
    #[must_use]
    pub fn and(&self, others: &Self) -> Self {
        Self(self.0.union(&others.0).cloned().collect())
    }

    pub(crate) fn has(&self, host: &str) -> bool {
        self.0.contains(host)
    }
}
