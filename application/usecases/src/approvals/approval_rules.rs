//! A tenant's rules on which calls of tools a person has to approve.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::runs::{ApprovalRule, ApprovalRules};
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::TenantStore;

use crate::refused::expect_version;
use crate::{Refused, audited, permit};

/// Reads rules.
#[derive(Clone)]
pub struct ReadApprovalRules {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
}

impl ReadApprovalRules {
    /// The rules of the caller's tenant.
    pub async fn execute(&self, principal: &Principal) -> Result<ApprovalRules, Refused> {
        let tenant = principal.tenant_id();
        let permit = permit::<access::ReadApprovalRules>(principal, tenant, "approval rules", true)?;
        let mut view = self.store.read(&permit.scope()).await?;
        permit.redeem();
        Ok(view.approval_rules().read().await?)
    }
}

/// Changes rules.
#[derive(Clone)]
pub struct ReplaceApprovalRules {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl ReplaceApprovalRules {
    /// Puts rules in the place of those that there are. They hold for calls that are begun from then on, of runs that are
    /// under way too.
    pub async fn execute(
        &self,
        principal: &Principal,
        version: Option<u64>,
        rules: Vec<ApprovalRule>,
    ) -> Result<ApprovalRules, Refused> {
        let tenant = principal.tenant_id();
        let permit = permit::<access::UpdateApprovalRules>(principal, tenant, "approval rules", true)?;
        let mut tx = self.store.begin(&permit.scope()).await?;
        permit.redeem();
        let before = tx.approval_rules().read().await?;
        expect_version(before.version(), version)?;
        let rules = before.replaced(rules).map_err(|error| Refused::invalid("/items", error))?;
        tx.approval_rules().replace(&rules).await.map_err(Refused::stale)?;
        let entry = Entry::by(principal, AuditAction::ApprovalRulesReplaced, tenant, self.clock.now());
        audited::commit(tx, entry.with("rules", rules.rules().len())).await?;
        Ok(rules)
    }
}
