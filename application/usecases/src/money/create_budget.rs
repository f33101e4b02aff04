//! A new budget.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::ids::BudgetId;
use powerhouse_domain::money::{Budget, BudgetScope, Caps, Period};
use powerhouse_ports::clock::{Clock, IdSource};
use powerhouse_ports::store::{TenantStore, TenantTx};

use super::{BudgetState, capped, state};
use crate::{Once, Refused, permit};

/// The most budgets of a tenant.
const MAX_BUDGETS: u64 = 1_000;
/// The most that bound one user, one agent, or the tenant: each call reads and writes all that bound it.
const MAX_OF_A_SCOPE: u64 = 8;

/// What is to be bounded, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreateBudgetCommand {
    /// Whose calls count.
    pub scope: BudgetScope,
    /// For how long.
    pub period: Period,
    /// How much.
    pub caps: Caps,
}

/// Makes budgets.
#[derive(Clone)]
pub struct CreateBudget {
    /// Where budgets are.
    pub store: Arc<dyn TenantStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
    /// Gives ids.
    pub ids: Arc<dyn IdSource>,
}

impl CreateBudget {
    /// Bounds what may be spent from now on. Calls that are under way do not count.
    pub async fn execute(
        &self,
        principal: &Principal,
        command: CreateBudgetCommand,
        once: &Once<BudgetState>,
    ) -> Result<BudgetState, Refused> {
        let permit = permit::<access::CreateBudget>(principal, principal.tenant_id(), "budgets", true)?;
        let CreateBudgetCommand { scope, period, caps } = command;
        let now = self.clock.now();
        let mut tx = once.begin(&*self.store, &permit.scope()).await?;
        permit.redeem();
        must_exist(&mut *tx, scope).await?;
        if tx.budgets().count().await? >= MAX_BUDGETS {
            let reason = format!("a tenant has at most {MAX_BUDGETS} budgets");
            return Err(Refused::conflict("too_many_budgets", reason));
        }
        if tx.budgets().of_scope(scope).await? >= MAX_OF_A_SCOPE {
            let reason = format!("at most {MAX_OF_A_SCOPE} budgets bound the same");
            return Err(Refused::conflict("too_many_budgets", reason));
        }
        let budget = Budget::new(BudgetId::from_uuid(self.ids.next()), scope, period, caps, now);
        tx.budgets().add(&budget).await?;
        let entry = Entry::by(principal, AuditAction::BudgetCreated, budget.id, now);
        let entry = capped(entry, &budget);
        let state = state(&mut *tx, budget, now).await?;
        once.commit_audited(tx, &state, entry).await?;
        Ok(state)
    }
}

/// A budget of nobody would bound nothing.
async fn must_exist(tx: &mut dyn TenantTx, scope: BudgetScope) -> Result<(), Refused> {
    let (exists, what) = match scope {
        BudgetScope::Tenant => (true, "tenant"),
        BudgetScope::User(id) => (tx.users().find(id).await?.is_some(), "user"),
        BudgetScope::Agent(id) => (tx.agents().find(id).await?.is_some(), "agent"),
    };
    if exists { Ok(()) } else { Err(Refused::NotFound(what)) }
}
