//! The hosts that an operator allows.

use std::net::IpAddr;

use thiserror::Error;
use url::{Host, Url};

/// Origins that may be fetched; what no entry names is refused, so the empty list allows nothing.
///
/// An entry is a host, `example.org`, or all hosts below one, `*.example.org`; that does not include
/// `example.org` itself. It means HTTPS unless it starts with `http://`, and the scheme's own port unless it
/// ends with one, `example.org:8443`. To allow both schemes, give two entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList {
    entries: Vec<Entry>,
}

/// An entry of an allow-list is not understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("allow-list entry {entry:?} is not `[http://]host[:port]` or `[http://]*.domain[:port]`")]
pub struct AllowListError {
    entry: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    scheme: Scheme,
    host: HostPattern,
    port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPattern {
    Exactly(Host<String>),
    Below(String),
}

/// Why a URL may not be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Refusal {
    #[error("the URL holds a user name or a password, which is not allowed")]
    Credentials,
    #[error("only https URLs are allowed, and http ones where an operator allowed them")]
    Scheme,
    #[error("the host, with this scheme and port, is not on the list of allowed hosts")]
    NotListed,
    #[error("the host has an address that is not on the public Internet")]
    Address,
}

impl AllowList {
    /// Reads the entries.
    pub fn new<S: AsRef<str>>(entries: impl IntoIterator<Item = S>) -> Result<Self, AllowListError> {
        let read = |entry: S| {
            let entry = entry.as_ref().trim();
            Entry::read(entry).ok_or_else(|| AllowListError { entry: entry.to_owned() })
        };
        Ok(Self { entries: entries.into_iter().map(read).collect::<Result<_, _>>()? })
    }

    /// Refuses a URL that no entry names, or that carries credentials. An address in the place of a host name
    /// is returned, as no resolver will see it.
    pub(super) fn check(&self, url: &Url) -> Result<Option<IpAddr>, Refusal> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::Credentials);
        }
        let scheme = Scheme::of(url).ok_or(Refusal::Scheme)?;
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(Refusal::NotListed);
        };
        let names = |entry: &Entry| entry.scheme == scheme && entry.port == port && entry.host.matches(&host);
        if !self.entries.iter().any(names) {
            return Err(Refusal::NotListed);
        }
        Ok(match host {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(address.into()),
            Host::Ipv6(address) => Some(address.into()),
        })
    }
}

impl Scheme {
    fn of(url: &Url) -> Option<Self> {
        match url.scheme() {
            "http" => Some(Self::Http),
            "https" => Some(Self::Https),
            _ => None,
        }
    }
}

impl Entry {
    fn read(text: &str) -> Option<Self> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (scheme, rest),
            None => ("https", text),
        };
        let (below, rest) = match rest.strip_prefix("*.") {
            Some(domain) => (true, domain),
            None => (false, rest),
        };
        // Only a host and a port: what else a URL may hold would be silently ignored.
        if rest.is_empty() || rest.contains(['/', '\\', '?', '#', '@', '*', '%']) || rest.ends_with(':') {
            return None;
        }
        let url = Url::parse(&format!("{scheme}://{rest}")).ok()?;
        let host = match (below, url.host()?.to_owned()) {
            (false, host) => HostPattern::Exactly(host),
            (true, Host::Domain(domain)) if domain.trim_end_matches('.').contains('.') => {
                HostPattern::Below(domain)
            }
            (true, _) => return None,
        };
        Some(Self { scheme: Scheme::of(&url)?, host, port: url.port_or_known_default()? })
    }
}

impl HostPattern {
    fn matches(&self, host: &Host<&str>) -> bool {
        match (self, host) {
            (Self::Exactly(expected), host) => expected == host,
            (Self::Below(parent), Host::Domain(domain)) => domain
                .strip_suffix(parent.as_str())
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|label| !label.is_empty()),
            (Self::Below(_), _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(entries: &[&str], url: &str) -> Result<Option<IpAddr>, Refusal> {
        AllowList::new(entries).expect("a list").check(&Url::parse(url).expect("a URL"))
    }

    #[test]
    fn entries_allow_what_they_name() {
        for (entry, url) in [
            ("example.org", "https://example.org/a?b"),
            ("Example.ORG", "https://EXAMPLE.org:443"),
            ("https://example.org", "https://example.org"),
            ("http://example.org", "http://example.org"),
            ("example.org:8443", "https://example.org:8443"),
            ("*.example.org", "https://www.example.org"),
            ("*.example.org", "https://a.b.example.org"),
            ("http://*.example.org:8080", "http://www.example.org:8080"),
            ("bücher.example", "https://xn--bcher-kva.example"),
        ] {
            assert_eq!(check(&[entry], url), Ok(None), "{entry} {url}");
        }
        let literal = "192.0.2.1".parse().expect("an address");
        assert_eq!(check(&["192.0.2.1"], "https://0xC0000201/"), Ok(Some(literal)));
        assert!(matches!(check(&["[2001:db8::1]"], "https://[2001:db8::1]/"), Ok(Some(IpAddr::V6(_)))));
    }

    #[test]
    fn everything_else_is_refused() {
        use Refusal::{Credentials, NotListed, Scheme};
        for (entry, url, refusal) in [
            ("example.org", "https://example.com", NotListed),
            ("example.org", "https://www.example.org", NotListed),
            ("example.org", "https://example.org.evil.net", NotListed),
            ("example.org", "https://example.org.", NotListed),
            ("example.org", "https://example.org:8443", NotListed),
            ("example.org:8443", "https://example.org", NotListed),
            ("example.org", "http://example.org", NotListed),
            ("http://example.org", "https://example.org", NotListed),
            ("*.example.org", "https://example.org", NotListed),
            ("*.example.org", "https://notexample.org", NotListed),
            ("*.example.org", "https://.example.org", NotListed),
            ("example.org", "https://evil.net#example.org", NotListed),
            ("example.org", "https://example.org@evil.net", Credentials),
            ("example.org", "https://user:secret@example.org", Credentials),
            ("example.org", "https://:secret@example.org", Credentials),
            ("example.org", "ftp://example.org", Scheme),
            ("example.org", "file:///etc/passwd", Scheme),
            ("example.org", "data:text/plain,a", Scheme),
        ] {
            assert_eq!(check(&[entry], url), Err(refusal), "{entry} {url}");
        }
        assert_eq!(check(&[], "https://example.org"), Err(NotListed));
    }

    #[test]
    fn entries_that_mean_nothing_are_errors() {
        for entry in [
            "",
            " ",
            "*",
            "*.",
            "*.com",
            "*.com.",
            "*.*.example.org",
            "www.*.org",
            "*example.org",
            "example.org/path",
            "user@example.org",
            "ftp://example.org",
            "example.org:99999",
            "example.org:",
            "*.192.0.2.1",
            "http://",
            "exa mple.org",
            "example.org?query",
        ] {
            assert!(AllowList::new([entry]).is_err(), "{entry:?}");
        }
    }
}
