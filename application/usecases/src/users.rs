//! Users: a tenant's members and what they may be.

mod add_user;
mod change_user;
mod list_users;
mod read_user;
mod remove_user;

use powerhouse_domain::access::{Action, Role};
use powerhouse_domain::ids::UserId;
use powerhouse_domain::users::{LastOwner, Membership, User, UserStatus};
use powerhouse_ports::store::{StoreError, TenantView};

pub use add_user::{AddUser, AddUserCommand};
pub use change_user::{ChangeUser, ChangeUserCommand};
pub use list_users::ListUsers;
pub use read_user::ReadUser;
pub use remove_user::RemoveUser;

use crate::Refused;

/// A member: the person and the role.
pub type Member = (User, Membership);

/// The role that somebody has now on whose behalf something is done; none, once they are no active member.
pub(crate) async fn role_now(view: &mut dyn TenantView, user: UserId) -> Result<Option<Role>, StoreError> {
    let found = view.users().find(user).await?;
    let active = found.filter(|(user, _)| user.status() == UserStatus::Active);
    Ok(active.map(|(_, membership)| membership.role()))
}

fn may_assign(caller: Role, role: Role, action: Action) -> Result<(), Refused> {
    if caller.may_assign(role) { Ok(()) } else { Err(Refused::Forbidden(action)) }
}

fn last_owner(refusal: LastOwner) -> Refused {
    Refused::conflict("last_owner", refusal)
}
