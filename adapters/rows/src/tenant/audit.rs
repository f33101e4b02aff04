//! A tenant's audit trail.

use async_trait::async_trait;
use powerhouse_domain::audit::{AuditPlace, AuditRecord, Entry, Head};
use powerhouse_domain::ids::TenantId;
use powerhouse_ports::store::{AuditFilter, AuditRepository, Limit, Page, StoreError};
use sea_orm::sea_query::{Expr, SimpleExpr};
use sea_orm::{ColumnTrait, EntityTrait, ExprTrait, QueryFilter, QueryOrder, QuerySelect, Select};

use super::{Own, Transaction};
use crate::audit::{AUDIT, append};
use crate::error::read_error;
use crate::rows::audit_record::{Column, Entity};
use crate::rows::{audit_head, signed};

impl<C: Transaction> Own<C> {
    fn filtered(&self, filter: &AuditFilter) -> Select<Entity> {
        let AuditFilter { from, until, actor, action, resource } = filter.clone();
        let conditions = [
            from.map(|from| Column::At.gte(from)),
            until.map(|until| Column::At.lt(until)),
            actor.map(|actor| Column::Actor.eq(actor)),
            action.map(|action| Column::Action.eq(action.as_str())),
            resource.map(|resource| Column::Resource.eq(resource)),
        ];
        let all = self.own(Entity::find(), Column::TenantId);
        conditions.into_iter().flatten().fold(all, QueryFilter::filter)
    }

    async fn found(&self, query: Select<Entity>) -> Result<Vec<AuditRecord>, StoreError> {
        let rows = query.all(&self.tx).await.map_err(read_error::<Entity>(AUDIT))?;
        rows.into_iter().map(AuditRecord::try_from).collect()
    }
}

/// Time and number, which are compared as one.
fn place() -> SimpleExpr {
    Expr::tuple([Expr::col((Entity, Column::At)), Expr::col((Entity, Column::Seq))])
}

fn value(place: AuditPlace) -> SimpleExpr {
    Expr::tuple([Expr::val(place.at), Expr::val(signed(place.seq))])
}

#[async_trait]
impl<C: Transaction> AuditRepository for Own<C> {
    async fn append(&mut self, entry: Entry) -> Result<(), StoreError> {
        append(&self.tx, TenantId::from_uuid(self.tenant), entry).await
    }

    async fn head(&mut self) -> Result<Option<Head>, StoreError> {
        let query = self.own(audit_head::Entity::find(), audit_head::Column::TenantId);
        let found = query.one(&self.tx).await.map_err(read_error::<audit_head::Entity>(AUDIT))?;
        let head = found.map(Head::try_from).transpose()?;
        Ok(head.filter(|head| head.seq > 0))
    }

    async fn list(
        &mut self,
        filter: &AuditFilter,
        before: Option<AuditPlace>,
        limit: Limit,
    ) -> Result<Page<AuditRecord, AuditPlace>, StoreError> {
        let mut query = self.filtered(filter).order_by_desc(Column::At).order_by_desc(Column::Seq);
        if let Some(before) = before {
            // The time by itself says which months are of no interest.
            query = query.filter(Column::At.lte(before.at)).filter(place().lt(value(before)));
        }
        let records = self.found(query.limit(u64::from(limit.get()) + 1)).await?;
        Ok(Page::of(records, limit, AuditRecord::place))
    }

    async fn records(
        &mut self,
        filter: &AuditFilter,
        after: Option<AuditPlace>,
        limit: u32,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        let mut query = self.filtered(filter).order_by_asc(Column::At).order_by_asc(Column::Seq);
        if let Some(after) = after {
            query = query.filter(Column::At.gte(after.at)).filter(place().gt(value(after)));
        }
        self.found(query.limit(u64::from(limit))).await
    }
}
