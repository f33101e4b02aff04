//! Models: which there are, and the tenant's own providers of them.

use powerhouse_domain::catalogue::{
    CatalogueModel, InvalidProvider, MAX_FALLBACKS, MAX_MODELS, Provider, ProviderKind, ProviderModels,
    ProviderSettings,
};
use powerhouse_usecases::catalogue::{
    ChangeProvider, CreateProvider, CreateProviderCommand, DeleteProvider, ListModels, ListProviders,
    ReadMaskingRules, ReadProvider, ReplaceMaskingRules,
};
use salvo::Router;
use salvo::oapi::{ToSchema, endpoint};
use salvo::prelude::{Depot, Request};
use serde::Deserialize;

use crate::body::{field, id, if_match, invalid, json, page};
use crate::cursor;
use crate::guard::principal;
use crate::idempotency::{answer, once};
use crate::problem::Problem;
use crate::reply::{NoContent, Reply};

mod masking;
mod views;

use views::{KeyBody, ModelBody, ModelsView, ProviderPage, ProviderView};

/// What the slice uses.
#[derive(Clone)]
pub struct Models {
    /// Lists models.
    pub models: ListModels,
    /// Lists providers.
    pub list: ListProviders,
    /// Reads.
    pub read: ReadProvider,
    /// Makes.
    pub create: CreateProvider,
    /// Changes.
    pub change: ChangeProvider,
    /// Removes.
    pub delete: DeleteProvider,
    /// Reads what is masked.
    pub masking: ReadMaskingRules,
    /// Replaces what is masked.
    pub replace_masking: ReplaceMaskingRules,
}

impl Models {
    pub(crate) fn guarded(&self) -> Router {
        let one = Router::with_path("{model_provider_id}")
            .get(GetProvider(self.read.clone()))
            .put(PutProvider(self.change.clone()))
            .delete(RemoveProvider(self.delete.clone()));
        let providers = Router::with_path("model-providers")
            .get(GetProviders(self.list.clone()))
            .post(NewProvider(self.create.clone()))
            .push(one);
        let models = Router::with_path("models").get(GetModels(self.models.clone()));
        Router::new().push(models).push(providers).push(masking::routes(self))
    }
}

/// Who provides models, and which.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewModelProvider {
    /// 1 to 32 of a-z, 0-9 and -; it stays.
    #[salvo(schema(example = "openai"))]
    name: String,
    /// `openai`: chat completions, as of OpenAI and many others; `anthropic`: messages.
    kind: String,
    /// Where the API begins: an https URL on the public Internet, or on a host that the operator allows.
    #[salvo(schema(example = "https://api.openai.com/v1"))]
    base_url: String,
    /// The key of the API, where it wants one.
    #[serde(default)]
    key: Option<KeyBody>,
    /// Whether the provider is asked to keep prompts, where it does not by itself.
    #[serde(default)]
    cache_prompts: bool,
    /// 1 to 50 models, each once.
    models: Vec<ModelBody>,
}

/// All that can be changed of a provider.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ModelProviderBody {
    /// `openai` or `anthropic`.
    kind: String,
    /// Where the API begins.
    base_url: String,
    /// The key of the API; none when left out.
    #[serde(default)]
    key: Option<KeyBody>,
    /// Whether the provider is asked to keep prompts, where it does not by itself.
    #[serde(default)]
    cache_prompts: bool,
    /// 1 to 50 models, each once.
    models: Vec<ModelBody>,
}

fn settings(
    kind: &str,
    base_url: &str,
    key: Option<&KeyBody>,
    cache_prompts: bool,
    models: Vec<ModelBody>,
) -> Result<ProviderSettings, Problem> {
    if models.len() > MAX_MODELS || models.iter().any(|model| model.fallbacks.len() > MAX_FALLBACKS) {
        return Err(invalid(
            "/models",
            format!("at most {MAX_MODELS} models, and {MAX_FALLBACKS} fallbacks each"),
        ));
    }
    let models = models.into_iter().map(CatalogueModel::from).collect();
    let models = ProviderModels::new(models).map_err(|error| match error {
        InvalidProvider::Model(index) => invalid(&format!("/models/{index}"), error),
        other => invalid("/models", other),
    })?;
    let kind = field::<ProviderKind>("/kind", kind)?;
    let key = key.map(|key| field("/key/secret", &key.secret)).transpose()?;
    Ok(ProviderSettings { kind, base_url: field("/base_url", base_url)?, key, cache_prompts, models })
}

