//! A new member.

use std::sync::Arc;

use powerhouse_domain::access::{self, Action, Principal, Role};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::ids::UserId;
use powerhouse_domain::users::{DisplayName, Email, Membership, NewPassword, User};
use powerhouse_ports::clock::{Clock, IdSource};
use powerhouse_ports::crypto::PasswordHasher;
use powerhouse_ports::store::TenantStore;

use super::{Member, may_assign};
use crate::tenants::hash;
use crate::{Once, Refused, permit};

/// Who joins, and as what.
#[derive(Debug)]
pub struct AddUserCommand {
    /// The address.
    pub email: Email,
    /// The name.
    pub display_name: DisplayName,
    /// The role.
    pub role: Role,
    /// The first password.
    pub password: String,
}

/// Adds members.
#[derive(Clone)]
pub struct AddUser {
    /// Where users are.
    pub store: Arc<dyn TenantStore>,
    /// Hashes passwords.
    pub hasher: Arc<dyn PasswordHasher>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
    /// Gives ids.
    pub ids: Arc<dyn IdSource>,
}

impl AddUser {
    /// Adds a member with a role that is not above the caller's.
    pub async fn execute(
        &self,
        principal: &Principal,
        command: AddUserCommand,
        once: &Once<Member>,
    ) -> Result<Member, Refused> {
        let AddUserCommand { email, display_name, role, password } = command;
        let permit = permit::<access::CreateUser>(principal, principal.tenant_id(), "users", true)?;
        may_assign(principal.role(), role, Action::UsersCreate)?;
        let scope = permit.scope();

        let tenant = self.store.read(&scope).await?.tenant().await?.ok_or(Refused::NotFound("tenant"))?;
        let password = NewPassword::choose(password, &email, tenant.slug())
            .map_err(|error| Refused::invalid("/password", error))?;
        // Hashing takes long: no transaction is open meanwhile.
        let hash = hash(&*self.hasher, &password).await?;

        let now = self.clock.now();
        let user = User::register(UserId::from_uuid(self.ids.next()), email, display_name, now);
        let membership = Membership::new(permit.redeem(), user.id(), role, now);
        let mut tx = once.begin(&*self.store, &scope).await?;
        let most = tenant.plan().limits().users;
        if tx.users().count().await? >= u64::from(most) {
            return Err(Refused::conflict(
                "plan_limit_reached",
                format!("your plan has at most {most} users"),
            ));
        }
        tx.users()
            .add(&user, &membership, &hash)
            .await
            .map_err(Refused::taken("email_taken", "a user with this e-mail address exists"))?;
        let member = (user, membership);
        let entry = Entry::by(principal, AuditAction::UserAdded, member.0.id(), now).with("role", role);
        once.commit_audited(tx, &member, entry).await?;
        Ok(member)
    }
}
