//! Sends what is due. Each replica has one; a claim keeps two from sending the same, unless one dies.

use std::sync::Arc;
use std::time::Duration;

use powerhouse_domain::audit::{Actor, AuditAction, Entry};
use powerhouse_domain::webhooks::{Attempt, Delivery, DueDelivery, Endpoint, Retries, Secret, signatures};
use powerhouse_ports::Chain;
use powerhouse_ports::clock::Clock;
use powerhouse_ports::platform::PlatformStore;
use powerhouse_ports::store::{SealedSecrets, StoreError, TenantStore};
use powerhouse_ports::webhooks::{Post, WebhookSender};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Secrets;
use crate::audited;
use crate::secrets::Failure;

/// Requests at the same time.
const AT_ONCE: usize = 32;
/// How long a claim holds: longer than any request takes.
const CLAIM: Duration = Duration::from_mins(1);
/// The pause when nothing is due.
const EVERY: Duration = Duration::from_secs(1);

/// Sends what is due.
#[derive(Clone)]
pub struct Deliverer {
    /// Where deliveries are claimed.
    pub platform: Arc<dyn PlatformStore>,
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
    /// Sends them.
    pub sender: Arc<dyn WebhookSender>,
    /// Opens the secrets that sign them.
    pub secrets: Secrets,
    /// How often, and when, they are tried again.
    pub retries: Retries,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
    /// Says that there is something to send.
    pub wake: Arc<Notify>,
}

/// All that one attempt needs.
struct Known {
    endpoint: Endpoint,
    delivery: Delivery,
    secrets: SealedSecrets,
}

impl Deliverer {
    /// Works until `stop` is cancelled; requests that are under way are then left, and made again by others.
    pub async fn run(self, stop: CancellationToken) {
        let mut sending = JoinSet::new();
        while !stop.is_cancelled() {
            let room = AT_ONCE - sending.len();
            let claimed = self.claim(room).await;
            let is_all = claimed.len() < room;
            for due in claimed {
                let deliverer = self.clone();
                sending.spawn(async move { deliverer.deliver(due).await });
            }
            if !is_all && sending.len() < AT_ONCE {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.wake.notified(), if is_all => {}
                () = tokio::time::sleep(EVERY), if is_all => {}
                Some(ended) = sending.join_next() => report(ended),
            }
        }
    }

    async fn claim(&self, room: usize) -> Vec<DueDelivery> {
        let Some(limit) = u32::try_from(room).ok().filter(|limit| *limit > 0) else { return Vec::new() };
        match self.platform.claim_deliveries(limit, self.clock.now(), CLAIM).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "due deliveries could not be claimed");
                Vec::new()
            }
        }
    }

    async fn deliver(&self, due: DueDelivery) {
        if let Err(error) = self.try_deliver(&due).await {
            // The claim ends by itself.
            tracing::warn!(error = %Chain(&*error), webhook = %due.webhook(), "a delivery was not written down");
        }
    }

    async fn try_deliver(&self, due: &DueDelivery) -> Result<(), Failure> {
        let Some(Known { endpoint, delivery, secrets }) = self.find(due).await? else { return Ok(()) };
        let tried = match self.obstacle(due, &endpoint, &delivery) {
            Some(why) => delivery.given_up(why, self.clock.now()),
            None => match self.secrets.open(&due.scope(), endpoint.id, &secrets, self.clock.now()).await? {
                None => delivery.given_up("the secret cannot be opened", self.clock.now()),
                Some(secrets) => {
                    let post = self.post(&endpoint, &delivery, &secrets);
                    let attempt = self.attempt(&post).await;
                    delivery.attempted(attempt, &self.retries)
                }
            },
        };
        Ok(self.record(due, &tried).await?)
    }

    /// What is to be sent, if it is still to be sent by this claim.
    async fn find(&self, due: &DueDelivery) -> Result<Option<Known>, StoreError> {
        let mut view = self.store.read(&due.scope()).await?;
        let webhooks = view.webhooks();
        let (Some(endpoint), Some(delivery), Some(secrets)) = (
            webhooks.find(due.webhook()).await?,
            webhooks.delivery(due.webhook(), due.message()).await?,
            webhooks.secrets(due.webhook()).await?,
        ) else {
            return Ok(None);
        };
        let is_ours = delivery.parts().attempts == due.attempt();
        Ok(is_ours.then_some(Known { endpoint, delivery, secrets }))
    }

    /// Why it is not even tried.
    fn obstacle(&self, due: &DueDelivery, endpoint: &Endpoint, delivery: &Delivery) -> Option<&'static str> {
        if !endpoint.is_enabled() {
            return Some("the webhook is disabled");
        }
        let attempts = due.attempt().saturating_sub(delivery.parts().before);
        (attempts > self.retries.attempts()).then_some("every attempt was interrupted")
    }

    fn post(&self, endpoint: &Endpoint, delivery: &Delivery, secrets: &[Secret]) -> Post {
        let parts = delivery.parts();
        let timestamp = self.clock.now().timestamp();
        let signature = signatures(secrets, parts.message, timestamp, &parts.payload);
        Post {
            url: endpoint.url.as_str().to_owned(),
            headers: [
                ("webhook-id", parts.message.to_string()),
                ("webhook-timestamp", timestamp.to_string()),
                ("webhook-signature", signature),
            ],
            body: parts.payload.clone(),
        }
    }

    /// No transaction is open meanwhile (ADR 0003).
    async fn attempt(&self, post: &Post) -> Attempt {
        let answer = self.sender.post(post).await;
        let (status, note) = match answer {
            Ok(answer) => (Some(answer.status), answer.excerpt),
            Err(error) => (None, error.to_string()),
        };
        Attempt { at: self.clock.now(), status, note }
    }

    async fn record(&self, due: &DueDelivery, delivery: &Delivery) -> Result<(), StoreError> {
        let mut tx = self.store.begin(&due.scope()).await?;
        if !tx.webhooks().record(due, delivery).await? {
            return Ok(());
        }
        if delivery.is_gone()
            && let Some(endpoint) = tx.webhooks().find(due.webhook()).await?
            && endpoint.is_enabled()
        {
            let now = self.clock.now();
            let entry = Entry::new(Actor::Platform, AuditAction::WebhookDisabled, endpoint.id, now);
            match tx.webhooks().update(&endpoint.gone(now)).await {
                Ok(()) => return audited::commit(tx, entry).await,
                // Somebody changed it right then: the next 410 will tell.
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        tx.commit().await
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(error = %Chain(&error), "a delivery panicked");
    }
}
