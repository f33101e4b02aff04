//! Where a tenant's tools may reach.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::tools::{EgressRules, HostPattern};
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::TenantStore;

use crate::refused::expect_version;
use crate::{Refused, audited, permit};

/// Reads the rules.
#[derive(Clone)]
pub struct ReadEgressRules {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
}

impl ReadEgressRules {
    /// The tenant's rules.
    pub async fn execute(&self, principal: &Principal) -> Result<EgressRules, Refused> {
        let permit =
            permit::<access::ReadEgressRules>(principal, principal.tenant_id(), "egress rules", true)?;
        let mut view = self.store.read(&permit.scope()).await?;
        permit.redeem();
        Ok(view.tools().egress().await?)
    }
}

/// Replaces the rules.
#[derive(Clone)]
pub struct ReplaceEgressRules {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl ReplaceEgressRules {
    /// Puts a list in the place of the one before, or takes it away. It holds for runs that begin or are taken over from
    /// then on, and for what is declared.
    pub async fn execute(
        &self,
        principal: &Principal,
        version: Option<u64>,
        hosts: Option<Vec<HostPattern>>,
    ) -> Result<EgressRules, Refused> {
        let permit =
            permit::<access::UpdateEgressRules>(principal, principal.tenant_id(), "egress rules", true)?;
        let mut tx = self.store.begin(&permit.scope()).await?;
        let rules = tx.tools().egress().await?;
        expect_version(rules.version(), version)?;
        let rules = rules.replaced(hosts).map_err(|error| Refused::invalid("/hosts", error))?;
        tx.tools().replace_egress(&rules).await.map_err(Refused::stale)?;
        let (now, tenant) = (self.clock.now(), permit.redeem());
        let listed = rules.hosts().map_or("all".to_owned(), |hosts| hosts.len().to_string());
        let entry = Entry::by(principal, AuditAction::EgressRulesReplaced, tenant, now).with("hosts", listed);
        audited::commit(tx, entry).await?;
        Ok(rules)
    }
}
