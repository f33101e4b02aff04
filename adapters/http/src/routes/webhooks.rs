//! Webhooks and what was sent to them.

use powerhouse_domain::ids::WebhookId;
use powerhouse_domain::webhooks::{Announced, Delivery, Filter};
use powerhouse_usecases::webhooks::{
    ChangeWebhook, CreateWebhook, Created, DeleteWebhook, EndpointSettings, ListDeliveries, ListWebhooks,
    ReadWebhook, ReplayDelivery, RotateSecret, TestWebhook,
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

mod views;

use views::{DeliveryPage, DeliveryView, WebhookPage, WebhookView, WebhookWithSecret};

/// What the slice uses.
#[derive(Clone)]
pub struct Webhooks {
    /// Lists.
    pub list: ListWebhooks,
    /// Reads.
    pub read: ReadWebhook,
    /// Makes.
    pub create: CreateWebhook,
    /// Changes.
    pub change: ChangeWebhook,
    /// Gives another secret.
    pub rotate: RotateSecret,
    /// Removes.
    pub delete: DeleteWebhook,
    /// Lists what was sent.
    pub deliveries: ListDeliveries,
    /// Sends again.
    pub replay: ReplayDelivery,
    /// Tries.
    pub test: TestWebhook,
}

impl Webhooks {
    pub(crate) fn guarded(&self) -> Router {
        let replay = Router::with_path("{message_id}/replay").post(PostReplay(self.replay.clone()));
        let deliveries =
            Router::with_path("deliveries").get(GetDeliveries(self.deliveries.clone())).push(replay);
        let one = Router::with_path("{webhook_id}")
            .get(GetWebhook(self.read.clone()))
            .put(PutWebhook(self.change.clone()))
            .delete(RemoveWebhook(self.delete.clone()))
            .push(Router::with_path("rotate-secret").post(PostSecret(self.rotate.clone())))
            .push(Router::with_path("test").post(PostTest(self.test.clone())))
            .push(deliveries);
        Router::with_path("webhooks")
            .get(GetWebhooks(self.list.clone()))
            .post(NewWebhook(self.create.clone()))
            .push(one)
    }
}

/// Who is told, and of what.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewWebhookBody {
    /// An https URL on the public Internet, or on a host that the operator allows.
    #[salvo(schema(example = "https://example.org/hooks/powerhouse"))]
    url: String,
    /// `run.queued`, `run.started`, `run.waiting`, `run.succeeded`, `run.failed`, `run.cancelled`, `run.timed_out`;
    /// all of them when left out.
    #[serde(default)]
    events: Vec<String>,
}

/// All that can be changed of a webhook.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WebhookBody {
    /// Where it is.
    url: String,
    /// What it wants to hear of; all when left out.
    #[serde(default)]
    events: Vec<String>,
    /// Whether it is told.
    #[serde(default = "yes")]
    enabled: bool,
}

fn yes() -> bool {
    true
}

fn filter(events: &[String]) -> Result<Filter, Problem> {
    if events.len() > Announced::ALL.len() {
        return Err(invalid("/events", format!("at most {} entries", Announced::ALL.len())));
    }
    let events = events.iter().enumerate();
    let events = events.map(|(index, text)| field::<Announced>(&format!("/events/{index}"), text));
    Filter::new(events.collect::<Result<_, _>>()?).map_err(|error| invalid("/events", error))
}

fn created(created: &Created) -> Reply<WebhookWithSecret> {
    let location = format!("/v1/webhooks/{}", created.endpoint.id);
    Reply::created(location, WebhookWithSecret::from(created)).version(created.endpoint.version)
}

fn rotated(created: &Created) -> Reply<WebhookWithSecret> {
    Reply::ok(WebhookWithSecret::from(created))
}

/// How what is sent to a webhook is shown.
fn sent(webhook: WebhookId) -> impl Fn(&Delivery) -> Reply<DeliveryView> + Copy {
    move |delivery| {
        Reply::accepted(format!("/v1/webhooks/{webhook}/deliveries"), DeliveryView::from(delivery))
    }
}

struct GetWebhooks(ListWebhooks);

/// A page of webhooks
#[endpoint(operation_id = "list_webhooks", tags("webhooks"), security(["bearer" = []]),
    parameters(("limit" = Option<u16>, Query, description = "1 to 100, 20 by default"),
               ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status_code = 200, description = "A page.", body = WebhookPage)))]
impl GetWebhooks {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<WebhookPage>, Problem> {
        let (after, limit) = page(req)?;
        let page = self.0.execute(principal(depot)?, after, limit).await?;
        let items = page.items.iter().map(Into::into).collect();
        Ok(Reply::ok(WebhookPage { items, next_cursor: page.next.as_ref().map(cursor::encode) }))
    }
}

struct NewWebhook(CreateWebhook);

/// Be told of what happens to runs; the secret is shown this once
#[endpoint(operation_id = "create_webhook", tags("webhooks"), security(["bearer" = []]),
    request_body = NewWebhookBody,
    responses((status_code = 201, description = "The webhook with its secret.", body = WebhookWithSecret)))]
impl NewWebhook {
    async fn handle(
        &self,
        req: &mut Request,
        depot: &mut Depot,
    ) -> Result<Reply<WebhookWithSecret>, Problem> {
        let NewWebhookBody { url, events } = json(req).await?;
        let (url, filter) = (field("/url", &url)?, filter(&events)?);
        answer(self.0.execute(principal(depot)?, url, filter, &once(depot, created)).await, created)
    }
}

