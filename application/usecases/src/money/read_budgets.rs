//! Budgets with what is left of them.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::ids::BudgetId;
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::{Limit, Page, TenantStore};

use super::{BudgetState, NO_BUDGET, state};
use crate::{Refused, permit};

/// Reads a budget.
#[derive(Clone)]
pub struct ReadBudget {
    /// Where budgets are.
    pub store: Arc<dyn TenantStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl ReadBudget {
    /// A budget of the caller's tenant.
    pub async fn execute(&self, principal: &Principal, id: BudgetId) -> Result<BudgetState, Refused> {
        let permit = permit::<access::ReadBudget>(principal, id, "budget", false)?;
        let mut view = self.store.read(&permit.scope()).await?;
        let budget = view.budgets().find(permit.redeem()).await?.ok_or(NO_BUDGET)?;
        Ok(state(&mut *view, budget, self.clock.now()).await?)
    }
}

/// Lists budgets.
#[derive(Clone)]
pub struct ListBudgets {
    /// Where budgets are.
    pub store: Arc<dyn TenantStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl ListBudgets {
    /// Budgets in the order in which they were made.
    pub async fn execute(
        &self,
        principal: &Principal,
        after: Option<BudgetId>,
        limit: Limit,
    ) -> Result<Page<BudgetState, BudgetId>, Refused> {
        let permit = permit::<access::ListBudgets>(principal, principal.tenant_id(), "budgets", true)?;
        let mut view = self.store.read(&permit.scope()).await?;
        let Page { items: budgets, next } = view.budgets().list(after, limit).await?;
        let now = self.clock.now();
        let mut items = Vec::with_capacity(budgets.len());
        for budget in budgets {
            items.push(state(&mut *view, budget, now).await?);
        }
        Ok(Page { items, next })
    }
}
