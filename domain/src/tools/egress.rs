//! Where a tenant's tools may go: the tenant's own list, which narrows what the platform allows.

use std::fmt;
use std::str::FromStr;

/// The most hosts on a tenant's list.
pub const MAX_HOSTS: usize = 100;
/// The most bytes of a host's name.
const MAX_HOST: usize = 253;

/// A host, or all hosts below a domain, written `*.example.org`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// The host of this name or address.
    Exactly(String),
    /// Hosts whose names end with a dot and this.
    Below(String),
}

/// A text that is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a host's name or address as it stands in a URL, in lower case and without scheme, port or user; or `*.` and a domain"
)]
pub struct InvalidHostPattern;

impl FromStr for HostPattern {
    type Err = InvalidHostPattern;

    fn from_str(text: &str) -> Result<Self, InvalidHostPattern> {
        let is_name = |text: &str| {
            (1..=MAX_HOST).contains(&text.len())
                && !text.starts_with('.')
                && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_'))
        };
        let is_v6 = |text: &str| {
            text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).is_some_and(|inner| {
                inner.len() <= MAX_HOST && inner.bytes().all(|b| b.is_ascii_hexdigit() || b == b':')
            })
        };
        match text.strip_prefix("*.") {
            Some(domain) if is_name(domain) && domain.trim_end_matches('.').contains('.') => {
                Ok(Self::Below(domain.to_owned()))
            }
            None if is_name(text) || is_v6(text) => Ok(Self::Exactly(text.to_owned())),
            _ => Err(InvalidHostPattern),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(host) => f.write_str(host),
            Self::Below(domain) => write!(f, "*.{domain}"),
        }
    }
}

impl HostPattern {
    fn is_of(&self, host: &str) -> bool {
        match self {
            Self::Exactly(exactly) => exactly == host,
            Self::Below(domain) => host
                .strip_suffix(domain.as_str())
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|label| !label.is_empty()),
        }
    }
}

/// A list that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tenant lists at most {MAX_HOSTS} hosts")]
pub struct TooManyHosts;

/// The hosts that a tenant's tools may reach. Without a list, all that the platform allows; no list allows more than that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EgressRules {
    hosts: Option<Vec<HostPattern>>,
    version: u64,
}

impl EgressRules {
    /// Rules as they were stored.
    pub fn restore(hosts: Option<Vec<HostPattern>>, version: u64) -> Self {
        Self { hosts, version }
    }

    /// Puts another list in its place, or none.
    pub fn replaced(self, hosts: Option<Vec<HostPattern>>) -> Result<Self, TooManyHosts> {
        if hosts.as_ref().is_some_and(|hosts| hosts.len() > MAX_HOSTS) {
            return Err(TooManyHosts);
        }
        Ok(Self { hosts, version: self.version + 1 })
    }

    /// The list, if there is one.
    pub fn hosts(&self) -> Option<&[HostPattern]> {
        self.hosts.as_deref()
    }

    /// Counts changes, from 0.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether this host, as it stands in a URL, may be reached as far as the tenant is concerned.
    pub fn allow(&self, host: &str) -> bool {
        self.hosts.as_ref().is_none_or(|hosts| hosts.iter().any(|pattern| pattern.is_of(host)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(hosts: &[&str]) -> EgressRules {
        let hosts = hosts.iter().map(|host| host.parse().unwrap()).collect();
        EgressRules::default().replaced(Some(hosts)).unwrap()
    }

    #[test]
    fn a_list_allows_what_it_names_and_no_list_allows_all() {
        assert!(EgressRules::default().allow("example.org"));
        assert!(!rules(&[]).allow("example.org"));
        let rules = rules(&["api.example.org", "*.example.com", "[::1]"]);
        for host in ["api.example.org", "a.example.com", "a.b.example.com", "[::1]"] {
            assert!(rules.allow(host), "{host}");
        }
        for host in
            ["example.org", "example.com", "notexample.com", ".example.com", "api.example.org.evil.net"]
        {
            assert!(!rules.allow(host), "{host}");
        }
        assert_eq!(rules.version(), 1);
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for good in [
            "example.org",
            "*.example.org",
            "localhost",
            "10.0.0.1",
            "[2001:db8::1]",
            "xn--bcher-kva.example",
        ] {
            assert_eq!(good.parse::<HostPattern>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "*",
            "*.",
            "*.com",
            "*.com.",
            "a:80",
            "https://a",
            "a/b",
            "u@a",
            "A.org",
            "a*.org",
            "[x]",
            "é.org",
        ] {
            assert_eq!(bad.parse::<HostPattern>(), Err(InvalidHostPattern), "{bad}");
        }
        let many = vec![HostPattern::Exactly("a".into()); MAX_HOSTS + 1];
        assert_eq!(EgressRules::default().replaced(Some(many)), Err(TooManyHosts));
    }
}
