//! Verifies access tokens.

use std::collections::HashSet;
use std::sync::Arc;

use base64ct::{Base64UrlUnpadded, Encoding};
use chrono::{DateTime, Utc};
use jsonwebtoken::Validation;
use moka::sync::Cache;
use powerhouse_domain::access::{Principal, Role};
use powerhouse_ports::tokens::{TokenError, TokenVerifier};
use sha2::{Digest, Sha256};

use super::{Claims, LEEWAY, MAX_TOKEN_BYTES, StrictHeader, TYPE, TokenProfile};
use crate::ed25519::ALGORITHM;
use crate::keys::SigningKeys;

/// Tokens that are known to be good; some 200 bytes each.
const MAX_KNOWN: u64 = 50_000;

/// Verifies access tokens that were signed with one of the keys.
///
/// To verify a signature takes longer than to read a row, and whoever calls sends the same token again and again. Whether
/// the signature and the claims are good depends on nothing but the token and on keys that never change here, so it is
/// kept, by the token's digest. Times are checked with every request, and so is the session, elsewhere.
pub struct JwtVerifier {
    keys: Arc<SigningKeys>,
    validation: Validation,
    known: Cache<[u8; 32], Good>,
}

/// What a good token says.
#[derive(Clone, Copy)]
struct Good {
    principal: Principal,
    issued_at: i64,
    not_before: i64,
    expires_at: i64,
}

impl JwtVerifier {
    /// A verifier of what an issuer with the same profile issues; the lifetime does not matter here.
    pub fn new(keys: Arc<SigningKeys>, profile: &TokenProfile) -> Self {
        let mut validation = Validation::new(ALGORITHM);
        validation.set_issuer(&[&profile.issuer]);
        validation.set_audience(&[&profile.audience]);
        // `Claims` requires them all.
        validation.required_spec_claims = HashSet::new();
        // The crate would ask the system's clock: `check_times` goes by the time that it is given.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Self { keys, validation, known: Cache::new(MAX_KNOWN) }
    }

    fn good(&self, token: &str) -> Option<Good> {
        let header = header(token)?;
        let key = self.keys.accepted(&header.kid)?;
        if header.typ != TYPE || header.alg != ALGORITHM {
            return None;
        }
        let claims = jsonwebtoken::decode::<Claims>(token, &key.decoding, &self.validation).ok()?.claims;
        let role: Role = claims.role.parse().ok()?;
        Some(Good {
            principal: Principal::verified(claims.tenant, claims.sub, claims.sid, role),
            issued_at: claims.iat,
            not_before: claims.nbf,
            expires_at: claims.exp,
        })
    }
}

impl TokenVerifier for JwtVerifier {
    fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Principal, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Invalid);
        }
        let digest = Sha256::digest(token).into();
        let good = match self.known.get(&digest) {
            Some(known) => known,
            None => self
                .good(token)
                .inspect(|good| self.known.insert(digest, *good))
                .ok_or(TokenError::Invalid)?,
        };
        check_times(&good, now.timestamp())?;
        Ok(good.principal)
    }
}

/// The header of what could be a token, read before anything that it says is believed.
fn header(token: &str) -> Option<StrictHeader> {
    let (header, _) = token.split_once('.')?;
    serde_json::from_slice(&Base64UrlUnpadded::decode_vec(header).ok()?).ok()
}

/// Last of all, so that only a token which is good in every other way is called expired.
fn check_times(good: &Good, now: i64) -> Result<(), TokenError> {
    let leeway = LEEWAY.as_secs().cast_signed();
    let soonest = now.saturating_add(leeway);
    if good.not_before > soonest || good.issued_at > soonest || good.expires_at <= good.not_before {
        return Err(TokenError::Invalid);
    }
    if good.expires_at <= now.saturating_sub(leeway) {
        return Err(TokenError::Expired);
    }
    Ok(())
}
