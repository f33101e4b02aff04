//! A new endpoint.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::ids::WebhookId;
use powerhouse_domain::webhooks::{Endpoint, EndpointState, EndpointUrl, Filter, MAX_WEBHOOKS, Secret};
use powerhouse_ports::clock::{Clock, IdSource};
use powerhouse_ports::store::TenantStore;
use powerhouse_ports::webhooks::WebhookSender;

use super::{Secrets, check_url};
use crate::{Once, Refused, permit};

/// Makes endpoints.
#[derive(Clone)]
pub struct CreateWebhook {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
    /// Says which addresses can be reached.
    pub sender: Arc<dyn WebhookSender>,
    /// Makes their secrets.
    pub secrets: Secrets,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
    /// Gives ids.
    pub ids: Arc<dyn IdSource>,
}

/// An endpoint with a secret that is shown this once.
#[derive(Debug)]
pub struct Created {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Its secret.
    pub secret: Secret,
}

impl CreateWebhook {
    /// Makes an endpoint, which is told from the next event on.
    pub async fn execute(
        &self,
        principal: &Principal,
        url: EndpointUrl,
        filter: Filter,
        once: &Once<Created>,
    ) -> Result<Created, Refused> {
        let permit = permit::<access::CreateWebhook>(principal, principal.tenant_id(), "webhooks", true)?;
        check_url(&*self.sender, url.as_str())?;
        let endpoint = Endpoint {
            id: WebhookId::from_uuid(self.ids.next()),
            url,
            filter,
            state: EndpointState::Enabled,
            created_by: permit.granted_to(),
            created_at: self.clock.now(),
            version: 1,
        };
        let made = self.secrets.make(&permit.scope(), endpoint.id).await?;
        let mut tx = once.begin(&*self.store, &permit.scope()).await?;
        if tx.webhooks().count().await? >= MAX_WEBHOOKS {
            let reason = format!("a tenant has at most {MAX_WEBHOOKS} webhooks");
            return Err(Refused::conflict("too_many_webhooks", reason));
        }
        let sealed = made.store(&mut *tx, None).await?;
        tx.webhooks().add(&endpoint, &sealed).await?;
        let entry = Entry::by(principal, AuditAction::WebhookCreated, endpoint.id, endpoint.created_at);
        let created = Created { endpoint, secret: made.secret };
        once.commit_audited(tx, &created, entry).await?;
        permit.redeem();
        Ok(created)
    }
}
