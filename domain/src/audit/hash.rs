//! What a record's hash is of.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use super::{AuditRecord, Entry};
use crate::ids::TenantId;

/// Said before what is hashed, so that a hash of the one is never one of the other, or of anything else.
const GENESIS: &str = "powerhouse audit genesis 1";
const RECORD: &str = "powerhouse audit record 1";

/// A SHA-256 hash (FIPS 180-4), in text as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AuditHash([u8; 32]);

/// A text is no hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hash is 64 lower-case hexadecimal digits")]
pub struct NotAHash;

impl AuditHash {
    /// The hash of these bytes' value.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What the first record of a tenant's trail follows.
    pub(super) fn genesis(tenant: TenantId) -> Self {
        let mut hashing = Hashing::of(GENESIS);
        hashing.bytes(tenant.as_uuid().as_bytes());
        hashing.end()
    }

    /// The hash that a record must have.
    pub(super) fn of(record: &AuditRecord) -> Self {
        let AuditRecord { tenant, seq, entry, previous, hash: _ } = record;
        let Entry { at, actor, action, resource, correlation_id, details } = entry;
        let mut hashing = Hashing::of(RECORD);
        hashing.bytes(tenant.as_uuid().as_bytes());
        hashing.bytes(&seq.to_be_bytes());
        hashing.bytes(&at.timestamp_micros().to_be_bytes());
        hashing.bytes(actor.to_string().as_bytes());
        hashing.optional(actor.session().map(|session| session.to_string()).as_deref());
        hashing.bytes(action.as_str().as_bytes());
        hashing.bytes(resource.as_bytes());
        hashing.optional(correlation_id.as_deref());
        hashing.length(details.len());
        for (name, value) in details {
            hashing.bytes(name.as_bytes());
            hashing.bytes(value.as_bytes());
        }
        hashing.bytes(previous.as_bytes());
        hashing.end()
    }
}

impl fmt::Display for AuditHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for AuditHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for AuditHash {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<Self, NotAHash> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(NotAHash),
        };
        if text.len() != 64 {
            return Err(NotAHash);
        }
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = digit(digits[0])? << 4 | digit(digits[1])?;
        }
        Ok(Self(bytes))
    }
}

/// Each part goes in with its length before it, so that no two lists of parts read the same.
struct Hashing(Sha256);

impl Hashing {
    fn of(what: &str) -> Self {
        let mut hashing = Self(Sha256::new());
        hashing.bytes(what.as_bytes());
        hashing
    }

    fn length(&mut self, length: usize) {
        self.0.update(u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes());
    }

    fn bytes(&mut self, part: &[u8]) {
        self.length(part.len());
        self.0.update(part);
    }

    fn optional(&mut self, part: Option<&str>) {
        self.length(usize::from(part.is_some()));
        if let Some(part) = part {
            self.bytes(part.as_bytes());
        }
    }

    fn end(self) -> AuditHash {
        AuditHash(self.0.finalize().into())
    }
}
