//! Sessions: signing in and out, refreshing, and finding out who calls.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use powerhouse_domain::access::Principal;
use powerhouse_ports::tokens::{AccessToken, RefreshToken, RefreshTokens, TokenIssuer};

use crate::Refused;

mod authenticate;
mod callers;
mod refresh;
mod sign_in;
mod sign_out;

pub use authenticate::Authenticate;
pub use callers::{Caller, Callers};
pub use refresh::Refresh;
pub use sign_in::{SignIn, SignInCommand};
pub use sign_out::SignOut;

/// How long a session lasts without signing in again.
pub const SESSION_LIFETIME: TimeDelta = TimeDelta::days(30);
/// When to try again while too many passwords are being checked.
pub(crate) const OVERLOADED_RETRY: Duration = Duration::from_secs(2);

/// What somebody who has signed in works with.
#[derive(Debug)]
pub struct Tokens {
    /// Who it is.
    pub principal: Principal,
    /// For requests.
    pub access: AccessToken,
    /// For the next pair of tokens; serves once.
    pub refresh: RefreshToken,
}

fn issue(
    issuer: &dyn TokenIssuer,
    principal: Principal,
    refresh: RefreshToken,
    now: DateTime<Utc>,
) -> Result<Tokens, Refused> {
    let access = issuer.issue(&principal, now).map_err(|error| Refused::Internal(error.to_string()))?;
    Ok(Tokens { principal, access, refresh })
}

/// A new refresh token and what is kept of it.
fn fresh(
    refresh: &dyn RefreshTokens,
) -> Result<(RefreshToken, powerhouse_ports::platform::RefreshDigest), Refused> {
    let token = refresh.generate();
    let digest = refresh
        .digest(&token.0)
        .ok_or_else(|| Refused::Internal("a new refresh token is malformed".into()))?;
    Ok((token, digest))
}
