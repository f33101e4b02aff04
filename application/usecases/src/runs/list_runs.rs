//! A page of runs.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::ids::RunId;
use powerhouse_domain::runs::Run;
use powerhouse_ports::store::{Limit, Page, TenantStore};

use crate::{Refused, permit};

/// Lists runs.
#[derive(Clone)]
pub struct ListRuns {
    /// Where runs are.
    pub store: Arc<dyn TenantStore>,
}

impl ListRuns {
    /// Runs, newest first: everybody's for who may see them, else the caller's own.
    pub async fn execute(
        &self,
        principal: &Principal,
        before: Option<RunId>,
        limit: Limit,
    ) -> Result<Page<Run, RunId>, Refused> {
        let tenant = principal.tenant_id();
        let sees_all = principal.permit::<access::ListAllRuns>(tenant).is_ok();
        let permit = permit::<access::ListOwnRuns>(principal, tenant, "runs", true)?;
        let owner = (!sees_all).then_some(permit.granted_to());
        let mut view = self.store.read(&permit.scope()).await?;
        Ok(view.runs().list(owner, before, limit).await?)
    }
}
