//! Tenants' catalogues of models: providers of their own, which models agents may name, and what none is told.

mod change_provider;
mod create_provider;
mod masking_rules;
mod read_catalogue;

pub use change_provider::{ChangeProvider, DeleteProvider};
pub use create_provider::{CreateProvider, CreateProviderCommand};
pub use masking_rules::{ReadMaskingRules, ReplaceMaskingRules};
pub use read_catalogue::{AvailableModel, ListModels, ListProviders, ReadProvider};

use powerhouse_ports::models::ProviderOpener;

use crate::Refused;

const NO_PROVIDER: Refused = Refused::NotFound("model provider");

fn check_url(opener: &dyn ProviderOpener, url: &str) -> Result<(), Refused> {
    opener.check(url).map_err(|error| Refused::invalid("/base_url", error))
}
