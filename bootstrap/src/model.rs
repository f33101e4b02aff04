//! Which model answers: an API that is configured, else a local Ollama, else the offline model.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use powerhouse_models::{
    Anthropic, Endpoint, OFFLINE_MODEL, OfflineModel, OpenAiCompatible, Retries, TimeOuts,
};
use powerhouse_ports::models::{ModelError, ModelProvider};
use tokio::time::timeout;
use url::Url;

use crate::settings::{Model, Provider};

pub(crate) const OPENAI: &str = "https://api.openai.com/v1";
/// OpenAI's model when none is named.
const OPENAI_MODEL: &str = "gpt-5-mini";
const ANTHROPIC: &str = "https://api.anthropic.com/v1";
/// Anthropic's model when none is named.
const ANTHROPIC_MODEL: &str = "claude-sonnet-4-5";
const OLLAMA: &str = "http://127.0.0.1:11434/v1";
/// How long a local Ollama has to show that it is there.
const LOCAL_PATIENCE: Duration = Duration::from_millis(500);
/// How long an API has to list its models.
const PATIENCE: Duration = Duration::from_secs(15);

/// A provider, and the model of agents that name none.
pub(crate) struct Chosen {
    pub(crate) provider: Arc<dyn ModelProvider>,
    pub(crate) default_model: String,
    /// For the operator: what answers, and where.
    pub(crate) label: String,
    /// For everybody: `offline`, `openai_compatible` or `anthropic`.
    pub(crate) kind: &'static str,
}

/// Chooses as the settings say.
pub(crate) async fn choose(model: &Model) -> anyhow::Result<Chosen> {
    match model.provider {
        Provider::Offline => Ok(offline("as configured")),
        Provider::OpenAiCompatible | Provider::Anthropic => remote(model).await,
        Provider::Auto if model.is_configured() => remote(model).await,
        Provider::Auto => Ok(match ollama(model).await {
            Some(chosen) => chosen,
            None => offline("no language model: set OPENAI_API_KEY or ANTHROPIC_API_KEY, or start Ollama"),
        }),
    }
}

fn offline(reason: &str) -> Chosen {
    Chosen {
        provider: Arc::new(OfflineModel),
        default_model: OFFLINE_MODEL.to_owned(),
        label: format!("{OFFLINE_MODEL} ({reason})"),
        kind: "offline",
    }
}

/// A provider behind HTTP.
enum Remote {
    OpenAi(OpenAiCompatible),
    Anthropic(Anthropic),
}

impl Remote {
    fn open(model: &Model, base_url: Url) -> anyhow::Result<Self> {
        let endpoint = Endpoint {
            base_url,
            key: model.api_key.clone(),
            time_outs: TimeOuts::default(),
            retries: Retries::default(),
            cache_prompts: model.cache_prompts,
        };
        let opened = match model.provider {
            Provider::Anthropic => Anthropic::new(endpoint).map(Self::Anthropic),
            _ => OpenAiCompatible::new(endpoint).map(Self::OpenAi),
        };
        opened.context("the model's API cannot be used: see model.base_url, model.api_key")
    }

    async fn models(&self) -> Result<Vec<String>, ModelError> {
        match self {
            Self::OpenAi(provider) => provider.models().await,
            Self::Anthropic(provider) => provider.models().await,
        }
    }

    /// The first model that it lists.
    async fn first(&self, patience: Duration) -> anyhow::Result<String> {
        let models = timeout(patience, self.models()).await.context("there was no answer in time")??;
        models.into_iter().next().context("it has no model")
    }

    fn chosen(self, name: String, url: &Url) -> Chosen {
        let label = format!("{name} at {url}");
        let (provider, kind): (Arc<dyn ModelProvider>, _) = match self {
            Self::OpenAi(provider) => (Arc::new(provider), "openai_compatible"),
            Self::Anthropic(provider) => (Arc::new(provider), "anthropic"),
        };
        Chosen { provider, default_model: name, label, kind }
    }
}

async fn remote(model: &Model) -> anyhow::Result<Chosen> {
    let url = base_url(model)?;
    let provider = Remote::open(model, url.clone())?;
    let name = match (&model.name, url.as_str()) {
        (Some(name), _) => name.clone(),
        (None, OPENAI) => OPENAI_MODEL.to_owned(),
        (None, ANTHROPIC) => ANTHROPIC_MODEL.to_owned(),
        (None, _) => provider.first(PATIENCE).await.with_context(|| {
            format!("{url} does not list its models: set model.name, or see `powerhouse doctor`")
        })?,
    };
    Ok(provider.chosen(name, &url))
}

async fn ollama(model: &Model) -> Option<Chosen> {
    let url: Url = OLLAMA.parse().ok()?;
    let provider = Remote::open(model, url.clone()).ok()?;
    let listed = provider.first(LOCAL_PATIENCE).await.ok()?;
    Some(provider.chosen(model.name.clone().unwrap_or(listed), &url))
}

fn base_url(model: &Model) -> anyhow::Result<Url> {
    let makers = if model.provider == Provider::Anthropic { ANTHROPIC } else { OPENAI };
    model.base_url.clone().map_or_else(|| makers.parse(), Ok).context("the maker's URL")
}

/// Whether the configured API answers and takes the key.
pub(crate) async fn reach(model: &Model) -> anyhow::Result<()> {
    Remote::open(model, base_url(model)?)?.first(PATIENCE).await.map(drop)
}
