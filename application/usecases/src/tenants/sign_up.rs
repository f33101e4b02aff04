//! Signing up: a tenant with its owner and a few agents to start with.

use std::sync::Arc;

use powerhouse_domain::access::{Principal, Role};
use powerhouse_domain::ids::{AgentId, SessionId, TenantId, UserId};
use powerhouse_domain::tenants::{Plan, Slug, Tenant};
use powerhouse_domain::users::{DisplayName, Email, Membership, NewPassword, User};
use powerhouse_ports::clock::{Clock, IdSource};
use powerhouse_ports::crypto::{HashError, Password, PasswordHasher};
use powerhouse_ports::platform::PlatformStore;
use powerhouse_ports::store::TenantStore;

use super::starters::starters;
use crate::Refused;
use crate::sessions::OVERLOADED_RETRY;

/// Who signs up, and as what.
#[derive(Debug)]
pub struct SignUpCommand {
    /// The tenant's name in addresses.
    pub slug: Slug,
    /// The tenant's name.
    pub name: DisplayName,
    /// The owner's address.
    pub email: Email,
    /// The owner's name.
    pub display_name: DisplayName,
    /// The owner's password.
    pub password: String,
}

/// A tenant that has just signed up.
#[derive(Clone, Debug)]
pub struct SignedUp {
    /// The tenant.
    pub tenant: Tenant,
    /// Its owner.
    pub owner: User,
    /// The owner's membership.
    pub membership: Membership,
}

/// Signs tenants up.
#[derive(Clone)]
pub struct SignUp {
    /// Where tenants are made.
    pub platform: Arc<dyn PlatformStore>,
    /// Where their agents go.
    pub store: Arc<dyn TenantStore>,
    /// Hashes the owner's password.
    pub hasher: Arc<dyn PasswordHasher>,
    /// What new tenants sign up for.
    pub plan: Plan,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
    /// Gives ids.
    pub ids: Arc<dyn IdSource>,
}

impl SignUp {
    /// Makes the tenant, its owner, and the agents to start with.
    pub async fn execute(&self, command: SignUpCommand) -> Result<SignedUp, Refused> {
        let SignUpCommand { slug, name, email, display_name, password } = command;
        let password = NewPassword::choose(password, &email, &slug)
            .map_err(|error| Refused::invalid("/owner/password", error))?;
        let hash = hash(&*self.hasher, &password).await?;
        let now = self.clock.now();
        let tenant = Tenant::found(TenantId::from_uuid(self.ids.next()), slug, name, self.plan, now);
        let owner = User::register(UserId::from_uuid(self.ids.next()), email, display_name, now);
        let membership = Membership::new(tenant.id(), owner.id(), Role::Owner, now);
        self.platform
            .provision(&tenant, &owner, &membership, &hash)
            .await
            .map_err(Refused::taken("slug_taken", "this slug is taken: choose another"))?;

        // The owner's own scope: the platform has no way to a tenant's agents.
        let session = SessionId::from_uuid(self.ids.next());
        let scope = Principal::verified(tenant.id(), owner.id(), session, Role::Owner).scope();
        let mut tx = self.store.begin(&scope).await?;
        for agent in starters(tenant.plan(), now, || AgentId::from_uuid(self.ids.next()))? {
            tx.agents().add(&agent).await?;
        }
        tx.commit().await?;
        Ok(SignedUp { tenant, owner, membership })
    }
}

/// Hashes a password that somebody chose.
pub(crate) async fn hash(hasher: &dyn PasswordHasher, password: &NewPassword) -> Result<String, Refused> {
    hasher.hash(Password::new(password.expose().to_owned())).await.map_err(|error| match error {
        HashError::Overloaded => Refused::Overloaded { retry_after: OVERLOADED_RETRY },
        HashError::Malformed => Refused::Internal(error.to_string()),
    })
}
