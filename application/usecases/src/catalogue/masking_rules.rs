//! What is masked in what is sent to models.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::masking::{Class, Classes, MaskingRules};
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::TenantStore;

use crate::models::Models;
use crate::refused::expect_version;
use crate::{Refused, audited, permit};

/// Reads the rules.
#[derive(Clone)]
pub struct ReadMaskingRules {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
}

impl ReadMaskingRules {
    /// The tenant's rules.
    pub async fn execute(&self, principal: &Principal) -> Result<MaskingRules, Refused> {
        let permit =
            permit::<access::ReadMaskingRules>(principal, principal.tenant_id(), "masking rules", true)?;
        let mut view = self.store.read(&permit.scope()).await?;
        permit.redeem();
        Ok(view.model_providers().masking().await?)
    }
}

/// Replaces the rules.
#[derive(Clone)]
pub struct ReplaceMaskingRules {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
    /// Is told.
    pub models: Arc<Models>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl ReplaceMaskingRules {
    /// Puts other classes in the place of those before. They hold from the next call of a model on.
    pub async fn execute(
        &self,
        principal: &Principal,
        version: Option<u64>,
        classes: Classes,
    ) -> Result<MaskingRules, Refused> {
        let permit =
            permit::<access::UpdateMaskingRules>(principal, principal.tenant_id(), "masking rules", true)?;
        let scope = permit.scope();
        let mut tx = self.store.begin(&scope).await?;
        let rules = tx.model_providers().masking().await?;
        expect_version(rules.version, version)?;
        let rules = rules.replaced(classes);
        tx.model_providers().replace_masking(&rules).await.map_err(Refused::stale)?;
        let (now, tenant) = (self.clock.now(), permit.redeem());
        let names: Vec<_> = classes.iter().map(Class::as_str).collect();
        let entry = Entry::by(principal, AuditAction::MaskingRulesReplaced, tenant, now);
        audited::commit(tx, entry.with("classes", names.join(" "))).await?;
        self.models.forget(&scope);
        Ok(rules)
    }
}
