//! Signing: HMAC-SHA256 over the message's id, the time and the body, as Standard Webhooks has it.

use std::fmt;

use base64ct::{Base64, Encoding as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::ids::MessageId;

const PREFIX: &str = "whsec_";
/// The specification asks for 24 to 64 bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// What an endpoint shares with the platform. Wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// Bytes that are too few or too many for a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret has 24 to 64 bytes")]
pub struct SecretLength;

impl Secret {
    /// Random bytes, as a secret.
    pub fn new(bytes: &[u8]) -> Result<Self, SecretLength> {
        if LENGTHS.contains(&bytes.len()) {
            Ok(Self(Zeroizing::new(bytes.to_vec())))
        } else {
            Err(SecretLength)
        }
    }

    /// The bytes, to be sealed.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// As the endpoint's owner is shown it, once: `whsec_` and base64.
    pub fn reveal(&self) -> Zeroizing<String> {
        let encoded = Zeroizing::new(Base64::encode_string(&self.0));
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + encoded.len()));
        text.push_str(PREFIX);
        text.push_str(&encoded);
        text
    }

    fn sign(&self, message: MessageId, timestamp: i64, body: &str) -> Option<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(format!("{message}.{timestamp}.").as_bytes());
        mac.update(body.as_bytes());
        Some(format!("v1,{}", Base64::encode_string(&mac.finalize().into_bytes())))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The value of `webhook-signature`: one signature by each secret, so that one may be changed for another.
pub fn signatures(secrets: &[Secret], message: MessageId, timestamp: i64, body: &str) -> String {
    let each = secrets.iter().filter_map(|secret| secret.sign(message, timestamp, body));
    each.collect::<Vec<_>>().join(" ")
}
