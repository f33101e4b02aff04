//! What is told of one secret, and of a page of them: never their values.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::secrets::{Secret, SecretName};
use powerhouse_ports::store::{Limit, Page, TenantStore};

use super::NO_SECRET;
use crate::{Refused, permit};

/// Lists secrets.
#[derive(Clone)]
pub struct ListSecrets {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
}

impl ListSecrets {
    /// Secrets in the order of their names.
    pub async fn execute(
        &self,
        principal: &Principal,
        after: Option<SecretName>,
        limit: Limit,
    ) -> Result<Page<Secret, SecretName>, Refused> {
        let permit = permit::<access::ListSecrets>(principal, principal.tenant_id(), "secrets", true)?;
        let mut view = self.store.read(&permit.scope()).await?;
        Ok(view.secrets().list(after, limit).await?)
    }
}

/// Reads what is told of a secret.
#[derive(Clone)]
pub struct ReadSecret {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
}

impl ReadSecret {
    /// A secret of the caller's tenant, without its value.
    pub async fn execute(&self, principal: &Principal, name: SecretName) -> Result<Secret, Refused> {
        let permit = permit::<access::ReadSecret>(principal, name, "secret", false)?;
        let mut view = self.store.read(&permit.scope()).await?;
        view.secrets().find(&permit.redeem()).await?.ok_or(NO_SECRET)
    }
}
