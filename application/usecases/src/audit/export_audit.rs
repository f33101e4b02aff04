//! The trail from its oldest record on, to be checked elsewhere.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal, TenantScope};
use powerhouse_domain::audit::{AuditPlace, AuditRecord};
use powerhouse_ports::store::{AuditFilter, TenantStore};

use crate::{Refused, permit};

/// Records that are read at a time.
const AT_ONCE: u32 = 500;

/// Opens exports.
#[derive(Clone)]
pub struct ExportAudit {
    /// Where trails are.
    pub store: Arc<dyn TenantStore>,
}

impl ExportAudit {
    /// The records of the caller's tenant in their order, of the times of the filter. Nothing else can be left out: no
    /// one could tell that from a record that was taken away.
    pub async fn execute(&self, principal: &Principal, filter: AuditFilter) -> Result<AuditExport, Refused> {
        let permit = permit::<access::ReadAudit>(principal, principal.tenant_id(), "audit trail", true)?;
        let scope = permit.scope();
        permit.redeem();
        let only = [
            ("/actor", filter.actor.is_some()),
            ("/action", filter.action.is_some()),
            ("/resource", filter.resource.is_some()),
        ];
        if let Some((pointer, _)) = only.into_iter().find(|(_, is_given)| *is_given) {
            let reason = "an export has every record of its times, so that it can be verified: give only from and until";
            return Err(Refused::invalid(pointer, reason));
        }
        let mut export =
            AuditExport { store: Arc::clone(&self.store), scope, filter, last: None, first: None };
        // A store that is away is told before anything was sent.
        export.first = Some(export.read().await?);
        Ok(export)
    }
}

/// An export under way. It holds nothing of the store between two reads: what is in a trail stays as it is.
pub struct AuditExport {
    store: Arc<dyn TenantStore>,
    scope: TenantScope,
    filter: AuditFilter,
    last: Option<AuditPlace>,
    /// What was read already.
    first: Option<Vec<AuditRecord>>,
}

impl AuditExport {
    /// The next records; none at the end.
    pub async fn next(&mut self) -> Result<Vec<AuditRecord>, Refused> {
        match self.first.take() {
            Some(first) => Ok(first),
            None => self.read().await,
        }
    }

    async fn read(&mut self) -> Result<Vec<AuditRecord>, Refused> {
        let mut view = self.store.read(&self.scope).await?;
        let records = view.audit().records(&self.filter, self.last, AT_ONCE).await?;
        self.last = records.last().map(AuditRecord::place).or(self.last);
        Ok(records)
    }
}
