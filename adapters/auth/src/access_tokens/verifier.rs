//! Verifies access tokens.

use std::collections::HashSet;
use std::sync::Arc;

use base64ct::{Base64UrlUnpadded, Encoding};
use chrono::{DateTime, Utc};
use jsonwebtoken::Validation;
use powerhouse_domain::access::{Principal, Role};
use powerhouse_ports::tokens::{TokenError, TokenVerifier};

use super::{Claims, LEEWAY, MAX_TOKEN_BYTES, StrictHeader, TYPE, TokenProfile};
use crate::ed25519::ALGORITHM;
use crate::keys::SigningKeys;

/// Verifies access tokens that were signed with one of the keys.
pub struct JwtVerifier {
    keys: Arc<SigningKeys>,
    validation: Validation,
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
        Self { keys, validation }
    }
}

impl TokenVerifier for JwtVerifier {
    fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Principal, TokenError> {
        let header = header(token).ok_or(TokenError::Invalid)?;
        let key = self.keys.accepted(&header.kid).ok_or(TokenError::Invalid)?;
        if header.typ != TYPE || header.alg != ALGORITHM {
            return Err(TokenError::Invalid);
        }
        let claims = jsonwebtoken::decode::<Claims>(token, &key.decoding, &self.validation)
            .map_err(|_| TokenError::Invalid)?
            .claims;
        let role: Role = claims.role.parse().map_err(|_| TokenError::Invalid)?;
        check_times(&claims, now.timestamp())?;
        Ok(Principal::verified(claims.tenant, claims.sub, claims.sid, role))
    }
}

/// The header of what could be a token, read before anything that it says is believed.
fn header(token: &str) -> Option<StrictHeader> {
    if token.len() > MAX_TOKEN_BYTES {
        return None;
    }
    let (header, _) = token.split_once('.')?;
    serde_json::from_slice(&Base64UrlUnpadded::decode_vec(header).ok()?).ok()
}

/// Last of all, so that only a token which is good in every other way is called expired.
fn check_times(claims: &Claims, now: i64) -> Result<(), TokenError> {
    let leeway = LEEWAY.as_secs().cast_signed();
    let soonest = now.saturating_add(leeway);
    if claims.nbf > soonest || claims.iat > soonest || claims.exp <= claims.nbf {
        return Err(TokenError::Invalid);
    }
    if claims.exp <= now.saturating_sub(leeway) {
        return Err(TokenError::Expired);
    }
    Ok(())
}
