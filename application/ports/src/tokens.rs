//! Access tokens: issued at sign-in, verified on every request.

use std::fmt;

use chrono::{DateTime, Utc};
use powerhouse_domain::access::Principal;
use zeroize::Zeroizing;

use crate::platform::RefreshDigest;

/// A signed access token. Wiped when dropped, never printed.
pub struct AccessToken {
    /// The token in its compact form.
    pub text: Zeroizing<String>,
    /// When it stops working.
    pub expires_at: DateTime<Utc>,
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It was good once.
    #[error("the access token has expired")]
    Expired,
    /// It is not ours, or was changed, or is for something else.
    #[error("the access token is not valid")]
    Invalid,
}

/// The key cannot sign.
#[derive(Debug, thiserror::Error)]
#[error("the access token could not be signed")]
pub struct SigningFailed(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Signs access tokens.
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait TokenIssuer: Send + Sync {
    /// A token that speaks for this principal from `now` on.
    fn issue(&self, principal: &Principal, now: DateTime<Utc>) -> Result<AccessToken, SigningFailed>;
}

/// Verifies access tokens: signature, type, issuer, audience and times (RFC 9068, RFC 8725).
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait TokenVerifier: Send + Sync {
    /// Who the token speaks for at `now`.
    fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Principal, TokenError>;
}

/// A refresh token: opaque, 256 random bits. Wiped when dropped, never printed.
pub struct RefreshToken(pub Zeroizing<String>);

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshToken(…)")
    }
}

/// Makes refresh tokens, and recognises their form.
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait RefreshTokens: Send + Sync {
    /// A new one.
    fn generate(&self) -> RefreshToken;

    /// What is kept of a token; nothing when the text cannot be one.
    fn digest(&self, text: &str) -> Option<RefreshDigest>;
}
