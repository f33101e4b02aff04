//! The end of a membership.

use std::sync::Arc;

use powerhouse_domain::access::{self, Action, Principal};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::ids::UserId;
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::TenantStore;

use super::{last_owner, may_assign};
use crate::sessions::Callers;
use crate::{Refused, audited, permit};

/// Removes members.
#[derive(Clone)]
pub struct RemoveUser {
    /// Where users are.
    pub store: Arc<dyn TenantStore>,
    /// Is told of users who go.
    pub callers: Callers,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl RemoveUser {
    /// Removes a member whose role is not above the caller's, with every session, every thread, and all that agents remember
    /// of them.
    pub async fn execute(&self, principal: &Principal, id: UserId) -> Result<(), Refused> {
        let visible = principal.permit::<access::ReadUser>(id).is_ok() || id == principal.user_id();
        let permit = permit::<access::DeleteUser>(principal, id, "user", visible)?;
        let mut tx = self.store.begin(&permit.scope()).await?;
        let id = permit.redeem();
        let (_, membership) = tx.users().find(id).await?.ok_or(Refused::NotFound("user"))?;
        may_assign(principal.role(), membership.role(), Action::UsersDelete)?;
        let role = membership.role();
        membership.remove(tx.users().owners().await?).map_err(last_owner)?;
        tx.users().remove(id).await?;
        // What they said and what is remembered of it goes with them.
        tx.memories().erase_user(id).await?;
        tx.threads().remove_of(id).await?;
        let entry = Entry::by(principal, AuditAction::UserRemoved, id, self.clock.now()).with("role", role);
        audited::commit(tx, entry).await?;
        self.callers.user_changed(&principal.scope(), id).await;
        Ok(())
    }
}
