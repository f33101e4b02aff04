//! Webhooks and deliveries as callers read them.

use powerhouse_domain::webhooks::{Delivery, DeliveryState, Endpoint, EndpointState};
use powerhouse_usecases::webhooks::Created;
use salvo::oapi::ToSchema;
use serde::Serialize;

use crate::reply::instant;

/// A webhook.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Webhook"))]
pub(super) struct WebhookView {
    id: String,
    url: String,
    /// What it wants to hear of; all when there is nothing.
    events: Vec<&'static str>,
    enabled: bool,
    /// Why it is told nothing: `asked`, or `gone`, when it answered 410.
    disabled_reason: Option<&'static str>,
    disabled_since: Option<String>,
    created_by: String,
    created_at: String,
}

impl From<&Endpoint> for WebhookView {
    fn from(endpoint: &Endpoint) -> Self {
        let (reason, since) = match endpoint.state {
            EndpointState::Enabled => (None, None),
            EndpointState::Disabled { reason, since } => (Some(reason.as_str()), Some(instant(since))),
        };
        Self {
            id: endpoint.id.to_string(),
            url: endpoint.url.as_str().to_owned(),
            events: endpoint.filter.events().iter().map(|event| event.as_str()).collect(),
            enabled: endpoint.is_enabled(),
            disabled_reason: reason,
            disabled_since: since,
            created_by: endpoint.created_by.to_string(),
            created_at: instant(endpoint.created_at),
        }
    }
}

/// A webhook, and the secret that its messages are signed with.
#[derive(Serialize, ToSchema)]
pub(super) struct WebhookWithSecret {
    webhook: WebhookView,
    /// `whsec_` and base64, as Standard Webhooks has it. It is not shown again.
    secret: String,
}

impl From<&Created> for WebhookWithSecret {
    fn from(created: &Created) -> Self {
        Self {
            webhook: WebhookView::from(&created.endpoint),
            secret: created.secret.reveal().as_str().to_owned(),
        }
    }
}

/// A page of webhooks.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WebhookPage {
    pub(super) items: Vec<WebhookView>,
    /// Where the next page begins; none when this is the last.
    pub(super) next_cursor: Option<String>,
}

/// A message to a webhook.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Delivery"))]
pub(super) struct DeliveryView {
    /// The message's id: its `webhook-id`, the same at every attempt and every endpoint.
    id: String,
    webhook: String,
    event: &'static str,
    run: Option<String>,
    /// `pending`, `delivered` or `dead`.
    status: &'static str,
    attempts: u32,
    /// When it is tried next.
    next_at: Option<String>,
    ended_at: Option<String>,
    last_attempt: Option<AttemptView>,
    created_at: String,
}

/// What came of the last attempt.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "DeliveryAttempt"))]
struct AttemptView {
    at: String,
    /// The status of the answer, if there was one.
    status: Option<u16>,
    /// The beginning of the answer, or what went wrong.
    note: String,
}

impl From<&Delivery> for DeliveryView {
    fn from(delivery: &Delivery) -> Self {
        let parts = delivery.parts();
        let (next_at, ended_at) = match parts.state {
            DeliveryState::Pending { next_at } => (Some(instant(next_at)), None),
            DeliveryState::Delivered { at } | DeliveryState::Dead { at } => (None, Some(instant(at))),
        };
        Self {
            id: parts.message.to_string(),
            webhook: parts.webhook.to_string(),
            event: parts.event.as_str(),
            run: parts.run.map(|run| run.to_string()),
            status: parts.state.name(),
            attempts: parts.attempts,
            next_at,
            ended_at,
            last_attempt: parts.last.as_ref().map(|last| AttemptView {
                at: instant(last.at),
                status: last.status,
                note: last.note.clone(),
            }),
            created_at: instant(parts.created_at),
        }
    }
}

/// A page of deliveries.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeliveryPage {
    pub(super) items: Vec<DeliveryView>,
    /// Where the next page begins; none when this is the last.
    pub(super) next_cursor: Option<String>,
}
