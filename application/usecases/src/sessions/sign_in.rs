//! Signing in with a password.

use std::sync::Arc;

use powerhouse_domain::access::Principal;
use powerhouse_domain::ids::SessionId;
use powerhouse_domain::tenants::Slug;
use powerhouse_domain::users::Email;
use powerhouse_ports::clock::{Clock, IdSource};
use powerhouse_ports::crypto::{HashError, Password, PasswordHasher};
use powerhouse_ports::platform::{Credentials, PlatformStore};
use powerhouse_ports::tokens::{RefreshTokens, TokenIssuer};

use super::{OVERLOADED_RETRY, SESSION_LIFETIME, Tokens, fresh, issue};
use crate::Refused;

/// Who wants to sign in.
#[derive(Debug)]
pub struct SignInCommand {
    /// To which tenant; nothing when the text cannot be a slug.
    pub tenant: Option<Slug>,
    /// With which address; nothing when the text cannot be one.
    pub email: Option<Email>,
    /// With which password.
    pub password: Password,
}

/// Signs people in.
#[derive(Clone)]
pub struct SignIn {
    /// Where credentials and sessions are.
    pub platform: Arc<dyn PlatformStore>,
    /// Checks passwords.
    pub hasher: Arc<dyn PasswordHasher>,
    /// Signs access tokens.
    pub issuer: Arc<dyn TokenIssuer>,
    /// Makes refresh tokens.
    pub refresh: Arc<dyn RefreshTokens>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
    /// Gives ids.
    pub ids: Arc<dyn IdSource>,
}

impl SignIn {
    /// Opens a session. Unknown tenant, unknown address, wrong password and barred user have the same answer, and
    /// take the same time: a password is hashed in each case.
    pub async fn execute(&self, command: SignInCommand) -> Result<Tokens, Refused> {
        let SignInCommand { tenant, email, password } = command;
        let found = match (&tenant, &email) {
            (Some(tenant), Some(email)) => self.platform.credentials(tenant, email).await?,
            _ => None,
        };
        let hash = found.as_ref().map(|credentials| credentials.password_hash.clone());
        let is_right = self.hasher.verify(password, hash).await.map_err(|error| match error {
            HashError::Overloaded => Refused::Overloaded { retry_after: OVERLOADED_RETRY },
            HashError::Malformed => Refused::Internal(error.to_string()),
        })?;
        let Some(Credentials { tenant_id, user_id, role, is_active: true, .. }) = found.filter(|_| is_right)
        else {
            return Err(Refused::Unauthenticated("tenant, e-mail address or password is wrong"));
        };

        let now = self.clock.now();
        let principal = Principal::verified(tenant_id, user_id, SessionId::from_uuid(self.ids.next()), role);
        let (token, digest) = fresh(&*self.refresh)?;
        self.platform.open_session(&principal, &digest, now, now + SESSION_LIFETIME).await?;
        issue(&*self.issuer, principal, token, now)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use powerhouse_domain::access::Role;
    use powerhouse_domain::ids::{TenantId, UserId};
    use powerhouse_ports::clock::{MockClock, MockIdSource};
    use powerhouse_ports::crypto::MockPasswordHasher;
    use powerhouse_ports::platform::MockPlatformStore;
    use powerhouse_ports::tokens::{MockRefreshTokens, MockTokenIssuer};

    use super::*;

    /// Hashing answers as told; nothing after it may be called.
    fn sign_in(credentials: Option<Credentials>, verdict: Result<bool, HashError>) -> SignIn {
        let mut platform = MockPlatformStore::new();
        platform.expect_credentials().returning(move |_, _| Ok(credentials.clone()));
        let mut hasher = MockPasswordHasher::new();
        hasher.expect_verify().times(1).returning(move |_, _| verdict);
        let mut clock = MockClock::new();
        clock.expect_now().return_const(DateTime::UNIX_EPOCH);
        SignIn {
            platform: Arc::new(platform),
            hasher: Arc::new(hasher),
            issuer: Arc::new(MockTokenIssuer::new()),
            refresh: Arc::new(MockRefreshTokens::new()),
            clock: Arc::new(clock),
            ids: Arc::new(MockIdSource::new()),
        }
    }

    fn command() -> SignInCommand {
        SignInCommand {
            tenant: "acme".parse().ok(),
            email: "ada@example.org".parse().ok(),
            password: Password::new("whatever it is".into()),
        }
    }

    fn credentials(is_active: bool) -> Credentials {
        let id = uuid::Uuid::from_u128(1);
        Credentials {
            tenant_id: TenantId::from_uuid(id),
            user_id: UserId::from_uuid(id),
            role: Role::Member,
            is_active,
            password_hash: "$argon2id$".into(),
        }
    }

    #[tokio::test]
    async fn every_way_of_being_wrong_hashes_once_and_reads_the_same() {
        let nameless = SignInCommand { tenant: None, email: None, ..command() };
        let mut answers = Vec::new();
        for (case, command) in [
            (sign_in(None, Ok(false)), nameless),
            (sign_in(None, Ok(false)), command()),
            (sign_in(Some(credentials(true)), Ok(false)), command()),
            (sign_in(Some(credentials(false)), Ok(true)), command()),
        ] {
            let refused = case.execute(command).await.unwrap_err();
            assert!(matches!(refused, Refused::Unauthenticated(_)), "{refused:?}");
            answers.push(refused.to_string());
        }
        answers.dedup();
        assert_eq!(answers.len(), 1);
    }

    #[tokio::test]
    async fn too_many_at_once_is_said_as_such() {
        let refused = sign_in(Some(credentials(true)), Err(HashError::Overloaded)).execute(command()).await;
        assert!(matches!(refused, Err(Refused::Overloaded { .. })), "{refused:?}");
    }
}
