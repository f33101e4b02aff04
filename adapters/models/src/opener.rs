//! Providers at addresses that tenants name: through the one way out, with TLS, to public addresses alone, unless the
//! operator answers for a host.

use std::sync::Arc;
use std::time::Duration;

use powerhouse_domain::catalogue::{ProviderKind, ProviderSettings};
use powerhouse_egress::{Destinations, Egress, Hosts, Timeouts};
use powerhouse_ports::models::{ModelProvider, ProviderOpener, ProviderRefused};
use reqwest::Client;
use zeroize::Zeroizing;

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

    fn open(
        &self,
        settings: &ProviderSettings,
        key: Option<Zeroizing<String>>,
    ) -> Result<Arc<dyn ModelProvider>, ProviderRefused> {
        let refused = |error: &dyn std::error::Error| ProviderRefused(error.to_string());
        let endpoint = Endpoint {
            base_url: self.destinations.check(settings.base_url.as_str()).map_err(|error| refused(&error))?,
            key: key.map(ApiKey::from),
            time_outs: TimeOuts::default(),
            retries: self.retries,
            cache_prompts: settings.cache_prompts,
        };
        let client = self.client.clone();
        Ok(match settings.kind {
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
    use powerhouse_domain::catalogue::{CatalogueModel, ProviderModels};

    use super::*;

    fn opened(base_url: &str, trusted: &[&str]) -> Result<(), String> {
        let opener = EgressOpener::new(Hosts::new(trusted.iter().copied()).unwrap()).unwrap();
        let settings = |kind| ProviderSettings {
            kind,
            base_url: base_url.parse().unwrap(),
            key: Some("llm".parse().unwrap()),
            cache_prompts: false,
            models: ProviderModels::new(vec![CatalogueModel::named("m")]).unwrap(),
        };
        let open = |kind| opener.open(&settings(kind), Some("sk-canary".to_owned().into())).map(drop);
        assert_eq!(open(ProviderKind::Anthropic), open(ProviderKind::OpenAi));
        assert_eq!(opener.check(base_url), open(ProviderKind::OpenAi));
        open(ProviderKind::OpenAi).map_err(|error| error.to_string())
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
        ] {
            let refused = opened(bad, &["llm.internal"]).unwrap_err();
            assert!(!refused.contains("canary"), "{refused}");
        }
        assert_eq!(opened("http://llm.internal:8000/v1", &["llm.internal"]), Ok(()));
        assert_eq!(opened("http://127.0.0.1:11434/v1", &["127.0.0.1"]), Ok(()));
    }
}
