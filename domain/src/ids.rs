//! Typed ids in TypeID form: `run_01h2xcejqtf2nbrexx3vqjhp41` is a UUID that says what it names.
//!
//! The text form is version 0.3 of the TypeID specification (<https://github.com/jetify-com/typeid>): a prefix,
//! an underscore and the 128 bits in 26 characters of Crockford's base 32. The registry of prefixes below only
//! grows: a prefix is never renamed or given to something else (ADR 0005).

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const SUFFIX_LEN: usize = 26;
const MAX_PREFIX_LEN: usize = 63;

/// Why a text is not a TypeID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The prefix is not the one that this kind of id has.
    #[error("expected an id that starts with `{expected}_`")]
    WrongPrefix {
        /// The prefix of the kind.
        expected: &'static str,
    },
    /// The prefix breaks the rule `[a-z]([a-z_]{0,61}[a-z])?`.
    #[error("the part before the last underscore must be lower-case letters, at most 63")]
    InvalidPrefix,
    /// The suffix is not 26 characters.
    #[error("the part after the last underscore must be 26 characters")]
    SuffixLength,
    /// The suffix has a character outside the alphabet, or encodes more than 128 bits.
    #[error("the part after the last underscore is not a base-32 id")]
    InvalidSuffix,
}

/// Splits a TypeID into its prefix, which may be empty, and its UUID.
pub fn parse_typeid(text: &str) -> Result<(&str, Uuid), IdError> {
    let (prefix, suffix) = match text.rsplit_once('_') {
        Some(("", _)) => return Err(IdError::InvalidPrefix),
        Some(parts) => parts,
        None => ("", text),
    };
    if !is_valid_prefix(prefix) {
        return Err(IdError::InvalidPrefix);
    }
    Ok((prefix, decode_suffix(suffix)?))
}

/// Writes a TypeID. The prefix is not checked: it comes from the registry.
pub fn format_typeid(prefix: &str, uuid: Uuid) -> String {
    let mut text = String::with_capacity(prefix.len() + 1 + SUFFIX_LEN);
    if !prefix.is_empty() {
        text.push_str(prefix);
        text.push('_');
    }
    let bits = uuid.as_u128();
    for position in 0..SUFFIX_LEN {
        let shift = 5 * (SUFFIX_LEN - 1 - position);
        let index = usize::try_from((bits >> shift) & 0x1f).unwrap_or_default();
        text.push(char::from(ALPHABET[index]));
    }
    text
}

/// Divides UUIDs version 7 (RFC 9562): those made before this millisecond are smaller, the others greater.
pub fn earliest_uuid(at: DateTime<Utc>) -> Uuid {
    let milliseconds = u128::try_from(at.timestamp_millis()).unwrap_or_default();
    Uuid::from_u128(milliseconds << 80)
}

/// A UUID version 7 that follows from a time and from what it is made of: whoever makes it makes the same.
pub fn derived_uuid(at: DateTime<Utc>, parts: &[&[u8]]) -> Uuid {
    let mut hash = Sha256::new();
    for part in parts {
        // With its length, so that no two lists of parts read the same.
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    let mut random = [0; 10];
    random.copy_from_slice(&hash.finalize()[..10]);
    let milliseconds = u64::try_from(at.timestamp_millis()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid()
}

fn is_valid_prefix(prefix: &str) -> bool {
    prefix.len() <= MAX_PREFIX_LEN
        && !prefix.starts_with('_')
        && !prefix.ends_with('_')
        && prefix.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase())
}

fn decode_suffix(suffix: &str) -> Result<Uuid, IdError> {
    if suffix.len() != SUFFIX_LEN {
        return Err(IdError::SuffixLength);
    }
    // 26 characters hold 130 bits, so the first may carry only three.
    if suffix.as_bytes()[0] > b'7' {
        return Err(IdError::InvalidSuffix);
    }
    suffix
        .bytes()
        .try_fold(0_u128, |bits, byte| {
            let digit = ALPHABET.iter().position(|&letter| letter == byte)?;
            Some((bits << 5) | u128::try_from(digit).ok()?)
        })
        .map(Uuid::from_u128)
        .ok_or(IdError::InvalidSuffix)
}

macro_rules! typed_ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// When it was made, to the millisecond, if it is a UUID version 7.
            pub fn made_at(self) -> Option<DateTime<Utc>> {
                let (seconds, nanoseconds) = self.0.get_timestamp()?.to_unix();
                DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanoseconds)
            }

            /// What the text form starts with.
            pub const PREFIX: &'static str = $prefix;

            /// The id with this UUID, version 7 where it was made here.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID inside.
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&format_typeid(Self::PREFIX, self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let (prefix, uuid) = parse_typeid(text)?;
                if prefix == Self::PREFIX {
                    Ok(Self(uuid))
                } else {
                    Err(IdError::WrongPrefix { expected: Self::PREFIX })
                }
            }
        }
    )*

        #[cfg(test)]
        const PREFIXES: &[&str] = &[$($prefix),*];
    };
}

