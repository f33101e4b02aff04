//! Who turns texts into vectors: an API that is configured, that of the model where it is known to have vectors, else the
//! offline embedder; or nobody.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use powerhouse_models::{Endpoint, OFFLINE_EMBEDDINGS, OfflineEmbedder, OpenAiCompatible, Retries, TimeOuts};
use powerhouse_ports::embeddings::Embedder;
use url::Url;

use crate::model::OPENAI;
use crate::settings::{Embeddings, EmbeddingsProvider, Model, Provider};

/// OpenAI's model when none is named.
const OPENAI_EMBEDDINGS: &str = "text-embedding-3-small";
/// How long somebody waits for vectors, at most: they are made while a request or a tool's call is under way.
const PATIENCE: Duration = Duration::from_secs(50);

/// An embedder, and its model.
pub(crate) struct Chosen {
    pub(crate) embedder: Arc<dyn Embedder>,
    pub(crate) model: String,
    /// For the operator: what makes vectors, and where.
    pub(crate) label: String,
    /// Whether it is asked over the network.
    pub(crate) is_remote: bool,
}

/// Chooses as the settings say; nobody when they say so. Nobody is asked.
pub(crate) fn choose(settings: &Embeddings, model: &Model) -> anyhow::Result<Option<Chosen>> {
    let is_named = settings.model.is_some() || settings.base_url.is_some() || settings.api_key.is_some();
    match settings.provider {
        EmbeddingsProvider::None => Ok(None),
        EmbeddingsProvider::OpenAiCompatible => remote(settings, model).map(Some),
        EmbeddingsProvider::Auto if is_named || is_openai(model) => remote(settings, model).map(Some),
        EmbeddingsProvider::Auto | EmbeddingsProvider::Offline => Ok(Some(Chosen {
            embedder: Arc::new(OfflineEmbedder),
            model: OFFLINE_EMBEDDINGS.to_owned(),
            label: format!(
                "{OFFLINE_EMBEDDINGS} (texts are alike when they share words; for more, set embeddings.model)"
            ),
            is_remote: false,
        })),
    }
}

/// Whether the model's API is one of chat completions that somebody has configured.
fn has_api(model: &Model) -> bool {
    matches!(model.provider, Provider::Auto | Provider::OpenAiCompatible) && model.is_configured()
}

fn is_openai(model: &Model) -> bool {
    let is_openais = |url: &Url| url.as_str().trim_end_matches('/') == OPENAI;
    has_api(model) && model.api_key.is_some() && model.base_url.as_ref().is_none_or(is_openais)
}

fn remote(settings: &Embeddings, model: &Model) -> anyhow::Result<Chosen> {
    // A key goes only to the address that it was given for.
    let is_beside = settings.base_url.is_none() && settings.api_key.is_none() && has_api(model);
    let (url, key) = if is_beside {
        (model.base_url.clone(), model.api_key.clone())
    } else {
        (settings.base_url.clone(), settings.api_key.clone())
    };
    // Texts go nowhere that nobody has chosen: not to OpenAI without its key.
    let url = match url {
        Some(url) => url,
        None if key.is_some() => OPENAI.parse().context("the maker's URL")?,
        None => anyhow::bail!(
            "set embeddings.base_url: who is to turn texts into vectors? For OpenAI, set embeddings.api_key"
        ),
    };
    let name = match &settings.model {
        Some(name) => name.clone(),
        None if url.as_str().trim_end_matches('/') == OPENAI => OPENAI_EMBEDDINGS.to_owned(),
        None => anyhow::bail!("set embeddings.model: {url} may have many"),
    };
    let endpoint = Endpoint {
        base_url: url.clone(),
        key,
        time_outs: TimeOuts { first_byte: Duration::from_secs(20), total: PATIENCE, ..TimeOuts::default() },
        retries: Retries::default(),
        cache_prompts: false,
    };
    let embedder = OpenAiCompatible::new(endpoint)
        .context("the API of vectors cannot be used: see embeddings.base_url, embeddings.api_key")?;
    let label = format!("{name} at {url}");
    Ok(Chosen { embedder: Arc::new(embedder), model: name, label, is_remote: true })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Layers;

    fn chosen(variables: &[(&str, &str)]) -> anyhow::Result<Option<String>> {
        let nowhere = tempfile::tempdir().unwrap();
        let file = nowhere.path().join("empty.toml");
        std::fs::write(&file, "").unwrap();
        let variables = variables.iter().map(|(key, value)| (key.into(), value.into()));
        let settings = Layers::read(Some(&file), variables).unwrap().settings().unwrap();
        Ok(choose(&settings.embeddings, &settings.model)?.map(|chosen| chosen.label))
    }

    #[test]
    fn vectors_come_from_the_models_api_only_where_it_is_known_to_have_them() {
        let key = ("OPENAI_API_KEY", "sk-canary");
        let other = ("OPENAI_BASE_URL", "http://llm.example/v1");
        let named = ("POWERHOUSE__EMBEDDINGS__MODEL", "bge");
        let openai = "text-embedding-3-small at https://api.openai.com/v1";
        assert_eq!(chosen(&[key]).unwrap().unwrap(), openai);
        for offline in [&[][..], &[other, key], &[("ANTHROPIC_API_KEY", "sk-canary")]] {
            let label = chosen(offline).unwrap().unwrap();
            assert!(label.starts_with(OFFLINE_EMBEDDINGS), "{label}");
        }
        for nobody in [&[named][..], &[named, ("ANTHROPIC_API_KEY", "sk-canary")]] {
            assert!(chosen(nobody).is_err(), "texts would go to an address that nobody has chosen");
        }
        assert_eq!(chosen(&[other, named]).unwrap().unwrap(), "bge at http://llm.example/v1");
        let own = ("POWERHOUSE__EMBEDDINGS__BASE_URL", "http://vectors.example/v1");
        assert_eq!(chosen(&[key, own, named]).unwrap().unwrap(), "bge at http://vectors.example/v1");
        assert!(chosen(&[key, own]).is_err(), "which of its models");
        let none = ("POWERHOUSE__EMBEDDINGS__PROVIDER", "none");
        assert_eq!(chosen(&[key, none]).unwrap(), None);
        let offline = ("POWERHOUSE__EMBEDDINGS__PROVIDER", "offline");
        assert!(chosen(&[key, offline]).unwrap().unwrap().starts_with(OFFLINE_EMBEDDINGS));
    }
}
