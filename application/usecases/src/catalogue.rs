//! Tenants' catalogues of models: providers of their own, and which models agents may name.

mod change_provider;
mod create_provider;
mod read_catalogue;

pub use change_provider::{ChangeProvider, ChangeProviderCommand, DeleteProvider};
pub use create_provider::{CreateProvider, CreateProviderCommand};
pub use read_catalogue::{AvailableModel, ListModels, ListProviders, ReadProvider};

use std::fmt;

use powerhouse_domain::access::TenantScope;
use powerhouse_domain::ids::ModelProviderId;
use powerhouse_ports::Chain;
use powerhouse_ports::models::ProviderOpener;
use powerhouse_ports::secrets::SecretBox;
use zeroize::Zeroizing;

use crate::Refused;

const NO_PROVIDER: Refused = Refused::NotFound("model provider");
/// The longest key, in bytes.
const MAX_KEY: usize = 4_096;

/// A provider's key as somebody gives it. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct ProviderKey(Zeroizing<String>);

impl ProviderKey {
    /// Takes over a text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The key, sealed for its provider.
    fn sealed(
        &self,
        sealer: &dyn SecretBox,
        scope: &TenantScope,
        id: ModelProviderId,
    ) -> Result<Vec<u8>, Refused> {
        if self.0.len() > MAX_KEY || !self.0.bytes().all(|byte| byte.is_ascii_graphic()) {
            let reason = format!("a key has at most {MAX_KEY} visible ASCII characters");
            return Err(Refused::invalid("/api_key", reason));
        }
        sealer
            .seal(scope, &sealed_for(id), self.0.as_bytes())
            .map_err(|error| Refused::Internal(Chain(&error).to_string()))
    }
}

impl fmt::Debug for ProviderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProviderKey(…)")
    }
}

/// What a provider's key is sealed for.
pub(crate) fn sealed_for(id: ModelProviderId) -> String {
    format!("model_provider:{id}")
}

fn check_url(opener: &dyn ProviderOpener, url: &str) -> Result<(), Refused> {
    opener.check(url).map_err(|error| Refused::invalid("/base_url", error))
}
