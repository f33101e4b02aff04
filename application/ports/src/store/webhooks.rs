//! A tenant's webhooks and what is on its way to them.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use powerhouse_domain::ids::{MessageId, WebhookId};
use powerhouse_domain::webhooks::{Announcement, Delivery, DueDelivery, Endpoint};

use super::{Limit, Page, StoreError};

/// An endpoint's secrets, sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSecrets {
    /// The one that endpoints are shown.
    pub current: Vec<u8>,
    /// The one before, and until when it signs too.
    pub previous: Option<(Vec<u8>, DateTime<Utc>)>,
}

/// A tenant's webhooks. Announcements of runs are written by [`RunRepository`](super::RunRepository), in the statement
/// or the transaction of the change that they announce.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait WebhookRepository: Send {
    /// An endpoint by id.
    async fn find(&mut self, id: WebhookId) -> Result<Option<Endpoint>, StoreError>;
    /// Endpoints in the order of their ids.
    async fn list(
        &mut self,
        after: Option<WebhookId>,
        limit: Limit,
    ) -> Result<Page<Endpoint, WebhookId>, StoreError>;
    /// How many there are.
    async fn count(&mut self) -> Result<u64, StoreError>;
    /// Stores a new endpoint.
    async fn add(&mut self, endpoint: &Endpoint, secrets: &SealedSecrets) -> Result<(), StoreError>;
    /// Stores a change; `Conflict` unless the stored version is the one before.
    async fn update(&mut self, endpoint: &Endpoint) -> Result<(), StoreError>;
    /// Removes an endpoint, with its deliveries. Whether there was one.
    async fn remove(&mut self, id: WebhookId) -> Result<bool, StoreError>;
    /// An endpoint's secrets.
    async fn secrets(&mut self, id: WebhookId) -> Result<Option<SealedSecrets>, StoreError>;
    /// Replaces an endpoint's secrets.
    async fn put_secrets(&mut self, id: WebhookId, secrets: &SealedSecrets) -> Result<(), StoreError>;
    /// Sends an announcement to one endpoint, whatever it wants to hear of.
    async fn announce(&mut self, id: WebhookId, announcement: &Announcement) -> Result<(), StoreError>;
    /// A delivery.
    async fn delivery(&mut self, id: WebhookId, message: MessageId) -> Result<Option<Delivery>, StoreError>;
    /// An endpoint's deliveries, newest first.
    async fn deliveries(
        &mut self,
        id: WebhookId,
        before: Option<MessageId>,
        limit: Limit,
    ) -> Result<Page<Delivery, MessageId>, StoreError>;
    /// Stores what came of an attempt. Whether the claim was still the newest; nothing is stored otherwise.
    async fn record(&mut self, claim: &DueDelivery, delivery: &Delivery) -> Result<bool, StoreError>;
    /// Stores a delivery that is to be sent again; `Conflict` when it changed since it was read.
    async fn replay(&mut self, delivery: &Delivery) -> Result<(), StoreError>;
}
