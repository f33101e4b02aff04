//! Passwords, signing keys, access tokens, refresh tokens, and secrets at rest.
//!
//! Start reading at [`SigningKeys`], which [`JwtIssuer`] and [`JwtVerifier`] share. [`Argon2Hasher`] and
//! [`OpaqueRefreshTokens`], [`AeadSecretBox`] and [`LocalMasterKeys`] stand alone.

mod access_tokens;
mod ed25519;
mod jwks;
mod keys;
mod master_keys;
mod password;
mod refresh_tokens;
mod secret_box;
#[cfg(test)]
mod testing;

pub use access_tokens::{JwtIssuer, JwtVerifier, LEEWAY, MAX_TOKEN_BYTES, ProfileError, TokenProfile};
pub use jwks::{JwkSet, PublicJwk};
pub use keys::{KeyError, SigningKeys};
pub use master_keys::{AeadEnvelopes, LocalMasterKeys};
pub use password::{Argon2Hasher, HashingLimits};
pub use refresh_tokens::OpaqueRefreshTokens;
pub use secret_box::{AeadSecretBox, SystemSecrets};
