//! Tenants: signing up, and looking at one's own.

mod read_tenant;
mod sign_up;
mod starters;

pub use read_tenant::ReadTenant;
pub(crate) use sign_up::hash;
pub use sign_up::{SignUp, SignUpCommand, SignedUp};
