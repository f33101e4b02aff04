//! One endpoint, and a page of them.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::ids::WebhookId;
use powerhouse_domain::webhooks::Endpoint;
use powerhouse_ports::store::{Limit, Page, TenantStore};

use super::NO_WEBHOOK;
use crate::{Refused, permit};

/// Lists endpoints.
#[derive(Clone)]
pub struct ListWebhooks {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
}

impl ListWebhooks {
    /// Endpoints in the order in which they were made.
    pub async fn execute(
        &self,
        principal: &Principal,
        after: Option<WebhookId>,
        limit: Limit,
    ) -> Result<Page<Endpoint, WebhookId>, Refused> {
        let permit = permit::<access::ListWebhooks>(principal, principal.tenant_id(), "webhooks", true)?;
        let mut view = self.store.read(&permit.scope()).await?;
        Ok(view.webhooks().list(after, limit).await?)
    }
}

/// Reads an endpoint.
#[derive(Clone)]
pub struct ReadWebhook {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
}

impl ReadWebhook {
    /// An endpoint of the caller's tenant.
    pub async fn execute(&self, principal: &Principal, id: WebhookId) -> Result<Endpoint, Refused> {
        let permit = permit::<access::ReadWebhook>(principal, id, "webhook", false)?;
        let mut view = self.store.read(&permit.scope()).await?;
        view.webhooks().find(permit.redeem()).await?.ok_or(NO_WEBHOOK)
    }
}
