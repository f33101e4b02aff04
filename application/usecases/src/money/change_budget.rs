//! Other caps for a budget, and the end of one.

use std::sync::Arc;

use powerhouse_domain::access::{self, Permit, Principal, Privilege};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::ids::BudgetId;
use powerhouse_domain::money::Caps;
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::TenantStore;

use super::{BudgetState, NO_BUDGET, capped, state};
use crate::refused::expect_version;
use crate::{Refused, audited, permit};

/// Changes budgets.
#[derive(Clone)]
pub struct ChangeBudget {
    /// Where budgets are.
    pub store: Arc<dyn TenantStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl ChangeBudget {
    /// Gives a budget other caps. What was spent stays spent, so a cap may be lower than that: then nothing is left.
    pub async fn execute(
        &self,
        principal: &Principal,
        id: BudgetId,
        version: Option<u64>,
        caps: Caps,
    ) -> Result<BudgetState, Refused> {
        let permit = changing::<access::UpdateBudget>(principal, id)?;
        let mut tx = self.store.begin(&permit.scope()).await?;
        let budget = tx.budgets().find(permit.redeem()).await?.ok_or(NO_BUDGET)?;
        expect_version(budget.version, version)?;
        let budget = budget.capped(caps);
        tx.budgets().update(&budget).await.map_err(Refused::stale)?;
        let now = self.clock.now();
        let entry = Entry::by(principal, AuditAction::BudgetChanged, id, now);
        let entry = capped(entry, &budget);
        let state = state(&mut *tx, budget, now).await?;
        audited::commit(tx, entry).await?;
        Ok(state)
    }
}

/// Removes budgets.
#[derive(Clone)]
pub struct RemoveBudget {
    /// Where budgets are.
    pub store: Arc<dyn TenantStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl RemoveBudget {
    /// Removes a budget, and what was counted for it. The usage stays.
    pub async fn execute(
        &self,
        principal: &Principal,
        id: BudgetId,
        version: Option<u64>,
    ) -> Result<(), Refused> {
        let permit = changing::<access::DeleteBudget>(principal, id)?;
        let mut tx = self.store.begin(&permit.scope()).await?;
        let budget = tx.budgets().find(permit.redeem()).await?.ok_or(NO_BUDGET)?;
        expect_version(budget.version, version)?;
        if !tx.budgets().remove(budget.id).await? {
            return Err(NO_BUDGET);
        }
        let entry = Entry::by(principal, AuditAction::BudgetRemoved, id, self.clock.now());
        audited::commit(tx, capped(entry, &budget)).await?;
        Ok(())
    }
}

fn changing<A: Privilege<Resource = BudgetId>>(
    principal: &Principal,
    id: BudgetId,
) -> Result<Permit<A>, Refused> {
    let visible = principal.permit::<access::ReadBudget>(id).is_ok();
    permit::<A>(principal, id, "budget", visible)
}
