//! One question.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::ids::ApprovalId;
use powerhouse_domain::runs::Approval;
use powerhouse_ports::store::TenantStore;

use crate::{Refused, permit};

/// Reads approvals.
#[derive(Clone)]
pub struct ReadApproval {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
}

impl ReadApproval {
    /// A question, with its answer if it has one.
    pub async fn execute(&self, principal: &Principal, id: ApprovalId) -> Result<Approval, Refused> {
        let permit = permit::<access::ReadApproval>(principal, id, "approval", false)?;
        let mut view = self.store.read(&permit.scope()).await?;
        view.approvals().find(permit.redeem()).await?.ok_or(Refused::NotFound("approval"))
    }
}
