//! The public keys as a JSON Web Key Set (RFC 7517, RFC 8037), for those who verify tokens elsewhere.

use serde::Serialize;

/// A key set, as it is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JwkSet {
    /// The keys; the order means nothing.
    pub keys: Vec<PublicJwk>,
}

/// The public half of an Ed25519 key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PublicJwk {
    /// The type of key: `OKP`.
    pub kty: &'static str,
    /// The curve: `Ed25519`.
    pub crv: &'static str,
    /// The public key, in base64url.
    pub x: String,
    /// What a token's header calls the key: its thumbprint (RFC 7638).
    pub kid: String,
    /// The algorithm: `EdDSA`.
    pub alg: &'static str,
    /// The use: `sig`.
    #[serde(rename = "use")]
    pub usage: &'static str,
}
