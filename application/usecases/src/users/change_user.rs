//! Another name, role or standing for a member.

use std::sync::Arc;

use powerhouse_domain::access::{self, Action, Principal, Role};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::ids::UserId;
use powerhouse_domain::users::{DisplayName, keeps_an_owner};
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::TenantStore;

use super::{Member, last_owner, may_assign};
use crate::refused::expect_version;
use crate::sessions::Callers;
use crate::{Refused, audited, permit};

/// What is to change; the rest stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeUserCommand {
    /// The name.
    pub display_name: Option<DisplayName>,
    /// The role.
    pub role: Option<Role>,
    /// Whether the user may sign in.
    pub is_active: Option<bool>,
}

/// Changes members.
#[derive(Clone)]
pub struct ChangeUser {
    /// Where users are.
    pub store: Arc<dyn TenantStore>,
    /// Is told of users who change.
    pub callers: Callers,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl ChangeUser {
    /// Changes a member whose role is not above the caller's, at the version that the caller has read.
    pub async fn execute(
        &self,
        principal: &Principal,
        id: UserId,
        version: Option<u64>,
        command: ChangeUserCommand,
    ) -> Result<Member, Refused> {
        let visible = principal.permit::<access::ReadUser>(id).is_ok() || id == principal.user_id();
        let permit = permit::<access::UpdateUser>(principal, id, "user", visible)?;
        let mut tx = self.store.begin(&permit.scope()).await?;
        let (mut user, mut membership) =
            tx.users().find(permit.redeem()).await?.ok_or(Refused::NotFound("user"))?;
        expect_version(user.version(), version)?;
        may_assign(principal.role(), membership.role(), Action::UsersUpdate)?;

        let now = self.clock.now();
        let before = user.version();
        let mut changed = Vec::new();
        let mut entry = Entry::by(principal, AuditAction::UserChanged, id, now);
        let owners = tx.users().owners().await?;
        if let Some(role) = command.role.filter(|role| *role != membership.role()) {
            may_assign(principal.role(), role, Action::UsersUpdate)?;
            entry = entry.with("role_before", membership.role()).with("role", role);
            changed.push("role");
            membership = membership.change_role(role, owners).map_err(last_owner)?;
            user = user.membership_changed(now);
        }
        match command.is_active {
            Some(false) if user.is_active() => {
                keeps_an_owner(membership.role(), None, owners).map_err(last_owner)?;
                user = user.disable(now).map_err(|error| Refused::conflict("user_state", error))?;
                entry = entry.with("is_active", false);
                changed.push("is_active");
            }
            Some(true) if !user.is_active() => {
                user = user.enable(now).map_err(|error| Refused::conflict("user_state", error))?;
                entry = entry.with("is_active", true);
                changed.push("is_active");
            }
            _ => {}
        }
        if let Some(name) = command.display_name.filter(|name| name != user.display_name()) {
            user = user.rename(name, now);
            changed.push("display_name");
        }
        if user.version() != before {
            tx.users().update(&user, &membership, before).await.map_err(Refused::stale)?;
            audited::commit(tx, entry.changing(&changed)).await?;
            self.callers.user_changed(&principal.scope(), id).await;
        }
        Ok((user, membership))
    }
}
