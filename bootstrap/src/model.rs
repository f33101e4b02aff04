//! Which model answers: an API that is configured, else a local Ollama, else the offline model.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use powerhouse_models::{Endpoint, OFFLINE_MODEL, OfflineModel, OpenAiCompatible, Retries, TimeOuts};
use powerhouse_ports::models::ModelProvider;
use tokio::time::timeout;
use url::Url;

use crate::settings::{Model, Provider};

const OPENAI: &str = "https://api.openai.com/v1";
/// OpenAI's model when none is named.
const OPENAI_MODEL: &str = "gpt-5-mini";
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
    /// For everybody: `offline` or `openai_compatible`.
    pub(crate) kind: &'static str,
}

/// Chooses as the settings say.
pub(crate) async fn choose(model: &Model) -> anyhow::Result<Chosen> {
    match model.provider {
        Provider::Offline => Ok(offline("as configured")),
        Provider::OpenAiCompatible => remote(model).await,
        Provider::Auto if model.is_configured() => remote(model).await,
        Provider::Auto => Ok(match ollama(model).await {
            Some(chosen) => chosen,
            None => offline("no language model: set OPENAI_API_KEY, or start Ollama"),
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

async fn remote(model: &Model) -> anyhow::Result<Chosen> {
    let url = base_url(model)?;
    let provider = open(model, url.clone())?;
    let name = match &model.name {
        Some(name) => name.clone(),
        None if url.as_str() == OPENAI => OPENAI_MODEL.to_owned(),
        None => first(&provider, PATIENCE).await.with_context(|| {
            format!("{url} does not list its models: set model.name, or see `powerhouse doctor`")
        })?,
    };
    Ok(chosen(provider, name, &url))
}

async fn ollama(model: &Model) -> Option<Chosen> {
    let url: Url = OLLAMA.parse().ok()?;
    let provider = open(model, url.clone()).ok()?;
    let listed = first(&provider, LOCAL_PATIENCE).await.ok()?;
    Some(chosen(provider, model.name.clone().unwrap_or(listed), &url))
}

fn chosen(provider: OpenAiCompatible, name: String, url: &Url) -> Chosen {
    let label = format!("{name} at {url}");
    Chosen { provider: Arc::new(provider), default_model: name, label, kind: "openai_compatible" }
}

fn base_url(model: &Model) -> anyhow::Result<Url> {
    model.base_url.clone().map_or_else(|| OPENAI.parse(), Ok).context("OpenAI's URL")
}

fn open(model: &Model, base_url: Url) -> anyhow::Result<OpenAiCompatible> {
    let endpoint = Endpoint {
        base_url,
        key: model.api_key.clone(),
        time_outs: TimeOuts::default(),
        retries: Retries::default(),
    };
    OpenAiCompatible::new(endpoint)
        .context("the model's API cannot be used: see model.base_url, model.api_key")
}

async fn first(provider: &OpenAiCompatible, patience: Duration) -> anyhow::Result<String> {
    let models = timeout(patience, provider.models()).await.context("there was no answer in time")??;
    models.into_iter().next().context("it has no model")
}

/// Whether the configured API answers and takes the key.
pub(crate) async fn reach(model: &Model) -> anyhow::Result<()> {
    first(&open(model, base_url(model)?)?, PATIENCE).await.map(drop)
}
