//! The keys that sign access tokens, and those that verify them.

use std::fmt;
use std::io;

use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::{SigningKey, VerifyingKey};
use jsonwebtoken::{DecodingKey, EncodingKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::ed25519;
use crate::jwks::{JwkSet, PublicJwk};

pub(crate) mod file;
mod pem;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("the key file cannot be read or written")]
    Io(#[from] io::Error),
    /// Its permissions let somebody else than its owner at it.
    #[error("the key file has mode {mode:03o}: others than its owner must have no access")]
    ReadableByOthers {
        /// The permission bits.
        mode: u32,
    },
    /// It is longer than any key file is.
    #[error("the key file is longer than {} bytes", SigningKeys::MAX_FILE_BYTES)]
    TooLong,
    /// It has something else in it than Ed25519 keys in PEM form.
    #[error("the keys must be Ed25519 keys in PEM form, as `openssl genpkey -algorithm ed25519` writes them")]
    Malformed,
    /// The first key cannot sign.
    #[error("the first key must be a private one: it signs")]
    NoSigningKey,
    /// It is no key that secrets are sealed with.
    #[error("a key of secrets must be 32 bytes in base64")]
    NotASecretKey,
    /// There are too many keys.
    #[error("there are more than {} keys", SigningKeys::MAX_KEYS)]
    TooMany,
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness")]
    Randomness(#[source] getrandom::Error),
}

/// One key that signs and several that verify, each known by its thumbprint (RFC 7638) as `kid`.
///
/// The keys are PEM blocks, `PRIVATE KEY` (PKCS#8) or `PUBLIC KEY`. The first signs and must be private; all verify
/// and are published, and whether those after the first are private makes no difference.
///
/// To rotate without a moment in which a good token is refused, restart every replica after each step:
///
/// 1. Append the next key, so that every replica accepts it.
/// 2. Move it to the front. It signs from now on; the old one still verifies.
/// 3. Remove the old key, once a token's lifetime and [`LEEWAY`](crate::LEEWAY) have passed and published key sets
///    have left the caches.
pub struct SigningKeys {
    signing: EncodingKey,
    /// Not empty: the first belongs to the key that signs.
    accepted: Vec<VerificationKey>,
}

/// A public key, and what it is called.
pub(crate) struct VerificationKey {
    pub(crate) kid: String,
    x: String,
    pub(crate) decoding: DecodingKey,
}

impl VerificationKey {
    fn new(key: &VerifyingKey) -> Self {
        let x = Base64UrlUnpadded::encode_string(key.as_bytes());
        Self { kid: thumbprint(&x), x, decoding: DecodingKey::from_ed_der(key.as_bytes()) }
    }
}

impl SigningKeys {
    /// How many keys there may be.
    pub const MAX_KEYS: usize = 8;
    /// How long a key file may be.
    pub const MAX_FILE_BYTES: usize = 4096;

    /// The keys in a text of PEM blocks.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let keys = pem::parse(text)?;
        let Some(pem::Key::Private(signing)) = keys.first() else {
            return Err(KeyError::NoSigningKey);
        };
        if keys.len() > Self::MAX_KEYS {
            return Err(KeyError::TooMany);
        }
        ed25519::install();
        let mut accepted: Vec<VerificationKey> = Vec::with_capacity(keys.len());
        for key in &keys {
            let key = VerificationKey::new(&key.public());
            if accepted.iter().all(|other| other.kid != key.kid) {
                accepted.push(key);
            }
        }
        Ok(Self { signing: ed25519::encoding_key(signing), accepted })
    }

    /// A new key that is kept nowhere: tokens signed with it end with the process.
    pub fn generate() -> Result<Self, KeyError> {
        Self::from_pem(&pem::write(&random_key()?))
    }

    /// The public keys, for publication.
    pub fn jwks(&self) -> JwkSet {
        let published = |key: &VerificationKey| PublicJwk {
            kty: "OKP",
            crv: "Ed25519",
            x: key.x.clone(),
            kid: key.kid.clone(),
            alg: "EdDSA",
            usage: "sig",
        };
        JwkSet { keys: self.accepted.iter().map(published).collect() }
    }

    /// The key that signs, and what it is called.
    pub(crate) fn signing(&self) -> (&EncodingKey, &str) {
        // INVARIANT: `from_pem` alone makes this type, and puts the signing key's public half first.
        (&self.signing, &self.accepted[0].kid)
    }

    /// The key of this name. Names are public, so that the time it takes to find one reveals nothing.
    pub(crate) fn accepted(&self, kid: &str) -> Option<&VerificationKey> {
        self.accepted.iter().find(|key| key.kid == kid)
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kids: Vec<&str> = self.accepted.iter().map(|key| key.kid.as_str()).collect();
        f.debug_struct("SigningKeys").field("accepted", &kids).finish_non_exhaustive()
    }
}

fn random_key() -> Result<SigningKey, KeyError> {
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(&mut secret[..]).map_err(KeyError::Randomness)?;
    Ok(SigningKey::from_bytes(&secret))
}

/// The thumbprint of an Ed25519 key (RFC 7638, RFC 8037 §2): over its required members, in alphabetical order.
fn thumbprint(x: &str) -> String {
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    Base64UrlUnpadded::encode_string(&Sha256::digest(members))
}

#[cfg(test)]
mod tests;
