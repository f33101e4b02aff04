//! Providers at addresses that tenants name: through the one way out, with TLS, to public addresses alone, unless the
//! operator answers for a host.

use std::sync::Arc;
use std::time::Duration;

use powerhouse_domain::catalogue::ProviderKind;
use powerhouse_egress::{Destinations, Egress, Hosts, Timeouts};
use powerhouse_ports::models::{ModelProvider, OpenProvider, ProviderOpener, ProviderRefused};
use reqwest::Client;

use crate::anthropic::Anthropic;
use crate::http::{ApiKey, Endpoint, TimeOuts};
use crate::openai::OpenAiCompatible;
use crate::retry::Retries;

/// Opens tenants' providers.
pub struct EgressOpener {
    client: Client,
    destinations: Destinations,
    retries: Retries,
}

impl EgressOpener {
    /// An opener; `trusted` are the hosts that the operator answers for.
    pub fn new(trusted: Hosts) -> reqwest::Result<Self> {
        let TimeOuts { connect, total, .. } = TimeOuts::default();
        let destinations = Destinations::trusting(trusted);
        let timeouts = Timeouts { connect, total: total + Duration::from_secs(1) };
        let client = Egress::new(destinations.policy(), timeouts).client()?;
        // Fewer tries than with the platform's own: there may be another model to fall back on.
        let retries = Retries { attempts: 3, ..Retries::default() };
        Ok(Self { client, destinations, retries })
    }
}

impl ProviderOpener for EgressOpener {
    fn check(&self, base_url: &str) -> Result<(), ProviderRefused> {
        self.destinations.check(base_url).map(drop).map_err(|error| ProviderRefused(error.to_string()))
    }

    fn open<'a>(&self, wanted: OpenProvider<'a>) -> Result<Arc<dyn ModelProvider>, ProviderRefused> {
        let refused = |error: &dyn std::error::Error| ProviderRefused(error.to_string());
        let endpoint = Endpoint {
            base_url: self.destinations.check(wanted.base_url).map_err(|error| refused(&error))?,
            key: wanted.key.map(ApiKey::new),
            time_outs: TimeOuts::default(),
            retries: self.retries,
            cache_prompts: wanted.cache_prompts,
        };
        let client = self.client.clone();
        Ok(match wanted.kind {
            ProviderKind::OpenAi => {
                Arc::new(OpenAiCompatible::through(client, endpoint).map_err(|error| refused(&error))?)
            }
            ProviderKind::Anthropic => {
                Arc::new(Anthropic::through(client, endpoint).map_err(|error| refused(&error))?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(base_url: &str, trusted: &[&str]) -> Result<(), String> {
        let opener = EgressOpener::new(Hosts::new(trusted.iter().copied()).unwrap()).unwrap();
        let wanted = OpenProvider {
            kind: ProviderKind::OpenAi,
            base_url,
            key: Some("sk-canary"),
            cache_prompts: false,
        };
        assert_eq!(opener.check(base_url).is_ok(), opener.open(wanted).is_ok());
        opener.open(wanted).map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn only_public_addresses_with_tls_are_opened_unless_the_operator_says_so() {
        assert_eq!(opened("https://api.example.org/v1", &[]), Ok(()));
        for bad in [
            "http://api.example.org/v1",
            "https://127.0.0.1/v1",
            "https://[::1]/v1",
            "https://169.254.169.254/v1",
            "https://10.0.0.7:8443/v1",
            "ftp://api.example.org",
            "https://user:word@api.example.org",
        ] {
            let refused = opened(bad, &["llm.internal"]).unwrap_err();
            assert!(!refused.contains("canary"), "{refused}");
        }
        assert_eq!(opened("http://llm.internal:8000/v1", &["llm.internal"]), Ok(()));
        assert_eq!(opened("http://127.0.0.1:11434/v1", &["127.0.0.1"]), Ok(()));
    }
}
