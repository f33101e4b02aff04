//! A tenant's transaction. Each statement below names the tenant: `own` is the only way in here to a query.

use async_trait::async_trait;
use powerhouse_domain::ids::TenantId;
use powerhouse_domain::tenants::Tenant;
use powerhouse_ports::store::{
    AgentRepository, ApprovalRepository, ApprovalRuleRepository, AuditRepository, BudgetRepository,
    IdempotencyRepository, KnowledgeRepository, MemoryRepository, ModelProviderRepository, PriceRepository,
    RunRepository, ScheduleRepository, SecretRepository, SelectionRepository, StoreError, TenantTx,
    TenantView, ThreadRepository, ToolRepository, UsageRepository, UserRepository, WebhookRepository,
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, QueryFilter, UpdateResult,
};
use uuid::Uuid;

use crate::error::{read_error, store_error};
use crate::rows;

mod advance;
mod agents;
mod announce;
mod approval_rules;
mod approvals;
mod audit;
mod budgets;
mod catalogue;
mod idempotency;
mod knowledge;
mod memories;
mod prices;
mod runs;
mod schedules;
mod secrets;
mod selection;
mod threads;
mod tools;
mod usage;
mod users;
mod vectors;
mod webhooks;

/// A database's transaction, by whichever driver.
#[async_trait]
pub trait Transaction: ConnectionTrait + Send + 'static {
    /// Makes its writes last. Dropping it takes them back.
    async fn commit(self) -> Result<(), DbErr>;

    /// Marks where [`recover`](Self::recover) goes back to. Nothing, where a refused statement leaves the others be.
    async fn protect(&self) -> Result<(), DbErr> {
        Ok(())
    }

    /// Whether the database compares vectors itself. Then chunks have their vector a second time, as `embedding`.
    fn compares_vectors(&self) -> bool {
        false
    }

    /// Goes on after a statement that was refused.
    async fn recover(&self) -> Result<(), DbErr> {
        Ok(())
    }
}

#[async_trait]
impl Transaction for DatabaseTransaction {
    async fn commit(self) -> Result<(), DbErr> {
        Self::commit(self).await
    }
}

/// An open transaction of one tenant.
pub struct Own<C> {
    tx: C,
    tenant: Uuid,
}

impl<C: Transaction> Own<C> {
    /// The tenant's side of a transaction.
    pub fn new(tx: C, tenant: TenantId) -> Self {
        Self { tx, tenant: tenant.as_uuid() }
    }

    /// A statement that a key may refuse; the transaction goes on all the same.
    async fn refusable<T>(
        &self,
        entity: &'static str,
        statement: impl Future<Output = Result<T, DbErr>> + Send,
    ) -> Result<T, StoreError> {
        self.tx.protect().await.map_err(store_error(entity))?;
        match statement.await {
            Ok(done) => Ok(done),
            Err(error) => {
                self.tx.recover().await.map_err(store_error(entity))?;
                Err(store_error(entity)(error))
            }
        }
    }

    /// A statement on this tenant's rows only.
    fn own<Q: QueryFilter>(&self, query: Q, tenant_column: impl ColumnTrait) -> Q {
        query.filter(tenant_column.eq(self.tenant))
    }
}

/// No row changed: it was not at the version that was read.
fn changed_one(entity: &'static str, result: &UpdateResult) -> Result<(), StoreError> {
    if result.rows_affected == 1 { Ok(()) } else { Err(StoreError::Conflict { entity }) }
}

#[async_trait]
impl<C: Transaction> TenantView for Own<C> {
    async fn tenant(&mut self) -> Result<Option<Tenant>, StoreError> {
        let row = self.own(rows::tenant::Entity::find(), rows::tenant::Column::Id).one(&self.tx).await;
        row.map_err(read_error::<rows::tenant::Entity>("tenant"))?.map(Tenant::try_from).transpose()
    }

    fn users(&mut self) -> &mut dyn UserRepository {
        self
    }

    fn agents(&mut self) -> &mut dyn AgentRepository {
        self
    }

    fn runs(&mut self) -> &mut dyn RunRepository {
        self
    }

    fn approvals(&mut self) -> &mut dyn ApprovalRepository {
        self
    }

    fn approval_rules(&mut self) -> &mut dyn ApprovalRuleRepository {
        self
    }

    fn schedules(&mut self) -> &mut dyn ScheduleRepository {
        self
    }

    fn webhooks(&mut self) -> &mut dyn WebhookRepository {
        self
    }

    fn model_providers(&mut self) -> &mut dyn ModelProviderRepository {
        self
    }

    fn secrets(&mut self) -> &mut dyn SecretRepository {
        self
    }

    fn tools(&mut self) -> &mut dyn ToolRepository {
        self
    }

    fn knowledge(&mut self) -> &mut dyn KnowledgeRepository {
        self
    }

    fn prices(&mut self) -> &mut dyn PriceRepository {
        self
    }

    fn budgets(&mut self) -> &mut dyn BudgetRepository {
        self
    }

    fn usage(&mut self) -> &mut dyn UsageRepository {
        self
    }

    fn selection(&mut self) -> &mut dyn SelectionRepository {
        self
    }

    fn memories(&mut self) -> &mut dyn MemoryRepository {
        self
    }

    fn threads(&mut self) -> &mut dyn ThreadRepository {
        self
    }

    fn audit(&mut self) -> &mut dyn AuditRepository {
        self
    }
}

#[async_trait]
impl<C: Transaction> TenantTx for Own<C> {
    fn idempotency(&mut self) -> &mut dyn IdempotencyRepository {
        self
    }

    async fn update_tenant(&mut self, tenant: &Tenant) -> Result<(), StoreError> {
        if tenant.id().as_uuid() != self.tenant {
            return Err(StoreError::Conflict { entity: "tenant" });
        }
        let read = rows::signed(tenant.version()) - 1;
        let update = self
            .own(rows::tenant::Entity::update_many(), rows::tenant::Column::Id)
            .filter(rows::tenant::Column::Version.eq(read))
            .set(rows::tenant::ActiveModel::from(tenant));
        changed_one("tenant", &update.exec(&self.tx).await.map_err(store_error("tenant"))?)
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.tx.commit().await.map_err(store_error("transaction"))
    }
}
