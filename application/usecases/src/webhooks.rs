//! Webhooks: who is told, what was sent to them, and the task that sends it.

mod change_webhook;
mod create_webhook;
mod deliverer;
mod deliveries;
mod read_webhooks;
mod secrets;

pub use change_webhook::{ChangeWebhook, DeleteWebhook, EndpointSettings, RotateSecret};
pub use create_webhook::{CreateWebhook, Created};
pub use deliverer::Deliverer;
pub use deliveries::{ListDeliveries, ReplayDelivery, TestWebhook};
pub use read_webhooks::{ListWebhooks, ReadWebhook};
pub use secrets::Secrets;

use powerhouse_domain::access::{self, Permit, Principal};
use powerhouse_domain::ids::WebhookId;
use powerhouse_ports::webhooks::{PostError, WebhookSender};

use crate::{Refused, permit};

const NO_WEBHOOK: Refused = Refused::NotFound("webhook");

fn changing(principal: &Principal, id: WebhookId) -> Result<Permit<access::UpdateWebhook>, Refused> {
    let visible = principal.permit::<access::ReadWebhook>(id).is_ok();
    permit::<access::UpdateWebhook>(principal, id, "webhook", visible)
}

fn check_url(sender: &dyn WebhookSender, url: &str) -> Result<(), Refused> {
    sender.check(url).map_err(|error: PostError| Refused::invalid("/url", error))
}
