//! A page of the trail, and where it ends.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::audit::{AuditPlace, AuditRecord, Head};
use powerhouse_ports::store::{AuditFilter, Limit, Page, TenantStore};

use crate::{Refused, permit};

/// Some records, and the head of the whole trail at that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditPage {
    /// The records.
    pub page: Page<AuditRecord, AuditPlace>,
    /// The end of the trail, for whoever notes it; nothing while it has no record.
    pub head: Option<Head>,
}

/// Lists records.
#[derive(Clone)]
pub struct ListAudit {
    /// Where trails are.
    pub store: Arc<dyn TenantStore>,
}

impl ListAudit {
    /// Records of the caller's tenant, the newest first.
    pub async fn execute(
        &self,
        principal: &Principal,
        filter: &AuditFilter,
        before: Option<AuditPlace>,
        limit: Limit,
    ) -> Result<AuditPage, Refused> {
        let permit = permit::<access::ReadAudit>(principal, principal.tenant_id(), "audit trail", true)?;
        let mut view = self.store.read(&permit.scope()).await?;
        permit.redeem();
        let page = view.audit().list(filter, before, limit).await?;
        Ok(AuditPage { page, head: view.audit().head().await? })
    }
}
