//! A tenant's catalogue of models: who provides them, which there are, what each can do, and who stands in for it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::access::named_enum;
use crate::ids::{ModelProviderId, UserId};
use crate::secrets::SecretName;

/// The most providers of a tenant.
pub const MAX_PROVIDERS: u64 = 20;
/// The most models of a provider.
pub const MAX_MODELS: usize = 50;
/// The most models that stand in for one.
pub const MAX_FALLBACKS: usize = 5;
/// The longest name of a model, in characters: as long as in a price list.
const MAX_MODEL_NAME: usize = 128;
/// The longest name of a provider, in characters.
const MAX_NAME: usize = 32;
/// The most bytes of a provider's address.
const MAX_URL: usize = 2_048;

named_enum! {
    /// What a provider speaks.
    ProviderKind as "kind of provider" {
        /// OpenAI's chat completions.
        OpenAi = "openai",
        /// Anthropic's messages.
        Anthropic = "anthropic",
    }
}

/// A provider's name in its tenant: 1 to 32 of `a-z`, `0-9` and `-`, the first a letter or a digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProviderName(String);

/// Why a catalogue cannot have this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProvider {
    /// The name.
    #[error("a provider's name has 1 to {MAX_NAME} of a-z, 0-9 and -, and begins with a letter or a digit")]
    Name,
    /// The address.
    #[error(
        "must be an absolute https URL of at most {MAX_URL} bytes, without a user, a query or a fragment"
    )]
    Url,
    /// The models altogether.
    #[error("a provider has 1 to {MAX_MODELS} models, each once")]
    Models,
    /// One of the models.
    #[error(
        "a model's name has 1 to {MAX_MODEL_NAME} characters and none is a control character, its limits are at least 1, and at \
         most {MAX_FALLBACKS} others stand in for it, each once"
    )]
    Model(usize),
}

impl FromStr for ProviderName {
    type Err = InvalidProvider;

    fn from_str(text: &str) -> Result<Self, InvalidProvider> {
        let is_good = (1..=MAX_NAME).contains(&text.len())
            && !text.starts_with('-')
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if is_good { Ok(Self(text.to_owned())) } else { Err(InvalidProvider::Name) }
    }
}

impl ProviderName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a provider's API begins, such as `https://api.openai.com/v1`. Whether it may be reached is for whoever calls it to
/// say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderUrl(String);

impl FromStr for ProviderUrl {
    type Err = InvalidProvider;

    fn from_str(text: &str) -> Result<Self, InvalidProvider> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let is_good = text.len() <= MAX_URL
            && rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
            && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"@?#\\".contains(&byte));
        if is_good { Ok(Self(text.to_owned())) } else { Err(InvalidProvider::Url) }
    }
}

impl ProviderUrl {
    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A model of a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogueModel {
    /// As its provider and the price list name it.
    pub name: String,
    /// The most tokens that it reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u32>,
    /// The most tokens that it generates in a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u32>,
    /// The most calls of it that each process has under way at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<u32>,
    /// Models that stand in for it while its provider cannot be reached, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<String>,
    /// Whether a call may be made twice when its answer is late.
    #[serde(default)]
    pub is_hedged: bool,
}

impl CatalogueModel {
    /// A model without limits and without others that stand in for it.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            context_tokens: None,
            max_output_tokens: None,
            max_concurrent: None,
            fallbacks: Vec::new(),
            is_hedged: false,
        }
    }

    fn is_good(&self) -> bool {
        let is_name = |name: &String| {
            !name.trim().is_empty()
                && name.chars().nth(MAX_MODEL_NAME).is_none()
                && !name.chars().any(char::is_control)
        };
        let others: BTreeSet<_> = self.fallbacks.iter().collect();
        is_name(&self.name)
            && [self.context_tokens, self.max_output_tokens, self.max_concurrent]
                .iter()
                .all(|limit| *limit != Some(0))
            && self.fallbacks.len() <= MAX_FALLBACKS
            && others.len() == self.fallbacks.len()
            && !others.contains(&self.name)
            && self.fallbacks.iter().all(is_name)
    }
}

/// The models of a provider: 1 to 50, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderModels(Vec<CatalogueModel>);

impl ProviderModels {
    /// Checks a list.
    pub fn new(models: Vec<CatalogueModel>) -> Result<Self, InvalidProvider> {
        let names: BTreeSet<_> = models.iter().map(|model| &model.name).collect();
        if models.is_empty() || models.len() > MAX_MODELS || names.len() != models.len() {
            return Err(InvalidProvider::Models);
        }
        match models.iter().position(|model| !model.is_good()) {
            Some(index) => Err(InvalidProvider::Model(index)),
            None => Ok(Self(models)),
        }
    }

    /// The models.
    pub fn as_slice(&self) -> &[CatalogueModel] {
        &self.0
    }
}

/// All that people choose of a provider, but for its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderSettings {
    /// What it speaks.
    pub kind: ProviderKind,
    /// Where it is.
    pub base_url: ProviderUrl,
    /// The secret that is its key, where it wants one.
    pub key: Option<SecretName>,
    /// Whether it is asked to keep prompts, where it does not by itself.
    pub cache_prompts: bool,
    /// Its models.
    pub models: ProviderModels,
}

