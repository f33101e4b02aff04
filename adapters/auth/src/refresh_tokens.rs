//! Refresh tokens: `pht_` and 48 characters, of which only a hash is kept.
//!
//! The 48 characters are 256 random bits and a CRC-32 of all that comes before it, in base64url. The checksum
//! keeps a mistyped or cut token from the database, and lets a scanner of leaked secrets be sure of what it found.
//! It protects nothing: whoever can make a token up can make up its checksum.

use base64ct::{Base64UrlUnpadded, Encoding};
use powerhouse_ports::platform::RefreshDigest;
use powerhouse_ports::tokens::{RefreshToken, RefreshTokens};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

const PREFIX: &str = "pht_";
const RANDOM_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 4;
const BODY_BYTES: usize = RANDOM_BYTES + CHECKSUM_BYTES;
/// 36 bytes are exactly 48 characters: no padding, and one text for each token.
const BODY_CHARS: usize = BODY_BYTES / 3 * 4;

/// Makes refresh tokens from the operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpaqueRefreshTokens;

impl RefreshTokens for OpaqueRefreshTokens {
    /// # Panics
    /// When the operating system gives no randomness: then nothing that this process does is safe.
    fn generate(&self) -> RefreshToken {
        let mut random = Zeroizing::new([0; RANDOM_BYTES]);
        getrandom::fill(&mut random[..]).expect("the operating system gives randomness");
        RefreshToken(write(&random))
    }

    fn digest(&self, text: &str) -> Option<RefreshDigest> {
        let body = text.strip_prefix(PREFIX)?;
        if body.len() != BODY_CHARS {
            return None;
        }
        let mut bytes = Zeroizing::new([0; BODY_BYTES]);
        Base64UrlUnpadded::decode(body, &mut bytes[..]).ok()?;
        let (random, checksum) = bytes.split_at(RANDOM_BYTES);
        (checksum == checksum_of(random)).then(|| Sha256::digest(text).into())
    }
}

fn write(random: &[u8; RANDOM_BYTES]) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0; BODY_BYTES]);
    bytes[..RANDOM_BYTES].copy_from_slice(random);
    bytes[RANDOM_BYTES..].copy_from_slice(&checksum_of(random));
    let body = Zeroizing::new(Base64UrlUnpadded::encode_string(&bytes[..]));
    // Room for all of it, so that it does not grow and leave a copy behind.
    let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + BODY_CHARS));
    text.push_str(PREFIX);
    text.push_str(&body);
    text
}

/// The prefix counts too: a token of another kind is not one with the prefix changed.
fn checksum_of(random: &[u8]) -> [u8; CHECKSUM_BYTES] {
    crc32(PREFIX.as_bytes().iter().chain(random)).to_be_bytes()
}

/// CRC-32 as in ISO 3309 and ZIP, bit by bit.
fn crc32<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> u32 {
    let crc = bytes.into_iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(
            crc ^ u32::from(byte),
            |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 },
        )
    });
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    use proptest::prelude::*;

    #[test]
    fn the_checksum_is_the_one_that_everybody_uses() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn s12_a_token_is_the_prefix_and_256_random_bits_and_its_hash_is_kept() {
        let tokens: HashSet<String> =
            (0..100).map(|_| OpaqueRefreshTokens.generate().0.as_str().to_owned()).collect();
        assert_eq!(tokens.len(), 100);
        for token in &tokens {
            assert!(token.starts_with("pht_") && token.len() == 52, "{token}");
            let digest = OpaqueRefreshTokens.digest(token).unwrap();
            assert_eq!(digest, <[u8; 32]>::from(Sha256::digest(token.as_bytes())));
        }
        // A token that is stored today must be recognised by every later version.
        let fixed = write(&[7; RANDOM_BYTES]);
        assert_eq!(fixed.as_str(), "pht_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwckLqJT");
    }

    #[test]
    fn what_is_no_token_has_no_digest() {
        let good = write(&[7; RANDOM_BYTES]);
        let digest = |text: &str| OpaqueRefreshTokens.digest(text);
        assert!(digest(&good).is_some());
        let wrong = [
            String::new(),
            "pht_".to_owned(),
            good["pht_".len()..].to_owned(),
            good.replace("pht_", "phk_"),
            good.replace("pht_", "PHT_"),
            good[..good.len() - 1].to_owned(),
            format!("{}A", *good),
            format!(" {}", *good),
            format!("{}\n", *good),
            format!("pht_{}", "é".repeat(24)),
            format!("pht_{}", "=".repeat(48)),
            format!("pht_{}", "A".repeat(1 << 20)),
        ];
        for text in wrong {
            assert_eq!(digest(&text), None, "{text:.80}");
        }
    }

    #[test]
    fn s16_a_token_is_never_printed() {
        let token = OpaqueRefreshTokens.generate();
        assert!(!format!("{token:?}").contains("pht_"));
    }

    proptest! {
        #[test]
        fn one_changed_character_is_noticed(random in any::<[u8; 32]>(), position in 4_usize..52, to in "[A-Za-z0-9_-]") {
            let good = write(&random);
            let mut changed = good.to_string();
            changed.replace_range(position..=position, &to);
            prop_assert_eq!(OpaqueRefreshTokens.digest(&changed).is_some(), changed == *good);
        }

        #[test]
        fn no_text_panics(text in "(pht_)?\\PC{0,60}") {
            let _ = OpaqueRefreshTokens.digest(&text);
        }
    }
}
