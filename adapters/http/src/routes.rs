//! The routes, by slice, and the service that they make up.

use std::sync::Arc;

use powerhouse_ports::clock::IdSource;
use powerhouse_ports::limits::{Rate, RateLimiter};
use powerhouse_usecases::Keeper;
use powerhouse_usecases::sessions::Authenticate;
use salvo::catcher::Catcher;
use salvo::oapi::OpenApi;
use salvo::{Router, Service};

use crate::documents;
use crate::guard::{Anonymous, Guard};
use crate::idempotency::Keys;
use crate::layers::{CatchPanic, Correlate, NoRoute, SecurityHeaders, WellFormed};
use crate::measure::Measure;

pub(crate) mod agents;
pub(crate) mod approvals;
pub(crate) mod audit;
pub(crate) mod collections;
pub(crate) mod health;
pub(crate) mod memories;
pub(crate) mod models;
pub(crate) mod money;
pub(crate) mod runs;
pub(crate) mod schedules;
pub(crate) mod secrets;
pub(crate) mod selection;
pub(crate) mod sessions;
pub(crate) mod tenants;
pub(crate) mod threads;
pub(crate) mod tools;
pub(crate) mod users;
pub(crate) mod webhooks;

/// What the API is made of: each slice holds just what its routes use.
#[derive(Clone)]
pub struct Api {
    /// Signing up, and one's own tenant.
    pub tenants: tenants::Tenants,
    /// Signing in and out.
    pub sessions: sessions::Sessions,
    /// Members.
    pub users: users::Users,
    /// Agents.
    pub agents: agents::Agents,
    /// Runs.
    pub runs: runs::Runs,
    /// Conversations.
    pub threads: threads::Threads,
    /// What agents remember.
    pub memories: memories::Memories,
    /// What the selection of agents knows.
    pub selection: selection::Selection,
    /// What runs ask people.
    pub approvals: approvals::Approvals,
    /// Schedules.
    pub schedules: schedules::Schedules,
    /// Webhooks.
    pub webhooks: webhooks::Webhooks,
    /// Models and their providers.
    pub models: models::Models,
    /// Secrets.
    pub secrets: secrets::Secrets,
    /// Tools and MCP servers.
    pub tools: tools::Tools,
    /// Collections of documents.
    pub collections: collections::Collections,
    /// Budgets, prices and usage.
    pub money: money::Money,
    /// Who changed what.
    pub audit: audit::Audit,
    /// Health.
    pub health: health::Health,
    /// Who calls.
    pub authenticate: Authenticate,
    /// How often they may.
    pub limiter: Arc<dyn RateLimiter>,
    /// What an address may do before anybody has signed in.
    pub anonymous: Rate,
    /// How answers to requests with a key are kept.
    pub keeper: Keeper,
    /// Names requests.
    pub ids: Arc<dyn IdSource>,
}

fn router(api: &Api) -> Router {
    let anonymous = Anonymous { limiter: Arc::clone(&api.limiter), rate: api.anonymous };
    let guard = Guard { authenticate: api.authenticate.clone(), limiter: Arc::clone(&api.limiter) };
    let open = Router::new().hoop(anonymous).push(api.tenants.open()).push(api.sessions.open());
    let guarded = Router::new()
        .hoop(guard)
        .hoop(Keys(api.keeper.clone()))
        .push(api.tenants.guarded())
        .push(api.sessions.guarded())
        .push(api.users.guarded())
        .push(api.agents.guarded())
        .push(api.runs.guarded())
        .push(api.threads.guarded())
        .push(api.memories.guarded())
        .push(api.selection.guarded())
        .push(api.approvals.guarded())
        .push(api.schedules.guarded())
        .push(api.webhooks.guarded())
        .push(api.models.guarded())
        .push(api.secrets.guarded())
        .push(api.tools.guarded())
        .push(api.collections.guarded())
        .push(api.money.guarded())
        .push(api.audit.guarded());
    Router::new().push(Router::with_path("v1").push(open).push(guarded)).push(api.health.open())
}

/// The OpenAPI document of the routes (OpenAPI 3.1).
pub fn openapi(api: &Api) -> OpenApi {
    documents::describe(&router(api))
}

/// The service: the layers of every request in their order, then the routes.
pub fn service(api: &Api) -> Service {
    let routes = router(api);
    let document = documents::describe(&routes);
    Service::new(routes.push(documents::routes(&document)))
        .hoop(Measure)
        .hoop(Correlate { ids: Arc::clone(&api.ids) })
        .hoop(SecurityHeaders)
        .hoop(CatchPanic)
        .hoop(WellFormed)
        .catcher(Catcher::new(NoRoute { hint: "see /openapi.json" }))
}
