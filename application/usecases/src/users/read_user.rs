//! One member.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::ids::UserId;
use powerhouse_ports::store::TenantStore;

use super::Member;
use crate::{Refused, permit};

/// Reads a member.
#[derive(Clone)]
pub struct ReadUser {
    /// Where users are.
    pub store: Arc<dyn TenantStore>,
}

impl ReadUser {
    /// A member of the caller's tenant. Everybody sees themselves.
    pub async fn execute(&self, principal: &Principal, id: UserId) -> Result<Member, Refused> {
        if id != principal.user_id() {
            permit::<access::ReadUser>(principal, id, "user", false)?.redeem();
        }
        let mut view = self.store.read(&principal.scope()).await?;
        view.users().find(id).await?.ok_or(Refused::NotFound("user"))
    }
}
