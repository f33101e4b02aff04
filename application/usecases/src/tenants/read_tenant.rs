//! One's own tenant.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::tenants::Tenant;
use powerhouse_ports::store::TenantStore;

use crate::{Refused, permit};

/// Reads the caller's tenant.
#[derive(Clone)]
pub struct ReadTenant {
    /// Where tenants are.
    pub store: Arc<dyn TenantStore>,
}

impl ReadTenant {
    /// The caller's tenant.
    pub async fn execute(&self, principal: &Principal) -> Result<Tenant, Refused> {
        let permit = permit::<access::ReadTenant>(principal, principal.tenant_id(), "tenant", false)?;
        let mut view = self.store.read(&permit.scope()).await?;
        view.tenant().await?.ok_or(Refused::NotFound("tenant"))
    }
}