fn created(provider: &Provider) -> Reply<ProviderView> {
    let location = format!("/v1/model-providers/{}", provider.id);
    Reply::created(location, ProviderView::from(provider)).version(provider.version)
}

struct GetModels(ListModels);

/// The models that agents may name
///
/// A name is looked for in the tenant's own providers in the order of their names, and then asked of the platform's, which
/// may have more than are listed. `provider/model` names one of a certain provider.
#[endpoint(operation_id = "list_models", tags("models"), security(["bearer" = []]),
    responses((status_code = 200, description = "The models.", body = ModelsView)))]
impl GetModels {
    async fn handle(&self, depot: &mut Depot) -> Result<Reply<ModelsView>, Problem> {
        Ok(Reply::ok(ModelsView::from(&*self.0.execute(principal(depot)?).await?)))
    }
}

struct GetProviders(ListProviders);

/// A page of the tenant's own providers of models
#[endpoint(operation_id = "list_model_providers", tags("models"), security(["bearer" = []]),
    parameters(("limit" = Option<u16>, Query, description = "1 to 100, 20 by default"),
               ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status_code = 200, description = "A page.", body = ProviderPage)))]
impl GetProviders {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<ProviderPage>, Problem> {
        let (after, limit) = page(req)?;
        let page = self.0.execute(principal(depot)?, after, limit).await?;
        let items = page.items.iter().map(Into::into).collect();
        Ok(Reply::ok(ProviderPage { items, next_cursor: page.next.as_ref().map(cursor::encode) }))
    }
}

struct NewProvider(CreateProvider);

/// Name a provider of models
#[endpoint(operation_id = "create_model_provider", tags("models"), security(["bearer" = []]),
    request_body = NewModelProvider,
    responses((status_code = 201, description = "The provider.", body = ProviderView)))]
impl NewProvider {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<ProviderView>, Problem> {
        let NewModelProvider { name, kind, base_url, key, cache_prompts, models } = json(req).await?;
        let command = CreateProviderCommand {
            name: field("/name", &name)?,
            settings: settings(&kind, &base_url, key.as_ref(), cache_prompts, models)?,
        };
        answer(self.0.execute(principal(depot)?, command, &once(depot, created)).await, created)
    }
}

struct GetProvider(ReadProvider);

/// A provider of models
#[endpoint(operation_id = "get_model_provider", tags("models"), security(["bearer" = []]),
    parameters(("model_provider_id" = String, Path, description = "`modelprovider_…`")),
    responses((status_code = 200, description = "The provider.", body = ProviderView)))]
impl GetProvider {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<ProviderView>, Problem> {
        let id = id(req, "model_provider_id", "model provider")?;
        let provider = self.0.execute(principal(depot)?, id).await?;
        Ok(Reply::ok(ProviderView::from(&provider)).version(provider.version))
    }
}

struct PutProvider(ChangeProvider);

/// Change all of a provider but its name; runs use it from their next call on
#[endpoint(operation_id = "update_model_provider", tags("models"), security(["bearer" = []]),
    request_body = ModelProviderBody,
    parameters(("model_provider_id" = String, Path, description = "`modelprovider_…`"),
               ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status_code = 200, description = "The provider as changed.", body = ProviderView)))]
impl PutProvider {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<ProviderView>, Problem> {
        let (id, version) = (id(req, "model_provider_id", "model provider")?, if_match(req)?);
        let ModelProviderBody { kind, base_url, key, cache_prompts, models } = json(req).await?;
        let settings = settings(&kind, &base_url, key.as_ref(), cache_prompts, models)?;
        let provider = self.0.execute(principal(depot)?, id, version, settings).await?;
        Ok(Reply::ok(ProviderView::from(&provider)).version(provider.version))
    }
}

struct RemoveProvider(DeleteProvider);

/// Remove a provider; the secret that was its key stays
#[endpoint(operation_id = "delete_model_provider", tags("models"), security(["bearer" = []]),
    parameters(("model_provider_id" = String, Path, description = "`modelprovider_…`"),
               ("If-Match" = Option<String>, Header, description = "The ETag that was read")))]
impl RemoveProvider {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<NoContent, Problem> {
        let (id, version) = (id(req, "model_provider_id", "model provider")?, if_match(req)?);
        self.0.execute(principal(depot)?, id, version).await?;
        Ok(NoContent)
    }
}
