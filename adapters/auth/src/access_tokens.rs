//! Access tokens: JSON Web Tokens of the type `at+jwt` (RFC 9068), issued and verified by the rules of RFC 8725.
//!
//! Different from RFC 9068 there is no `client_id`, since whoever signs in is no OAuth client.

use std::time::Duration;

use jsonwebtoken::Algorithm;
use powerhouse_domain::ids::{SessionId, TenantId, UserId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

mod issuer;
mod verifier;

pub use issuer::JwtIssuer;
pub use verifier::JwtVerifier;

/// By how much the clocks of two replicas may differ: a token works this much before it should, and after.
pub const LEEWAY: Duration = Duration::from_secs(5);

/// The longest token that is looked at. Those issued here are far shorter.
pub const MAX_TOKEN_BYTES: usize = 2048;

/// The `typ` of a token's header.
const TYPE: &str = "at+jwt";

/// Who issues tokens, for whom, and for how long: what issuer and verifier have to agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenProfile {
    issuer: String,
    audience: String,
    lifetime: Duration,
}

/// Why there cannot be such tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// The issuer or the audience is not a name.
    #[error("issuer and audience must be 1 to {} visible ASCII characters", TokenProfile::MAX_NAME_BYTES)]
    Name,
    /// Tokens would live too short or too long.
    #[error("a token must live for 1 to {} whole seconds", TokenProfile::MAX_LIFETIME.as_secs())]
    Lifetime,
}

impl TokenProfile {
    /// The longest name of an issuer or an audience.
    pub const MAX_NAME_BYTES: usize = 255;
    /// The longest life of a token: it cannot be taken back, only replaced more or less often.
    pub const MAX_LIFETIME: Duration = Duration::from_hours(1);

    /// Tokens from `issuer` for `audience`, both usually URLs, that work for `lifetime`.
    pub fn new(
        issuer: impl Into<String>,
        audience: impl Into<String>,
        lifetime: Duration,
    ) -> Result<Self, ProfileError> {
        let profile = Self { issuer: issuer.into(), audience: audience.into(), lifetime };
        let is_name = |text: &str| {
            (1..=Self::MAX_NAME_BYTES).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !is_name(&profile.issuer) || !is_name(&profile.audience) {
            return Err(ProfileError::Name);
        }
        if lifetime.is_zero() || lifetime.subsec_nanos() != 0 || lifetime > Self::MAX_LIFETIME {
            return Err(ProfileError::Lifetime);
        }
        Ok(profile)
    }
}

/// All that a token's header has. Whatever else could be there (`crit`, `jwk`, `jku`, `x5u`, `x5c`, `b64`, `zip`, …)
/// would ask for something that is not done here, so it is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StrictHeader {
    alg: Algorithm,
    typ: String,
    kid: String,
}

/// What a token says; all of it is required. Unknown claims are ignored, so that a newer version can add one while
/// this one still serves. Times are whole seconds since the Unix epoch.
#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: UserId,
    tenant: TenantId,
    sid: SessionId,
    role: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: Uuid,
}

#[cfg(test)]
mod tests;
