//! A tenant's budgets, and what was spent in their windows.

use async_trait::async_trait;
use powerhouse_domain::ids::{AgentId, BudgetId, UserId};
use powerhouse_domain::model::Usage;
use powerhouse_domain::money::{Budget, BudgetScope, BudgetWindow, Spending};
use powerhouse_ports::store::{BudgetRepository, Limit, Page, StoreError};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, ExprTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
};

use super::{Own, Transaction, changed_one};
use crate::error::{read_error, store_error};
use crate::rows::budget::{self, ActiveModel, Column, Entity};
use crate::rows::{budget_window as window, signed};

const BUDGET: &str = "budget";

#[async_trait]
impl<C: Transaction> BudgetRepository for Own<C> {
    async fn find(&mut self, id: BudgetId) -> Result<Option<Budget>, StoreError> {
        let query = self.own(Entity::find(), Column::TenantId).filter(Column::Id.eq(id.as_uuid()));
        query.one(&self.tx).await.map_err(read_error::<Entity>(BUDGET))?.map(Budget::try_from).transpose()
    }

    async fn list(
        &mut self,
        after: Option<BudgetId>,
        limit: Limit,
    ) -> Result<Page<Budget, BudgetId>, StoreError> {
        let mut query = self.own(Entity::find(), Column::TenantId).order_by_asc(Column::Id);
        if let Some(after) = after {
            query = query.filter(Column::Id.gt(after.as_uuid()));
        }
        let query = query.limit(u64::from(limit.get()) + 1);
        let rows = query.all(&self.tx).await.map_err(read_error::<Entity>(BUDGET))?;
        let budgets = rows.into_iter().map(Budget::try_from).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(budgets, limit, |budget| budget.id))
    }

    async fn count(&mut self) -> Result<u64, StoreError> {
        self.own(Entity::find(), Column::TenantId).count(&self.tx).await.map_err(store_error(BUDGET))
    }

    async fn of_scope(&mut self, scope: BudgetScope) -> Result<u64, StoreError> {
        let (scope, id) = budget::scope(scope);
        let mut query = self.own(Entity::find(), Column::TenantId).filter(Column::Scope.eq(scope));
        if let Some(id) = id {
            query = query.filter(Column::ScopeId.eq(id));
        }
        query.count(&self.tx).await.map_err(store_error(BUDGET))
    }

    async fn applying(&mut self, user: UserId, agent: Option<AgentId>) -> Result<Vec<Budget>, StoreError> {
        let of = |scope: &str, id| Condition::all().add(Column::Scope.eq(scope)).add(Column::ScopeId.eq(id));
        let applies = Condition::any()
            .add(Column::Scope.eq(budget::TENANT))
            .add(of(budget::USER, user.as_uuid()))
            .add_option(agent.map(|agent| of(budget::AGENT, agent.as_uuid())));
        let query =
            self.own(Entity::find(), Column::TenantId).filter(applies).order_by_asc(Column::Id).lock_shared();
        let rows = query.all(&self.tx).await.map_err(read_error::<Entity>(BUDGET))?;
        rows.into_iter().map(Budget::try_from).collect()
    }

    async fn add(&mut self, budget: &Budget) -> Result<(), StoreError> {
        let (scope, scope_id) = budget::scope(budget.scope);
        let row = ActiveModel {
            tenant_id: Set(self.tenant),
            id: Set(budget.id.as_uuid()),
            scope: Set(scope.to_owned()),
            scope_id: Set(scope_id),
            period: Set(budget.period.as_str().to_owned()),
            cap_micros: Set(budget.caps.micros().map(signed)),
            cap_tokens: Set(budget.caps.tokens().map(signed)),
            created_at: Set(budget.created_at),
            version: Set(signed(budget.version)),
        };
        self.refusable(BUDGET, Entity::insert(row).exec_without_returning(&self.tx)).await?;
        Ok(())
    }

    async fn update(&mut self, budget: &Budget) -> Result<(), StoreError> {
        let update = self
            .own(Entity::update_many(), Column::TenantId)
            .filter(Column::Id.eq(budget.id.as_uuid()))
            .filter(Column::Version.eq(signed(budget.version) - 1))
            .set(ActiveModel {
                cap_micros: Set(budget.caps.micros().map(signed)),
                cap_tokens: Set(budget.caps.tokens().map(signed)),
                version: Set(signed(budget.version)),
                ..Default::default()
            });
        changed_one(BUDGET, &update.exec(&self.tx).await.map_err(store_error(BUDGET))?)
    }

    async fn remove(&mut self, id: BudgetId) -> Result<bool, StoreError> {
        let delete = self.own(Entity::delete_many(), Column::TenantId).filter(Column::Id.eq(id.as_uuid()));
        Ok(delete.exec(&self.tx).await.map_err(store_error(BUDGET))?.rows_affected > 0)
    }

    async fn spending(&mut self, of: BudgetWindow) -> Result<Spending, StoreError> {
        let query = self
            .own(window::Entity::find(), window::Column::TenantId)
            .filter(window::Column::BudgetId.eq(of.budget.as_uuid()))
            .filter(window::Column::WindowStart.eq(of.start));
        let row = query.one(&self.tx).await.map_err(read_error::<window::Entity>(BUDGET))?;
        row.map_or_else(|| Ok(Spending::default()), Spending::try_from)
    }

    async fn hold(&mut self, of: BudgetWindow) -> Result<Spending, StoreError> {
        use window::Column as C;

        let row = window::ActiveModel {
            tenant_id: Set(self.tenant),
            budget_id: Set(of.budget.as_uuid()),
            window_start: Set(of.start),
            spent_micros: Set(0),
            spent_tokens: Set(0),
            reserved_micros: Set(0),
            reserved_tokens: Set(0),
        };
        // To change nothing is enough to have the row, until the transaction ends.
        let mut unchanged = OnConflict::columns([C::TenantId, C::BudgetId, C::WindowStart]);
        unchanged.value(C::SpentMicros, Expr::col((window::Entity, C::SpentMicros)));
        let insert = window::Entity::insert(row).on_conflict(unchanged);
        let row = insert.exec_with_returning(&self.tx).await.map_err(read_error::<window::Entity>(BUDGET))?;
        Spending::try_from(row)
    }

    async fn reserve(
        &mut self,
        budget: &Budget,
        of: BudgetWindow,
        amount: Usage,
    ) -> Result<bool, StoreError> {
        use window::Column as C;

        let (micros, tokens) = (signed(amount.cost_micros), signed(amount.total_tokens()));
        // Whoever asks for more than a cap may overflow nothing below.
        if !budget.caps.hold(amount) {
            return Ok(false);
        }
        let mut fits = Condition::all();
        if let Some(cap) = budget.caps.micros() {
            fits = fits
                .add(Expr::col(C::SpentMicros).add(Expr::col(C::ReservedMicros)).lte(signed(cap) - micros));
        }
        if let Some(cap) = budget.caps.tokens() {
            fits = fits
                .add(Expr::col(C::SpentTokens).add(Expr::col(C::ReservedTokens)).lte(signed(cap) - tokens));
        }
        let update = self
            .own(window::Entity::update_many(), C::TenantId)
            .filter(C::BudgetId.eq(of.budget.as_uuid()))
            .filter(C::WindowStart.eq(of.start))
            .filter(fits)
            .col_expr(C::ReservedMicros, Expr::col(C::ReservedMicros).add(micros))
            .col_expr(C::ReservedTokens, Expr::col(C::ReservedTokens).add(tokens));
        Ok(update.exec(&self.tx).await.map_err(store_error(BUDGET))?.rows_affected == 1)
    }

    async fn settle(&mut self, of: BudgetWindow, reserved: Usage, spent: Usage) -> Result<(), StoreError> {
        use window::Column as C;

        let less = |column: C, amount: u64| Expr::col(column).sub(signed(amount));
        let more = |column: C, amount: u64| Expr::col(column).add(signed(amount));
        let update = self
            .own(window::Entity::update_many(), C::TenantId)
            .filter(C::BudgetId.eq(of.budget.as_uuid()))
            .filter(C::WindowStart.eq(of.start))
            .col_expr(C::ReservedMicros, less(C::ReservedMicros, reserved.cost_micros))
            .col_expr(C::ReservedTokens, less(C::ReservedTokens, reserved.total_tokens()))
            .col_expr(C::SpentMicros, more(C::SpentMicros, spent.cost_micros))
            .col_expr(C::SpentTokens, more(C::SpentTokens, spent.total_tokens()));
        update.exec(&self.tx).await.map_err(store_error(BUDGET))?;
        Ok(())
    }

    async fn give_back(&mut self, of: BudgetWindow, unspent: Usage) -> Result<(), StoreError> {
        use window::Column as C;

        let update = self
            .own(window::Entity::update_many(), C::TenantId)
            .filter(C::BudgetId.eq(of.budget.as_uuid()))
            .filter(C::WindowStart.eq(of.start))
            .col_expr(C::SpentMicros, Expr::col(C::SpentMicros).sub(signed(unspent.cost_micros)))
            .col_expr(C::SpentTokens, Expr::col(C::SpentTokens).sub(signed(unspent.total_tokens())));
        update.exec(&self.tx).await.map_err(store_error(BUDGET))?;
        Ok(())
    }
}
