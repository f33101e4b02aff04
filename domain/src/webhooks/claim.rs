//! A claim on a delivery whose time has come.

use crate::access::TenantScope;
use crate::ids::{MessageId, TenantId, WebhookId};

/// A delivery that is to be tried now, by whoever was told. It stands for its tenant, as a lease does (ADR 0010).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueDelivery {
    tenant_id: TenantId,
    webhook: WebhookId,
    message: MessageId,
    attempt: u32,
}

impl DueDelivery {
    /// What the store found due. Nothing but the store should call this.
    pub const fn granted(tenant_id: TenantId, webhook: WebhookId, message: MessageId, attempt: u32) -> Self {
        Self { tenant_id, webhook, message, attempt }
    }

    /// The data that the delivery may touch: its tenant's.
    pub const fn scope(&self) -> TenantScope {
        TenantScope::of_lease(self.tenant_id)
    }

    /// The endpoint.
    pub const fn webhook(&self) -> WebhookId {
        self.webhook
    }

    /// What it is to be told.
    pub const fn message(&self) -> MessageId {
        self.message
    }

    /// Which attempt this is, from 1. Each claim counts as one, whatever becomes of it.
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }
}
