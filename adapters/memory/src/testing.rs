//! Principals for this crate's tests.

use powerhouse_domain::access::{Principal, Role, TenantScope};
use powerhouse_domain::ids::{SessionId, TenantId, UserId};
use uuid::Uuid;

/// The scope of the tenant with this number.
pub(crate) fn scope(tenant: u128) -> TenantScope {
    let id = Uuid::from_u128(tenant);
    Principal::verified(TenantId::from_uuid(id), UserId::from_uuid(id), SessionId::from_uuid(id), Role::Owner)
        .scope()
}
