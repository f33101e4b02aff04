//! Secrets: put in, changed and removed by people, and opened where a request leaves the platform.
//!
//! Start reading at [`Vault`], which seals and opens them.

mod change_secret;
mod create_secret;
mod read_secrets;
mod rotate_master_key;
mod vault;

pub use change_secret::{ChangeSecret, DeleteSecret};
pub use create_secret::CreateSecret;
pub use read_secrets::{ListSecrets, ReadSecret};
pub use rotate_master_key::{RotateFailed, RotateMasterKey, Rotated};
pub(crate) use vault::Failure;
pub use vault::{Vault, VaultReader};

use powerhouse_domain::access::{self, Permit, Principal};
use powerhouse_domain::secrets::SecretName;

use crate::{Refused, permit};

const NO_SECRET: Refused = Refused::NotFound("secret");

fn changing(principal: &Principal, name: SecretName) -> Result<Permit<access::UpdateSecret>, Refused> {
    let visible = principal.permit::<access::ReadSecret>(name.clone()).is_ok();
    permit::<access::UpdateSecret>(principal, name, "secret", visible)
}

/// How a secret is named where ids are.
fn resource(name: &SecretName) -> String {
    format!("secret_{name}")
}
