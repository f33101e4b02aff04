//! Permits: what proves that somebody may do something, once.

use std::fmt;

use super::{Privilege, TenantScope};
use crate::ids::UserId;

/// Proof that a principal may do `A` to one resource, once. Only [`Principal::permit`] makes one.
///
/// ```
/// use powerhouse_domain::access::{CloseTenant, Denied, Permit, Principal};
/// use powerhouse_domain::ids::TenantId;
///
/// fn close(permit: Permit<CloseTenant>) -> TenantId {
///     permit.redeem()
/// }
///
/// fn handle(principal: &Principal) -> Result<TenantId, Denied> {
///     Ok(close(principal.permit::<CloseTenant>(principal.tenant_id())?))
/// }
/// ```
///
/// It serves once, so it cannot be cloned:
///
/// ```compile_fail,E0599
/// use powerhouse_domain::access::{CloseTenant, Permit};
/// fn twice(permit: Permit<CloseTenant>) -> (Permit<CloseTenant>, Permit<CloseTenant>) {
///     (permit.clone(), permit)
/// }
/// ```
///
/// nor redeemed twice:
///
/// ```compile_fail,E0382
/// use powerhouse_domain::access::{CloseTenant, Permit};
/// fn twice(permit: Permit<CloseTenant>) {
///     permit.redeem();
///     permit.redeem();
/// }
/// ```
///
/// nor made by hand:
///
/// ```compile_fail,E0451
/// use powerhouse_domain::access::{CloseTenant, Permit, Principal};
/// fn forge(principal: &Principal) -> Permit<CloseTenant> {
///     Permit { scope: principal.scope(), granted_to: principal.user_id(), resource: principal.tenant_id() }
/// }
/// ```
#[must_use = "a permit that is not redeemed did nothing"]
pub struct Permit<A: Privilege> {
    pub(super) scope: TenantScope,
    pub(super) granted_to: UserId,
    pub(super) resource: A::Resource,
}

impl<A: Privilege> Permit<A> {
    /// The tenant in which the permit is good.
    pub const fn scope(&self) -> TenantScope {
        self.scope
    }

    /// The user to whom it was given.
    pub const fn granted_to(&self) -> UserId {
        self.granted_to
    }

    /// The resource, before the permit is used.
    pub const fn resource(&self) -> &A::Resource {
        &self.resource
    }

    /// Uses the permit up for the resource that it names.
    pub fn redeem(self) -> A::Resource {
        self.resource
    }
}

impl<A: Privilege> fmt::Debug for Permit<A>
where
    A::Resource: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("action", &A::ACTION.as_str())
            .field("scope", &self.scope)
            .field("granted_to", &self.granted_to)
            .field("resource", &self.resource)
            .finish()
    }
}
