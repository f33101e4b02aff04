//! What was sent to an endpoint: listed, sent again, and tried.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::ids::{MessageId, WebhookId};
use powerhouse_domain::webhooks::{Announcement, Delivery};
use powerhouse_ports::clock::{Clock, IdSource};
use powerhouse_ports::store::{Limit, Page, TenantStore};
use tokio::sync::Notify;

use super::{NO_WEBHOOK, changing};
use crate::{Once, Refused, permit};

/// Lists what was sent.
#[derive(Clone)]
pub struct ListDeliveries {
    /// Where it is.
    pub store: Arc<dyn TenantStore>,
}

impl ListDeliveries {
    /// An endpoint's deliveries, newest first.
    pub async fn execute(
        &self,
        principal: &Principal,
        id: WebhookId,
        before: Option<MessageId>,
        limit: Limit,
    ) -> Result<Page<Delivery, MessageId>, Refused> {
        let permit = permit::<access::ReadWebhook>(principal, id, "webhook", false)?;
        let mut view = self.store.read(&permit.scope()).await?;
        view.webhooks().find(permit.redeem()).await?.ok_or(NO_WEBHOOK)?;
        Ok(view.webhooks().deliveries(id, before, limit).await?)
    }
}

/// Sends again.
#[derive(Clone)]
pub struct ReplayDelivery {
    /// Where deliveries are.
    pub store: Arc<dyn TenantStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
    /// Wakes the deliverer of this process.
    pub wake: Arc<Notify>,
}

impl ReplayDelivery {
    /// Sends again what has arrived or was given up, as the same message.
    pub async fn execute(
        &self,
        principal: &Principal,
        id: WebhookId,
        message: MessageId,
        once: &Once<Delivery>,
    ) -> Result<Delivery, Refused> {
        let permit = changing(principal, id)?;
        let mut tx = once.begin(&*self.store, &permit.scope()).await?;
        let endpoint = tx.webhooks().find(permit.redeem()).await?.ok_or(NO_WEBHOOK)?;
        let found = tx.webhooks().delivery(id, message).await?;
        let delivery = found.ok_or(Refused::NotFound("delivery"))?;
        if !endpoint.is_enabled() {
            return Err(Refused::conflict("webhook_disabled", "the webhook is disabled"));
        }
        let now = self.clock.now();
        let replayed = delivery.replay(now).map_err(|error| Refused::conflict("delivery_pending", error))?;
        tx.webhooks().replay(&replayed).await.map_err(Refused::stale)?;
        let entry = Entry::by(principal, AuditAction::DeliveryReplayed, id, now);
        once.commit_audited(tx, &replayed, entry.with("message", message)).await?;
        self.wake.notify_one();
        Ok(replayed)
    }
}

/// Tries endpoints.
#[derive(Clone)]
pub struct TestWebhook {
    /// Where deliveries are.
    pub store: Arc<dyn TenantStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
    /// Gives ids.
    pub ids: Arc<dyn IdSource>,
    /// Wakes the deliverer of this process.
    pub wake: Arc<Notify>,
}

impl TestWebhook {
    /// Sends an event that means nothing, whatever the endpoint wants to hear of.
    pub async fn execute(
        &self,
        principal: &Principal,
        id: WebhookId,
        once: &Once<Delivery>,
    ) -> Result<Delivery, Refused> {
        let permit = changing(principal, id)?;
        let mut tx = once.begin(&*self.store, &permit.scope()).await?;
        let endpoint = tx.webhooks().find(permit.redeem()).await?.ok_or(NO_WEBHOOK)?;
        if !endpoint.is_enabled() {
            return Err(Refused::conflict("webhook_disabled", "the webhook is disabled"));
        }
        let message = MessageId::from_uuid(self.ids.next());
        let now = self.clock.now();
        tx.webhooks().announce(id, &Announcement::test(message, now)).await?;
        let delivery = tx.webhooks().delivery(id, message).await?.ok_or(Refused::NotFound("delivery"))?;
        let entry = Entry::by(principal, AuditAction::WebhookTested, id, now);
        once.commit_audited(tx, &delivery, entry.with("message", message)).await?;
        self.wake.notify_one();
        Ok(delivery)
    }
}