struct GetWebhook(ReadWebhook);

/// A webhook
#[endpoint(operation_id = "get_webhook", tags("webhooks"), security(["bearer" = []]),
    parameters(("webhook_id" = String, Path, description = "`webhook_…`")),
    responses((status_code = 200, description = "The webhook.", body = WebhookView)))]
impl GetWebhook {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<WebhookView>, Problem> {
        let endpoint = self.0.execute(principal(depot)?, id(req, "webhook_id", "webhook")?).await?;
        Ok(Reply::ok(WebhookView::from(&endpoint)).version(endpoint.version))
    }
}

struct PutWebhook(ChangeWebhook);

/// Change where a webhook is, what it wants to hear of, and whether it is told
#[endpoint(operation_id = "update_webhook", tags("webhooks"), security(["bearer" = []]), request_body = WebhookBody,
    parameters(("webhook_id" = String, Path, description = "`webhook_…`"),
               ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status_code = 200, description = "The webhook as changed.", body = WebhookView)))]
impl PutWebhook {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<WebhookView>, Problem> {
        let (id, version) = (id(req, "webhook_id", "webhook")?, if_match(req)?);
        let WebhookBody { url, events, enabled } = json(req).await?;
        let settings =
            EndpointSettings { url: field("/url", &url)?, filter: filter(&events)?, is_enabled: enabled };
        let endpoint = self.0.execute(principal(depot)?, id, version, settings).await?;
        Ok(Reply::ok(WebhookView::from(&endpoint)).version(endpoint.version))
    }
}

struct RemoveWebhook(DeleteWebhook);

/// Remove a webhook, with what is on its way to it
#[endpoint(operation_id = "delete_webhook", tags("webhooks"), security(["bearer" = []]),
    parameters(("webhook_id" = String, Path, description = "`webhook_…`"),
               ("If-Match" = Option<String>, Header, description = "The ETag that was read")))]
impl RemoveWebhook {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<NoContent, Problem> {
        let (id, version) = (id(req, "webhook_id", "webhook")?, if_match(req)?);
        self.0.execute(principal(depot)?, id, version).await?;
        Ok(NoContent)
    }
}

struct PostSecret(RotateSecret);

/// Give a webhook another secret, shown this once; the one before signs too for a day
#[endpoint(operation_id = "rotate_webhook_secret", tags("webhooks"), security(["bearer" = []]),
    parameters(("webhook_id" = String, Path, description = "`webhook_…`")),
    responses((status_code = 200, description = "The webhook with its secret.", body = WebhookWithSecret)))]
impl PostSecret {
    async fn handle(
        &self,
        req: &mut Request,
        depot: &mut Depot,
    ) -> Result<Reply<WebhookWithSecret>, Problem> {
        let (id, once) = (id(req, "webhook_id", "webhook")?, once(depot, rotated));
        answer(self.0.execute(principal(depot)?, id, &once).await, rotated)
    }
}

struct PostTest(TestWebhook);

/// Send a webhook an event that means nothing
#[endpoint(operation_id = "test_webhook", tags("webhooks"), security(["bearer" = []]),
    parameters(("webhook_id" = String, Path, description = "`webhook_…`")),
    responses((status_code = 202, description = "What is sent.", body = DeliveryView)))]
impl PostTest {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<DeliveryView>, Problem> {
        let id = id(req, "webhook_id", "webhook")?;
        answer(self.0.execute(principal(depot)?, id, &once(depot, sent(id))).await, sent(id))
    }
}

struct GetDeliveries(ListDeliveries);

/// A page of what was sent to a webhook, newest first; it is kept for 30 days
#[endpoint(operation_id = "list_webhook_deliveries", tags("webhooks"), security(["bearer" = []]),
    parameters(("webhook_id" = String, Path, description = "`webhook_…`"),
               ("limit" = Option<u16>, Query, description = "1 to 100, 20 by default"),
               ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status_code = 200, description = "A page.", body = DeliveryPage)))]
impl GetDeliveries {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<DeliveryPage>, Problem> {
        let (before, limit) = page(req)?;
        let id = id(req, "webhook_id", "webhook")?;
        let page = self.0.execute(principal(depot)?, id, before, limit).await?;
        let items = page.items.iter().map(Into::into).collect();
        Ok(Reply::ok(DeliveryPage { items, next_cursor: page.next.as_ref().map(cursor::encode) }))
    }
}

struct PostReplay(ReplayDelivery);

/// Send again what has arrived or was given up, as the same message
#[endpoint(operation_id = "replay_webhook_delivery", tags("webhooks"), security(["bearer" = []]),
    parameters(("webhook_id" = String, Path, description = "`webhook_…`"),
               ("message_id" = String, Path, description = "`message_…`")),
    responses((status_code = 202, description = "The delivery, once more on its way.", body = DeliveryView)))]
impl PostReplay {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<DeliveryView>, Problem> {
        let (id, message) = (id(req, "webhook_id", "webhook")?, id(req, "message_id", "delivery")?);
        answer(self.0.execute(principal(depot)?, id, message, &once(depot, sent(id))).await, sent(id))
    }
}
