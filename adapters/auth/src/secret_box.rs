//! Secrets sealed by XChaCha20-Poly1305 (RFC 8439 with the extended nonce of draft-irtf-cfrg-xchacha).

use std::io;
use std::path::Path;

use base64ct::{Base64, Encoding as _};
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{Key, KeyInit as _, XChaCha20Poly1305, XNonce};
use powerhouse_domain::access::TenantScope;
use powerhouse_ports::secrets::{OpenFailed, SealFailed, SecretBox};
use powerhouse_ports::webhooks::SecretSource;
use zeroize::Zeroizing;

use crate::keys::KeyError;
use crate::keys::file::{create, read_private};

/// The most bytes of a file with a key: 44 characters and the end of a line.
const MAX_FILE: usize = 64;

/// The form of a sealed secret: this byte, the nonce, the ciphertext with its tag.
const VERSION: u8 = 1;
/// 192 bits: random nonces do not repeat, however many there are.
const NONCE_BYTES: usize = 24;

/// Seals and opens with one key, which is wiped when this is dropped.
pub(crate) struct Aead(XChaCha20Poly1305);

impl Aead {
    pub(crate) fn new(key: &Zeroizing<[u8; 32]>) -> Self {
        Self(XChaCha20Poly1305::new(&Key::from(**key)))
    }

    /// Seals what opens for the same `bound_to` only.
    pub(crate) fn seal(&self, bound_to: &[u8], secret: &[u8]) -> Result<Vec<u8>, SealFailed> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|error| SealFailed(error.into()))?;
        let payload = Payload { msg: secret, aad: bound_to };
        let ciphertext = self
            .0
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| SealFailed("the secret is too long".into()))?;
        Ok([&[VERSION], &nonce[..], &ciphertext].concat())
    }

    pub(crate) fn open(&self, bound_to: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenFailed> {
        let rest = sealed.strip_prefix(&[VERSION]).ok_or(OpenFailed)?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(OpenFailed)?;
        let payload = Payload { msg: ciphertext, aad: bound_to };
        self.0.decrypt(&XNonce::from(*nonce), payload).map(Zeroizing::new).map_err(|_| OpenFailed)
    }
}

/// Seals with one key.
pub struct AeadSecretBox(Aead);

impl AeadSecretBox {
    /// A box with this key: 32 random bytes.
    pub fn new(key: &Zeroizing<[u8; 32]>) -> Self {
        Self(Aead::new(key))
    }
}

impl AeadSecretBox {
    /// A box with the key in a file, with a new key in it if there is none. The file has 32 bytes in base64, and is for
    /// its owner alone. Replicas need the same: a secret that was sealed with another key cannot be opened.
    pub fn load_or_generate(path: &Path) -> Result<Self, KeyError> {
        let text = match read_private(path, MAX_FILE) {
            Err(KeyError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                let mut key = Zeroizing::new([0; 32]);
                getrandom::fill(&mut key[..]).map_err(KeyError::Randomness)?;
                let text = Zeroizing::new(Base64::encode_string(&key[..]));
                create(path, &text)?;
                // Another process may have been faster.
                read_private(path, MAX_FILE)?
            }
            read => read?,
        };
        let mut key = Zeroizing::new([0; 32]);
        let decoded = Base64::decode(text.trim_ascii_end(), &mut key[..]);
        match decoded {
            Ok(bytes) if bytes.len() == 32 => Ok(Self::new(&key)),
            _ => Err(KeyError::NotASecretKey),
        }
    }
}

/// Secrets from the operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemSecrets;

impl SecretSource for SystemSecrets {
    /// # Panics
    /// When the operating system gives no randomness: then nothing that this process does is safe.
    fn random(&self) -> Zeroizing<[u8; 32]> {
        let mut random = Zeroizing::new([0; 32]);
        getrandom::fill(&mut random[..]).expect("the operating system gives randomness");
        random
    }
}

impl std::fmt::Debug for AeadSecretBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AeadSecretBox(…)")
    }
}

impl SecretBox for AeadSecretBox {
    fn seal(&self, scope: &TenantScope, name: &str, secret: &[u8]) -> Result<Vec<u8>, SealFailed> {
        self.0.seal(&bound_to(scope, name), secret)
    }

    fn open(&self, scope: &TenantScope, name: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenFailed> {
        self.0.open(&bound_to(scope, name), sealed)
    }
}

/// The tenant has a fixed length, so no two pairs give the same bytes.
fn bound_to(scope: &TenantScope, name: &str) -> Vec<u8> {
    [scope.tenant_id().as_uuid().as_bytes(), name.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::scope;

    fn secret_box(key: u8) -> AeadSecretBox {
        AeadSecretBox::new(&Zeroizing::new([key; 32]))
    }

    #[test]
    fn a_secret_opens_for_its_tenant_its_name_and_its_key_alone() {
        let sealed = secret_box(1).seal(&scope(1), "openai", b"sk-canary").unwrap();
        assert_eq!(&secret_box(1).open(&scope(1), "openai", &sealed).unwrap()[..], b"sk-canary");
        assert_eq!(secret_box(1).open(&scope(2), "openai", &sealed), Err(OpenFailed));
        assert_eq!(secret_box(1).open(&scope(1), "other", &sealed), Err(OpenFailed));
        assert_eq!(secret_box(2).open(&scope(1), "openai", &sealed), Err(OpenFailed));
        assert!(!sealed.windows(6).any(|window| window == b"canary"));
        assert!(!format!("{:?}", secret_box(1)).contains('1'));
    }

    #[test]
    fn a_key_is_made_once_kept_for_its_owner_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.key");
        let sealed = AeadSecretBox::load_or_generate(&path).unwrap().seal(&scope(1), "a", b"secret").unwrap();
        let again = AeadSecretBox::load_or_generate(&path).unwrap();
        assert_eq!(&again.open(&scope(1), "a", &sealed).unwrap()[..], b"secret");
        std::fs::write(&path, "too short").unwrap();
        assert!(matches!(AeadSecretBox::load_or_generate(&path), Err(KeyError::NotASecretKey)));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(&path, mode).unwrap();
        assert!(matches!(AeadSecretBox::load_or_generate(&path), Err(KeyError::ReadableByOthers { .. })));
        assert_ne!(SystemSecrets.random(), SystemSecrets.random());
    }

    #[test]
    fn two_seals_of_one_secret_differ() {
        let seal = || secret_box(1).seal(&scope(1), "a", b"secret").unwrap();
        assert_ne!(seal(), seal());
    }

    proptest! {
        #[test]
        fn what_was_changed_or_cut_does_not_open(at in 0usize..47, bit in 0u8..8) {
            let sealed = secret_box(1).seal(&scope(1), "a", b"secret").unwrap();
            prop_assert_eq!(sealed.len(), 47);
            let mut changed = sealed.clone();
            changed[at] ^= 1 << bit;
            prop_assert_eq!(secret_box(1).open(&scope(1), "a", &changed), Err(OpenFailed));
            prop_assert_eq!(secret_box(1).open(&scope(1), "a", &sealed[..at]), Err(OpenFailed));
        }
    }
}
