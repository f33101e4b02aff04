//! The next pair of tokens for a refresh token (RFC 9700 §4.14: rotation, and reuse ends the family).

use std::sync::Arc;

use powerhouse_ports::clock::Clock;
use powerhouse_ports::platform::{PlatformStore, Rotation};
use powerhouse_ports::tokens::{RefreshTokens, TokenIssuer};

use super::{Callers, Tokens, fresh, issue};
use crate::Refused;

const REFUSED: Refused = Refused::Unauthenticated("the refresh token is not valid: sign in again");

/// Refreshes sessions.
#[derive(Clone)]
pub struct Refresh {
    /// Where sessions are.
    pub platform: Arc<dyn PlatformStore>,
    /// Is told of sessions that end.
    pub callers: Callers,
    /// Signs access tokens.
    pub issuer: Arc<dyn TokenIssuer>,
    /// Makes refresh tokens.
    pub refresh: Arc<dyn RefreshTokens>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl Refresh {
    /// Trades a refresh token for the next pair.
    pub async fn execute(&self, presented: &str) -> Result<Tokens, Refused> {
        let presented = self.refresh.digest(presented).ok_or(REFUSED)?;
        let (token, next) = fresh(&*self.refresh)?;
        let now = self.clock.now();
        match self.platform.rotate(&presented, &next, now).await? {
            Rotation::Rotated(principal) => issue(&*self.issuer, principal, token, now),
            Rotation::Reused(principal) => {
                self.callers.session_ended(&principal).await;
                tracing::warn!(
                    "a refresh token was presented again after it had been replaced; its session ended"
                );
                Err(REFUSED)
            }
            Rotation::Unknown => Err(REFUSED),
        }
    }
}
