//! Why somebody may not do something.

use super::{Action, Role};

/// Why there is no permit. What a caller may not see must look to them as if it were not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The role does not have the action.
    #[error("the role `{role}` does not allow `{action}`")]
    Role {
        /// The principal's role.
        role: Role,
        /// What was asked for.
        action: Action,
    },
    /// The resource is in another tenant than the principal.
    #[error("`{action}` reaches into another tenant")]
    OtherTenant {
        /// What was asked for.
        action: Action,
    },
    /// The role has the action for one's own resources only, and this is somebody else's.
    #[error("`{action}` is for the owner of the resource")]
    NotOwner {
        /// What was asked for.
        action: Action,
    },
}
