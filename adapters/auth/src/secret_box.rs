//! Secrets sealed by XChaCha20-Poly1305 (RFC 8439 with the extended nonce of draft-irtf-cfrg-xchacha).

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{Key, KeyInit as _, XChaCha20Poly1305, XNonce};
use powerhouse_domain::access::TenantScope;
use powerhouse_ports::secrets::{OpenFailed, SealFailed, SecretBox};
use zeroize::Zeroizing;

/// The form of a sealed secret: this byte, the nonce, the ciphertext with its tag.
const VERSION: u8 = 1;
/// 192 bits: random nonces do not repeat, however many there are.
const NONCE_BYTES: usize = 24;

/// Seals with one key. The key is wiped when this is dropped.
pub struct AeadSecretBox(XChaCha20Poly1305);

impl AeadSecretBox {
    /// A box with this key: 32 random bytes.
    pub fn new(key: &Zeroizing<[u8; 32]>) -> Self {
        Self(XChaCha20Poly1305::new(&Key::from(**key)))
    }
}

impl std::fmt::Debug for AeadSecretBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AeadSecretBox(…)")
    }
}

impl SecretBox for AeadSecretBox {
    fn seal(&self, scope: &TenantScope, name: &str, secret: &[u8]) -> Result<Vec<u8>, SealFailed> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|error| SealFailed(error.into()))?;
        let payload = Payload { msg: secret, aad: &bound_to(scope, name) };
        let ciphertext = self
            .0
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| SealFailed("the secret is too long".into()))?;
        Ok([&[VERSION], &nonce[..], &ciphertext].concat())
    }

    fn open(&self, scope: &TenantScope, name: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenFailed> {
        let rest = sealed.strip_prefix(&[VERSION]).ok_or(OpenFailed)?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(OpenFailed)?;
        let payload = Payload { msg: ciphertext, aad: &bound_to(scope, name) };
        self.0.decrypt(&XNonce::from(*nonce), payload).map(Zeroizing::new).map_err(|_| OpenFailed)
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
