//! What makes two requests one: the key that a caller gives to a request, and the key that we give to a call.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::effects::{EffectKey, EffectRequest};
use crate::ids::RunId;

/// The most characters of a caller's key.
pub const MAX_KEY_CHARS: usize = 255;

/// The key that a caller gives to a request, so that the request is carried out once however often it is sent
/// (draft-ietf-httpapi-idempotency-key-header): 1 to 255 visible ASCII characters. Only its hash is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey([u8; 32]);

/// A text that is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key has 1 to {MAX_KEY_CHARS} visible ASCII characters")]
pub struct InvalidIdempotencyKey;

impl FromStr for IdempotencyKey {
    type Err = InvalidIdempotencyKey;

    fn from_str(text: &str) -> Result<Self, InvalidIdempotencyKey> {
        if (1..=MAX_KEY_CHARS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(Sha256::digest(text).into()))
        } else {
            Err(InvalidIdempotencyKey)
        }
    }
}

impl IdempotencyKey {
    /// SHA-256 of its text.
    pub fn digest(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What a request asks for, in 256 bits: its parts hashed, each with its length before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestHash([u8; 32]);

impl RequestHash {
    /// The hash of a request's parts.
    pub fn of(parts: &[&[u8]]) -> Self {
        Self(hashed(parts))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The key of one call of a model or a tool. The same call of the same step of the same run has the same one, whoever makes
/// it and however often; it tells nothing of the run or its tenant. A step that asks for something else, since a person has
/// edited it, is another call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CallKey(String);

impl CallKey {
    /// The key of what is asked for at a step of a run.
    pub fn of(run: RunId, step: &EffectKey, request: &EffectRequest) -> Self {
        let (run, step, request) = (run.as_uuid(), step.to_string(), request.fingerprint().to_string());
        let hash = hashed(&[b"powerhouse call", run.as_bytes(), step.as_bytes(), request.as_bytes()]);
        Self::from_hash(hash)
    }

    /// The key of the same call made a second time at once: whoever heeds keys must not take it for the first.
    #[must_use]
    pub fn second(&self) -> Self {
        Self::from_hash(hashed(&[b"powerhouse second call", self.0.as_bytes()]))
    }

    fn from_hash(hash: [u8; 32]) -> Self {
        Self(hash[..16].iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }))
    }

    /// 32 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn hashed(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use crate::effects::ToolRequest;

    use super::*;

    #[test]
    fn a_key_is_visible_ascii_within_bounds() {
        for good in ["k", "8e03978e-40d5-43e8-bc93-6894a57f9324", "\"quoted\"", &"~".repeat(255)] {
            assert!(good.parse::<IdempotencyKey>().is_ok(), "{good}");
        }
        for bad in ["", " ", "a b", "a\tb", "é", "\u{7f}", &"a".repeat(256)] {
            assert_eq!(bad.parse::<IdempotencyKey>(), Err(InvalidIdempotencyKey), "{bad}");
        }
    }

    #[test]
    fn parts_cannot_be_moved_across_their_borders() {
        assert_ne!(RequestHash::of(&[b"POST", b"/a", b"b"]), RequestHash::of(&[b"POST", b"/ab", b""]));
        assert_eq!(RequestHash::of(&[b"POST", b"/a"]), RequestHash::of(&[b"POST", b"/a"]));
    }

    #[test]
    fn a_step_has_one_key_and_no_other_step_or_run_has_it() {
        let run = |id| RunId::from_uuid(Uuid::from_u128(id));
        let key = |id, step: &str, amount: u32| {
            let arguments = serde_json::json!({ "amount": amount });
            let request = EffectRequest::Tool(ToolRequest::new("pay", arguments));
            CallKey::of(run(id), &step.parse().unwrap(), &request)
        };
        assert_eq!(key(1, "0.1", 5), key(1, "0.1", 5));
        let others = [
            key(1, "0.1", 5),
            key(1, "0", 5),
            key(1, "0.11", 5),
            key(1, "1", 5),
            key(2, "0.1", 5),
            key(1, "0.1", 4),
        ];
        let distinct: std::collections::HashSet<_> = others.iter().collect();
        assert_eq!(distinct.len(), others.len());
        assert!(others.iter().all(|key| key.as_str().len() == 32));
        assert!(others.iter().all(|key| !distinct.contains(&key.second()) && key.second() == key.second()));
    }
}
