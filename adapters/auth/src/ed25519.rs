//! What signs and verifies behind `jsonwebtoken`: Ed25519 (RFC 8032) and nothing else.
//!
//! The crate's own backends link RSA, ECDSA and HMAC too. With this one there is no second algorithm to be
//! confused with the first.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{Error, Signer, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use zeroize::Zeroizing;

/// The one algorithm. RFC 9864 would call it `Ed25519`, a name that `jsonwebtoken` does not know.
pub(crate) const ALGORITHM: Algorithm = Algorithm::EdDSA;

/// What comes before the 32 bytes of a private key in PKCS#8 (RFC 8410 §7).
pub(crate) const PKCS8_PREFIX: [u8; 16] =
    *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
/// The length of a private key in PKCS#8.
pub(crate) const PKCS8_LEN: usize = PKCS8_PREFIX.len() + 32;

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| match algorithm {
        Algorithm::EdDSA => Ok(Box::new(Ed25519Signer(signing_key(key)?))),
        _ => Err(ErrorKind::UnsupportedAlgorithm.into()),
    },
    verifier_factory: |algorithm, key| match algorithm {
        Algorithm::EdDSA => Ok(Box::new(Ed25519Verifier(verifying_key(key)?))),
        _ => Err(ErrorKind::UnsupportedAlgorithm.into()),
    },
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes this the provider of the process, which `jsonwebtoken` knows only one of.
///
/// If there is one already, it is this one, or one that the process chose: those of the crate itself take keys in
/// the same form, so that it makes no difference here.
pub(crate) fn install() {
    let _already_there = PROVIDER.install_default();
}

/// A private key in PKCS#8.
pub(crate) fn to_pkcs8(key: &SigningKey) -> Zeroizing<[u8; PKCS8_LEN]> {
    let mut der = Zeroizing::new([0; PKCS8_LEN]);
    der[..PKCS8_PREFIX.len()].copy_from_slice(&PKCS8_PREFIX);
    der[PKCS8_PREFIX.len()..].copy_from_slice(key.as_bytes());
    der
}

/// A private key as `jsonwebtoken` wants it.
pub(crate) fn encoding_key(key: &SigningKey) -> EncodingKey {
    EncodingKey::from_ed_der(&to_pkcs8(key)[..])
}

/// The key in a PKCS#8 document, if that holds an Ed25519 key and nothing else.
pub(crate) fn from_pkcs8(der: &[u8]) -> Option<SigningKey> {
    let secret = der.strip_prefix(&PKCS8_PREFIX)?;
    Some(SigningKey::from_bytes(secret.try_into().ok()?))
}

fn signing_key(key: &EncodingKey) -> Result<SigningKey> {
    from_pkcs8(key.as_bytes()).ok_or_else(|| ErrorKind::InvalidEddsaKey.into())
}

fn verifying_key(key: &DecodingKey) -> Result<VerifyingKey> {
    key.try_get_as_bytes()?
        .try_into()
        .ok()
        .and_then(|bytes| VerifyingKey::from_bytes(bytes).ok())
        .ok_or_else(|| ErrorKind::InvalidEddsaKey.into())
}

struct Ed25519Signer(SigningKey);

impl Signer<Vec<u8>> for Ed25519Signer {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, Error> {
        let signature = self.0.try_sign(message).map_err(Error::from_source)?;
        Ok(signature.to_bytes().to_vec())
    }
}

impl JwtSigner for Ed25519Signer {
    fn algorithm(&self) -> Algorithm {
        ALGORITHM
    }
}

struct Ed25519Verifier(VerifyingKey);

impl Verifier<Vec<u8>> for Ed25519Verifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        let signature = Signature::from_slice(signature).map_err(Error::from_source)?;
        // Strict: also no keys of small order, for which one signature fits many messages.
        self.0.verify_strict(message, &signature).map_err(Error::from_source)
    }
}

impl JwtVerifier for Ed25519Verifier {
    fn algorithm(&self) -> Algorithm {
        ALGORITHM
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64ct::{Base64UrlUnpadded, Encoding};
    use jsonwebtoken::crypto::{sign, verify};

    /// RFC 8037, appendix A.4: the key of A.1, the signing input and the signature.
    const SECRET: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
    const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    const INPUT: &[u8] = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    const SIGNATURE: &str =
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

    fn key() -> SigningKey {
        let bytes = Base64UrlUnpadded::decode_vec(SECRET).unwrap();
        SigningKey::from_bytes(&bytes.try_into().unwrap())
    }

    #[test]
    fn signatures_are_those_of_rfc_8037() {
        install();
        assert_eq!(sign(INPUT, &encoding_key(&key()), ALGORITHM).unwrap(), SIGNATURE);

        let public = DecodingKey::from_ed_components(PUBLIC).unwrap();
        assert!(verify(SIGNATURE, INPUT, &public, ALGORITHM).unwrap());
        assert!(!verify(SIGNATURE, b"something else", &public, ALGORITHM).unwrap());
    }

    #[test]
    fn there_is_no_other_algorithm() {
        install();
        for other in [Algorithm::HS256, Algorithm::ES256, Algorithm::RS256, Algorithm::PS512] {
            assert!(sign(INPUT, &encoding_key(&key()), other).is_err(), "{other:?}");
            let public = DecodingKey::from_ed_components(PUBLIC).unwrap();
            assert!(verify(SIGNATURE, INPUT, &public, other).is_err(), "{other:?}");
        }
    }

    #[test]
    fn a_key_of_small_order_verifies_nothing() {
        install();
        // With the neutral element as key and as R, and S = 0, a lenient verifier accepts every message.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        let signature = Base64UrlUnpadded::encode_string(&signature);
        let key = DecodingKey::from_ed_der(&neutral);
        assert!(!verify(&signature, INPUT, &key, ALGORITHM).unwrap());
    }

    #[test]
    fn what_is_no_key_is_an_error() {
        install();
        let too_short = EncodingKey::from_ed_der(&PKCS8_PREFIX);
        assert!(sign(INPUT, &too_short, ALGORITHM).is_err());
        let too_short = DecodingKey::from_ed_der(&[1; 31]);
        assert!(verify(SIGNATURE, INPUT, &too_short, ALGORITHM).is_err());
    }
}
