//! A page of questions.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::ids::ApprovalId;
use powerhouse_domain::runs::Approval;
use powerhouse_ports::store::{Limit, Page, TenantStore};

use crate::{Refused, permit};

/// Lists approvals.
#[derive(Clone)]
pub struct ListApprovals {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
}

impl ListApprovals {
    /// Questions, newest first; only those without an answer, when asked.
    pub async fn execute(
        &self,
        principal: &Principal,
        only_open: bool,
        before: Option<ApprovalId>,
        limit: Limit,
    ) -> Result<Page<Approval, ApprovalId>, Refused> {
        let permit = permit::<access::ListApprovals>(principal, principal.tenant_id(), "approvals", true)?;
        let mut view = self.store.read(&permit.scope()).await?;
        Ok(view.approvals().list(only_open, before, limit).await?)
    }
}
