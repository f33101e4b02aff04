//! Ed25519 keys in PEM form (RFC 7468, RFC 8410): 48 bytes for a private key, 44 for a public one, on one line.

use base64ct::{Base64, Encoding};
use ed25519_dalek::{SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use super::KeyError;
use crate::ed25519::{PKCS8_LEN, from_pkcs8, to_pkcs8};

const PRIVATE: &str = "PRIVATE KEY";
const PUBLIC: &str = "PUBLIC KEY";

/// What comes before the 32 bytes of a public key (RFC 8410 §4).
const SPKI_PREFIX: [u8; 12] = *b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

/// A key, with as much of it as the text had.
pub(super) enum Key {
    /// Both halves.
    Private(SigningKey),
    /// The public half.
    Public(VerifyingKey),
}

impl Key {
    /// The public half.
    pub(super) fn public(&self) -> VerifyingKey {
        match self {
            Self::Private(key) => key.verifying_key(),
            Self::Public(key) => *key,
        }
    }
}

/// Every key in the text, in its order. Nothing else may be there, but for empty lines.
pub(super) fn parse(text: &str) -> Result<Vec<Key>, KeyError> {
    let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    let mut keys = Vec::new();
    while let Some(begin) = lines.next() {
        let label = begin.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----"));
        let (Some(label), Some(body), Some(end)) = (label, lines.next(), lines.next()) else {
            return Err(KeyError::Malformed);
        };
        if end.strip_prefix("-----END ").and_then(|rest| rest.strip_suffix("-----")) != Some(label) {
            return Err(KeyError::Malformed);
        }
        keys.push(key(label, body).ok_or(KeyError::Malformed)?);
    }
    Ok(keys)
}

fn key(label: &str, body: &str) -> Option<Key> {
    let mut buffer = Zeroizing::new([0; PKCS8_LEN]);
    let der = Base64::decode(body, &mut buffer[..]).ok()?;
    match label {
        PRIVATE => from_pkcs8(der).map(Key::Private),
        PUBLIC => {
            let bytes = der.strip_prefix(&SPKI_PREFIX)?.try_into().ok()?;
            let key = VerifyingKey::from_bytes(bytes).ok()?;
            (!key.is_weak()).then_some(Key::Public(key))
        }
        _ => None,
    }
}

/// A private key as a PEM block.
pub(super) fn write(key: &SigningKey) -> Zeroizing<String> {
    let body = Zeroizing::new(Base64::encode_string(&to_pkcs8(key)[..]));
    Zeroizing::new(format!("-----BEGIN {PRIVATE}-----\n{}\n-----END {PRIVATE}-----\n", &*body))
}
