//! Models and their providers as callers read them.

use powerhouse_domain::catalogue::{CatalogueModel, Provider};
use powerhouse_usecases::catalogue::AvailableModel;
use salvo::oapi::ToSchema;
use serde::{Deserialize, Serialize};

use crate::reply::instant;

/// The key of an API: a secret of the tenant's, which is put in as a request leaves.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[salvo(schema(name = "ModelProviderKey"))]
pub(super) struct KeyBody {
    /// The secret's name, as at `/v1/secrets`. It may be put in later.
    #[salvo(schema(example = "openai"))]
    pub(super) secret: String,
}

/// A model of a provider.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[salvo(schema(name = "CatalogueModel"))]
pub(super) struct ModelBody {
    /// As its provider and the price list name it.
    #[salvo(schema(example = "gpt-5-mini"))]
    name: String,
    /// The most tokens that it reads; a longer conversation goes to the next fallback.
    #[serde(default)]
    context_tokens: Option<u32>,
    /// The most tokens that it generates in a call.
    #[serde(default)]
    max_output_tokens: Option<u32>,
    /// The most calls of it that each process has under way at the same time.
    #[serde(default)]
    max_concurrent: Option<u32>,
    /// Up to 5 models that stand in for it while its provider cannot be reached, in this order: of this tenant's providers,
    /// or of the platform's.
    #[serde(default)]
    pub(super) fallbacks: Vec<String>,
    /// Whether a call may be made twice when its answer is late. Both are paid for.
    #[serde(default)]
    hedging: bool,
}

impl From<ModelBody> for CatalogueModel {
    fn from(body: ModelBody) -> Self {
        Self {
            name: body.name,
            context_tokens: body.context_tokens,
            max_output_tokens: body.max_output_tokens,
            max_concurrent: body.max_concurrent,
            fallbacks: body.fallbacks,
            is_hedged: body.hedging,
        }
    }
}

impl From<&CatalogueModel> for ModelBody {
    fn from(model: &CatalogueModel) -> Self {
        let CatalogueModel { name, context_tokens, max_output_tokens, max_concurrent, fallbacks, is_hedged } =
            model.clone();
        Self { name, context_tokens, max_output_tokens, max_concurrent, fallbacks, hedging: is_hedged }
    }
}

/// A provider of models.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "ModelProvider"))]
pub(super) struct ProviderView {
    id: String,
    name: String,
    /// `openai` or `anthropic`.
    kind: &'static str,
    base_url: String,
    /// The key of its API.
    key: Option<KeyBody>,
    cache_prompts: bool,
    models: Vec<ModelBody>,
    created_by: String,
    created_at: String,
}

impl From<&Provider> for ProviderView {
    fn from(provider: &Provider) -> Self {
        let settings = &provider.settings;
        Self {
            id: provider.id.to_string(),
            name: provider.name.to_string(),
            kind: settings.kind.as_str(),
            base_url: settings.base_url.as_str().to_owned(),
            key: settings.key.as_ref().map(|name| KeyBody { secret: name.to_string() }),
            cache_prompts: settings.cache_prompts,
            models: settings.models.as_slice().iter().map(Into::into).collect(),
            created_by: provider.created_by.to_string(),
            created_at: instant(provider.created_at),
        }
    }
}

/// A page of providers.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "ModelProviderPage"))]
pub(super) struct ProviderPage {
    pub(super) items: Vec<ProviderView>,
    /// Where the next page begins; none when this is the last.
    pub(super) next_cursor: Option<String>,
}

/// A model that an agent may name.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Model"))]
struct ModelView {
    name: String,
    /// Its provider; the platform's when there is none.
    provider: Option<String>,
    /// Whether agents that name no model have it.
    is_default: bool,
    context_tokens: Option<u32>,
    max_output_tokens: Option<u32>,
    max_concurrent: Option<u32>,
    /// What stands in for it, in this order.
    fallbacks: Vec<String>,
    /// Whether a call may be made twice when its answer is late.
    hedging: bool,
}

/// The models that agents may name.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Models"))]
pub(super) struct ModelsView {
    /// In the order in which a name is looked for.
    items: Vec<ModelView>,
}

impl From<&[AvailableModel]> for ModelsView {
    fn from(models: &[AvailableModel]) -> Self {
        let items = models.iter().map(|AvailableModel { model, provider, is_default }| {
            let CatalogueModel {
                name,
                context_tokens,
                max_output_tokens,
                max_concurrent,
                fallbacks,
                is_hedged,
            } = model.clone();
            ModelView {
                name,
                provider: provider.as_ref().map(ToString::to_string),
                is_default: *is_default,
                context_tokens,
                max_output_tokens,
                max_concurrent,
                fallbacks,
                hedging: is_hedged,
            }
        });
        Self { items: items.collect() }
    }
}