typed_ids! {
    /// An organisation whose data is kept apart from every other's.
    TenantId = "tenant";
    /// A person.
    UserId = "user";
    /// A signed-in session: a family of refresh tokens.
    SessionId = "session";
    /// An agent's definition, over all its versions.
    AgentId = "agent";
    /// A tenant's policy.
    PolicyId = "policy";
    /// One execution of a task.
    RunId = "run";
    /// One effect of a run as it is shown to people.
    StepId = "step";
    /// A question that a run has asked a person.
    ApprovalId = "approval";
    /// A task that is submitted again and again.
    ScheduleId = "schedule";
    /// An endpoint that is told of what happens.
    WebhookId = "webhook";
    /// One event, as endpoints are told of it.
    MessageId = "message";
    /// A bound of what may be spent.
    BudgetId = "budget";
    /// A provider of models that a tenant has named.
    ModelProviderId = "modelprovider";
    /// A key that a tenant's secrets are sealed with.
    DataKeyId = "data_key";
    /// A document of a collection.
    DocumentId = "doc";
    /// Something that an agent remembers.
    MemoryId = "memory";
    /// A conversation: runs that see what was said before them.
    ThreadId = "thread";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_are_divided_by_the_millisecond_they_were_made_in() {
        // The example of RFC 9562, appendix A.6: 2022-02-22 14:22:22.000, at UTC-5.
        let id: Uuid = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f".parse().unwrap();
        let at = DateTime::from_timestamp_millis(1_645_557_742_000).unwrap();
        assert!(earliest_uuid(at) <= id);
        assert!(id < earliest_uuid(at + chrono::TimeDelta::milliseconds(1)));
        assert_eq!(earliest_uuid(DateTime::<Utc>::MIN_UTC), Uuid::nil());
    }

    /// `valid.yml` of the specification.
    const VALID: &[(&str, &str, &str)] = &[
        ("00000000000000000000000000", "", "00000000-0000-0000-0000-000000000000"),
        ("00000000000000000000000001", "", "00000000-0000-0000-0000-000000000001"),
        ("0000000000000000000000000a", "", "00000000-0000-0000-0000-00000000000a"),
        ("0000000000000000000000000g", "", "00000000-0000-0000-0000-000000000010"),
        ("00000000000000000000000010", "", "00000000-0000-0000-0000-000000000020"),
        ("7zzzzzzzzzzzzzzzzzzzzzzzzz", "", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
        ("prefix_0123456789abcdefghjkmnpqrs", "prefix", "0110c853-1d09-52d8-d73e-1194e95b5f19"),
        ("prefix_01h455vb4pex5vsknk084sn02q", "prefix", "01890a5d-ac96-774b-bcce-b302099a8057"),
        ("pre_fix_00000000000000000000000000", "pre_fix", "00000000-0000-0000-0000-000000000000"),
    ];

    /// `invalid.yml` of the specification.
    const INVALID: &[(&str, &str)] = &[
        ("prefix-uppercase", "PREFIX_00000000000000000000000000"),
        ("prefix-numeric", "12345_00000000000000000000000000"),
        ("prefix-period", "pre.fix_00000000000000000000000000"),
        ("prefix-non-ascii", "préfix_00000000000000000000000000"),
        ("prefix-spaces", "  prefix_00000000000000000000000000"),
        (
            "prefix-64-chars",
            "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijkl_00000000000000000000000000",
        ),
        ("separator-empty-prefix", "_00000000000000000000000000"),
        ("separator-empty", "_"),
        ("suffix-short", "prefix_1234567890123456789012345"),
        ("suffix-long", "prefix_123456789012345678901234567"),
        ("suffix-spaces", "prefix_1234567890123456789012345 "),
        ("suffix-uppercase", "prefix_0123456789ABCDEFGHJKMNPQRS"),
        ("suffix-hyphens", "prefix_123456789-123456789-123456"),
        ("suffix-wrong-alphabet", "prefix_ooooooiiiiiiuuuuuuulllllll"),
        ("suffix-ambiguous-crockford", "prefix_i23456789ol23456789oi23456"),
        ("suffix-hyphens-crockford", "prefix_123456789-0123456789-0123456"),
        ("suffix-overflow", "prefix_8zzzzzzzzzzzzzzzzzzzzzzzzz"),
        ("prefix-underscore-start", "_prefix_00000000000000000000000000"),
        ("prefix-underscore-end", "prefix__00000000000000000000000000"),
        ("empty", ""),
        ("prefix-empty", "prefix_"),
    ];

    #[test]
    fn the_specifications_valid_vectors_hold_both_ways() {
        for (text, prefix, uuid) in VALID {
            let uuid: Uuid = uuid.parse().unwrap();
            assert_eq!(parse_typeid(text), Ok((*prefix, uuid)), "{text}");
            assert_eq!(format_typeid(prefix, uuid), *text);
        }
    }

    #[test]
    fn the_specifications_invalid_vectors_are_refused() {
        for (name, text) in INVALID {
            assert!(parse_typeid(text).is_err(), "{name}: {text}");
        }
    }

    #[test]
    fn the_registry_has_no_prefix_twice_and_only_valid_ones() {
        let unique: HashSet<_> = PREFIXES.iter().collect();
        assert_eq!(unique.len(), PREFIXES.len());
        assert!(PREFIXES.iter().all(|prefix| !prefix.is_empty() && is_valid_prefix(prefix)));
    }

    #[test]
    fn an_id_of_another_kind_is_refused() {
        let run = RunId::from_uuid(Uuid::from_u128(7)).to_string();
        assert_eq!(run.parse::<UserId>(), Err(IdError::WrongPrefix { expected: "user" }));
    }

    #[test]
    fn a_derived_id_follows_from_its_parts_alone() {
        let at = DateTime::from_timestamp_millis(1_645_557_742_000).unwrap();
        let id = derived_uuid(at, &[b"ab", b"c"]);
        assert_eq!(id, derived_uuid(at, &[b"ab", b"c"]));
        assert_ne!(id, derived_uuid(at, &[b"a", b"bc"]));
        assert_eq!((id.get_version_num(), id.as_u128() >> 80), (7, earliest_uuid(at).as_u128() >> 80));
    }

    proptest! {
        #[test]
        fn every_uuid_survives_the_text_form(bits: u128) {
            let id = RunId::from_uuid(Uuid::from_u128(bits));
            prop_assert_eq!(id.to_string().parse::<RunId>(), Ok(id));
        }

        #[test]
        fn text_order_is_id_order(a: u128, b: u128) {
            let (a, b) = (RunId::from_uuid(Uuid::from_u128(a)), RunId::from_uuid(Uuid::from_u128(b)));
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }

        #[test]
        fn no_text_panics(text in ".{0,80}") {
            let _ = parse_typeid(&text);
        }
    }
}
