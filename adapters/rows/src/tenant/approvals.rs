//! What a tenant's runs have asked people.

use async_trait::async_trait;
use powerhouse_domain::ids::ApprovalId;
use powerhouse_domain::runs::Approval;
use powerhouse_ports::store::{ApprovalRepository, Limit, Page, StoreError};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::{Own, Transaction, changed_one};
use crate::error::{read_error, store_error};
use crate::rows::approval::{Column, Entity, asked};
use crate::rows::stored::write;

const APPROVAL: &str = "approval";

#[async_trait]
impl<C: Transaction> ApprovalRepository for Own<C> {
    async fn find(&mut self, id: ApprovalId) -> Result<Option<Approval>, StoreError> {
        let query = self.own(Entity::find(), Column::TenantId).filter(Column::Id.eq(id.as_uuid()));
        query.one(&self.tx).await.map_err(read_error::<Entity>(APPROVAL))?.map(Approval::try_from).transpose()
    }

    async fn list(
        &mut self,
        only_open: bool,
        before: Option<ApprovalId>,
        limit: Limit,
    ) -> Result<Page<Approval, ApprovalId>, StoreError> {
        let mut query = self.own(Entity::find(), Column::TenantId).order_by_desc(Column::Id);
        if only_open {
            query = query.filter(Column::Answer.is_null());
        }
        if let Some(before) = before {
            query = query.filter(Column::Id.lt(before.as_uuid()));
        }
        let rows = query.limit(u64::from(limit.get()) + 1).all(&self.tx).await;
        let rows = rows.map_err(read_error::<Entity>(APPROVAL))?;
        let approvals = rows.into_iter().map(Approval::try_from).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(approvals, limit, Approval::id))
    }

    async fn add(&mut self, approval: &Approval) -> Result<(), StoreError> {
        let insert = Entity::insert(asked(self.tenant, approval));
        insert.exec_without_returning(&self.tx).await.map_err(store_error(APPROVAL))?;
        Ok(())
    }

    async fn answer(&mut self, approval: &Approval) -> Result<(), StoreError> {
        let update = self
            .own(Entity::update_many(), Column::TenantId)
            .filter(Column::Id.eq(approval.id().as_uuid()))
            .filter(Column::Answer.is_null())
            .col_expr(Column::Answer, Expr::val(approval.answer().map(write)));
        changed_one(APPROVAL, &update.exec(&self.tx).await.map_err(store_error(APPROVAL))?)
    }
}
