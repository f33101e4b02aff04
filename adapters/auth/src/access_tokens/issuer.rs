//! Signs access tokens.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use jsonwebtoken::Header;
use powerhouse_domain::access::Principal;
use powerhouse_ports::clock::IdSource;
use powerhouse_ports::tokens::{AccessToken, SigningFailed, TokenIssuer};
use zeroize::Zeroizing;

use super::{Claims, TYPE, TokenProfile};
use crate::ed25519::ALGORITHM;
use crate::keys::SigningKeys;

/// Issues access tokens, signed with the first of the keys.
pub struct JwtIssuer {
    keys: Arc<SigningKeys>,
    profile: TokenProfile,
    ids: Arc<dyn IdSource>,
}

impl JwtIssuer {
    /// An issuer; `ids` name the tokens.
    pub fn new(keys: Arc<SigningKeys>, profile: TokenProfile, ids: Arc<dyn IdSource>) -> Self {
        Self { keys, profile, ids }
    }
}

impl TokenIssuer for JwtIssuer {
    fn issue(&self, principal: &Principal, now: DateTime<Utc>) -> Result<AccessToken, SigningFailed> {
        let issued_at = DateTime::from_timestamp(now.timestamp(), 0);
        let expires_at = issued_at
            .and_then(|at| at.checked_add_signed(chrono::TimeDelta::from_std(self.profile.lifetime).ok()?))
            .ok_or_else(|| SigningFailed("the token would expire after the end of time".into()))?;
        let claims = Claims {
            iss: self.profile.issuer.clone(),
            aud: self.profile.audience.clone(),
            sub: principal.user_id(),
            tenant: principal.tenant_id(),
            sid: principal.session_id(),
            role: principal.role().as_str().to_owned(),
            iat: now.timestamp(),
            nbf: now.timestamp(),
            exp: expires_at.timestamp(),
            jti: self.ids.next(),
        };
        let (key, kid) = self.keys.signing();
        let mut header = Header::new(ALGORITHM);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(kid.to_owned());
        let text =
            jsonwebtoken::encode(&header, &claims, key).map_err(|error| SigningFailed(Box::new(error)))?;
        Ok(AccessToken { text: Zeroizing::new(text), expires_at })
    }
}
