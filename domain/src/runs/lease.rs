//! Leases: that one worker, and no other, may write to a run for now.

use chrono::{DateTime, Utc};

use crate::access::{Principal, Role, TenantScope};
use crate::ids::{RunId, SessionId, TenantId, UserId};

/// Grows with every claim of a run. A write with an older token than the stored one is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FencingToken(pub u64);

/// A claim on a run until it expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    tenant_id: TenantId,
    run: RunId,
    token: FencingToken,
    expires_at: DateTime<Utc>,
    unproductive: u32,
}

impl Lease {
    /// What the queue granted. Nothing but the queue should call this.
    pub const fn granted(
        tenant_id: TenantId,
        run: RunId,
        token: FencingToken,
        expires_at: DateTime<Utc>,
        unproductive: u32,
    ) -> Self {
        Self { tenant_id, run, token, expires_at, unproductive }
    }

    /// The data that the run may touch: its tenant's.
    pub const fn scope(&self) -> TenantScope {
        TenantScope::of_lease(self.tenant_id)
    }

    /// Whom the run acts for, with the role that they have now. Nobody has signed in for this: in place of a session it
    /// names the run.
    pub const fn principal(&self, user: UserId, role: Role) -> Principal {
        Principal::verified(self.tenant_id, user, SessionId::from_uuid(self.run.as_uuid()), role)
    }

    /// The run.
    pub const fn run(&self) -> RunId {
        self.run
    }

    /// The token that each write carries.
    pub const fn token(&self) -> FencingToken {
        self.token
    }

    /// When another worker may claim the run.
    pub const fn expires_at(&self) -> DateTime<Utc> {
        self.expires_at
    }

    /// How many claims before this one, since the run's last progress, came to nothing.
    pub const fn unproductive(&self) -> u32 {
        self.unproductive
    }

    /// The same claim, for longer.
    #[must_use]
    pub const fn extended(self, expires_at: DateTime<Utc>) -> Self {
        Self { expires_at, ..self }
    }
}
