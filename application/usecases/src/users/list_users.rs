//! A page of a tenant's members.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::ids::UserId;
use powerhouse_ports::store::{Limit, Page, TenantStore};

use super::Member;
use crate::{Refused, permit};

/// Lists members.
#[derive(Clone)]
pub struct ListUsers {
    /// Where users are.
    pub store: Arc<dyn TenantStore>,
}

impl ListUsers {
    /// Members in the order in which they joined.
    pub async fn execute(
        &self,
        principal: &Principal,
        after: Option<UserId>,
        limit: Limit,
    ) -> Result<Page<Member, UserId>, Refused> {
        let permit = permit::<access::ListUsers>(principal, principal.tenant_id(), "users", true)?;
        let mut view = self.store.read(&permit.scope()).await?;
        Ok(view.users().list(after, limit).await?)
    }
}
