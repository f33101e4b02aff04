//! A tenant's secrets: names for values that are only ever put in, and used where a request leaves the platform.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use zeroize::Zeroizing;

use crate::ids::UserId;

/// The most secrets of a tenant.
pub const MAX_SECRETS: u64 = 200;
/// The fewest bytes of a value: a shorter one cannot be told from other text where it comes back.
pub const MIN_SECRET_BYTES: usize = 8;
/// The most bytes of a value.
pub const MAX_SECRET_BYTES: usize = 16_384;
/// The most characters of a name.
const MAX_NAME: usize = 63;

/// What a secret is called within its tenant: `[a-z][a-z0-9_-]{0,62}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName(String);

/// A text that is not a secret's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a secret's name is 1 to {MAX_NAME} lower-case letters, digits, `-` and `_`, and starts with a letter"
)]
pub struct InvalidSecretName;

impl FromStr for SecretName {
    type Err = InvalidSecretName;

    fn from_str(text: &str) -> Result<Self, InvalidSecretName> {
        let is_inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        let is_name = (1..=MAX_NAME).contains(&text.len())
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && text.bytes().all(is_inner);
        if is_name { Ok(Self(text.into())) } else { Err(InvalidSecretName) }
    }
}

impl SecretName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The value of a secret: 8 to 16,384 bytes of text. Wiped when dropped, never printed, never compared.
#[derive(Clone)]
pub struct SecretValue(Zeroizing<String>);

/// A text that is no value. It does not say what the text was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret's value has {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes")]
pub struct InvalidSecretValue;

impl SecretValue {
    /// Checks a text, and keeps it.
    pub fn new(text: Zeroizing<String>) -> Result<Self, InvalidSecretValue> {
        if (MIN_SECRET_BYTES..=MAX_SECRET_BYTES).contains(&text.len()) {
            Ok(Self(text))
        } else {
            Err(InvalidSecretValue)
        }
    }

    /// The text, to be sealed or sent.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

/// All that is ever told of a secret. Its value is kept apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Its name.
    pub name: SecretName,
    /// Counts its values, from 1.
    pub version: u64,
    /// Who put it in first.
    pub created_by: UserId,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it got the value that it has.
    pub updated_at: DateTime<Utc>,
}

impl Secret {
    /// A secret with its first value.
    pub fn new(name: SecretName, created_by: UserId, now: DateTime<Utc>) -> Self {
        Self { name, version: 1, created_by, created_at: now, updated_at: now }
    }

    /// The same with another value.
    #[must_use]
    pub fn changed(self, now: DateTime<Utc>) -> Self {
        Self { version: self.version + 1, updated_at: now, ..self }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_name_is_short_plain_and_begins_with_a_letter() {
        for good in ["a", "openai", "crm_token-2", &"x".repeat(63)] {
            assert_eq!(good.parse::<SecretName>().unwrap().as_str(), good);
        }
        for bad in ["", "2a", "-a", "A", "a b", "a.b", "é", "a/b", &"x".repeat(64)] {
            assert_eq!(bad.parse::<SecretName>(), Err(InvalidSecretName), "{bad}");
        }
    }

    #[test]
    fn a_value_is_bounded_and_never_printed() {
        let value = |text: String| SecretValue::new(Zeroizing::new(text));
        let kept = value("sk-canary".into()).unwrap();
        assert_eq!(kept.expose(), "sk-canary");
        assert!(!format!("{kept:?}").contains("canary"));
        assert_eq!(value("short".into()).unwrap_err(), InvalidSecretValue);
        assert!(value("x".repeat(MAX_SECRET_BYTES)).is_ok());
        assert!(value("x".repeat(MAX_SECRET_BYTES + 1)).is_err());
    }

    #[test]
    fn each_value_has_a_version() {
        let at = |second: i64| DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap();
        let secret = Secret::new("a".parse().unwrap(), UserId::from_uuid(Uuid::nil()), at(0)).changed(at(9));
        assert_eq!((secret.version, secret.created_at, secret.updated_at), (2, at(0), at(9)));
    }
}