/// A provider of a tenant's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Its id.
    pub id: ModelProviderId,
    /// Its name, which stays.
    pub name: ProviderName,
    /// What people chose.
    pub settings: ProviderSettings,
    /// Who made it.
    pub created_by: UserId,
    /// When.
    pub created_at: DateTime<Utc>,
    /// Grows with each change.
    pub version: u64,
}

impl Provider {
    /// Its model of this name.
    pub fn model(&self, name: &str) -> Option<&CatalogueModel> {
        self.settings.models.as_slice().iter().find(|model| model.name == name)
    }
}

/// Finds a model in a catalogue, whose providers are in the order of their names: by its own name at the first provider that
/// has it, else as `provider/model`.
pub fn find<'a>(
    providers: impl IntoIterator<Item = &'a Provider> + Clone,
    wanted: &str,
) -> Option<(&'a Provider, &'a CatalogueModel)> {
    let by_name =
        providers.clone().into_iter().find_map(|provider| Some((provider, provider.model(wanted)?)));
    by_name.or_else(|| {
        let (owner, name) = wanted.split_once('/')?;
        let provider = providers.into_iter().find(|provider| provider.name.as_str() == owner)?;
        Some((provider, provider.model(name)?))
    })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn provider(name: &str, models: &[&str]) -> Provider {
        let models = models.iter().map(|name| CatalogueModel::named(*name)).collect();
        Provider {
            id: ModelProviderId::from_uuid(Uuid::nil()),
            name: name.parse().unwrap(),
            settings: ProviderSettings {
                kind: ProviderKind::OpenAi,
                base_url: "https://llm.example.org/v1".parse().unwrap(),
                key: None,
                cache_prompts: false,
                models: ProviderModels::new(models).unwrap(),
            },
            created_by: UserId::from_uuid(Uuid::nil()),
            created_at: DateTime::UNIX_EPOCH,
            version: 1,
        }
    }

    #[test]
    fn names_and_addresses_are_checked() {
        for good in ["a", "9", "my-llm-2", &"a".repeat(32)] {
            assert!(good.parse::<ProviderName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a b", "a/b", "é", &"a".repeat(33)] {
            assert_eq!(bad.parse::<ProviderName>(), Err(InvalidProvider::Name), "{bad}");
        }
        for good in ["https://api.openai.com/v1", "http://llm:8000", "https://[::1]/v1"] {
            assert!(good.parse::<ProviderUrl>().is_ok(), "{good}");
        }
        let long = format!("https://{}", "a".repeat(2_048));
        for bad in [
            "",
            "ftp://a",
            "https://",
            "https:///a",
            "https://u@a",
            "https://a?b",
            "https://a#b",
            "https://a b",
            &long,
        ] {
            assert_eq!(bad.parse::<ProviderUrl>(), Err(InvalidProvider::Url), "{bad}");
        }
    }

    #[test]
    fn models_are_checked() {
        let named = |names: &[&str]| {
            ProviderModels::new(names.iter().map(|name| CatalogueModel::named(*name)).collect())
        };
        assert!(named(&["a", "meta/llama"]).is_ok());
        assert_eq!(named(&[]), Err(InvalidProvider::Models));
        assert_eq!(named(&["a", "a"]), Err(InvalidProvider::Models));
        assert_eq!(
            ProviderModels::new((0..51).map(|n| CatalogueModel::named(n.to_string())).collect()),
            Err(InvalidProvider::Models)
        );
        assert_eq!(named(&["a", " "]), Err(InvalidProvider::Model(1)));
        let odd = |change: fn(&mut CatalogueModel)| {
            let mut model = CatalogueModel::named("a");
            change(&mut model);
            ProviderModels::new(vec![model])
        };
        assert_eq!(odd(|model| model.max_concurrent = Some(0)), Err(InvalidProvider::Model(0)));
        assert_eq!(odd(|model| model.fallbacks = vec!["a".into()]), Err(InvalidProvider::Model(0)));
        assert_eq!(
            odd(|model| model.fallbacks = vec!["b".into(), "b".into()]),
            Err(InvalidProvider::Model(0))
        );
        assert_eq!(odd(|model| model.fallbacks = vec!["\n".into()]), Err(InvalidProvider::Model(0)));
        assert!(odd(|model| model.fallbacks = vec!["b".into(), "other/a".into()]).is_ok());
    }

    #[test]
    fn a_model_is_found_by_its_name_or_with_its_providers() {
        let catalogue = [provider("east", &["llama", "meta/llama"]), provider("west", &["llama", "east/x"])];
        let found = |wanted: &str| {
            find(&catalogue, wanted).map(|(provider, model)| (provider.name.to_string(), model.name.clone()))
        };
        let at = |provider: &str, model: &str| Some((provider.to_owned(), model.to_owned()));
        assert_eq!(found("llama"), at("east", "llama"));
        assert_eq!(found("west/llama"), at("west", "llama"));
        assert_eq!(found("meta/llama"), at("east", "meta/llama"));
        assert_eq!(found("east/meta/llama"), at("east", "meta/llama"));
        assert_eq!(found("east/x"), at("west", "east/x"), "a name as it stands goes first");
        assert_eq!(found("north/llama"), None);
        assert_eq!(found("gpt-5"), None);
    }
}
