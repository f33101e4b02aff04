//! Who calls: the token's signature first, then whether its session, user and tenant still stand.

use std::sync::Arc;

use powerhouse_ports::clock::Clock;
use powerhouse_ports::tokens::{TokenError, TokenVerifier};

use super::{Caller, Callers};
use crate::Refused;

/// Finds out who calls.
#[derive(Clone)]
pub struct Authenticate {
    /// Verifies access tokens.
    pub verifier: Arc<dyn TokenVerifier>,
    /// Knows which sessions stand.
    pub callers: Callers,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl Authenticate {
    /// The principal behind an access token, with the role of this moment: signing out and a change of role take
    /// effect with the next request, on other replicas within the cache's bound. A suspension does within the bound.
    pub async fn execute(&self, token: &str) -> Result<Caller, Refused> {
        let now = self.clock.now();
        let claimed = self.verifier.verify(token, now).map_err(|error| match error {
            TokenError::Expired => Refused::Unauthenticated("the access token has expired: refresh it"),
            TokenError::Invalid => Refused::Unauthenticated("the access token is not valid: sign in again"),
        })?;
        let current = self.callers.find(&claimed, now).await?;
        current.ok_or(Refused::Unauthenticated("the session has ended: sign in again"))
    }
}
