//! A tenant's tools and MCP servers, and where they may reach.

use async_trait::async_trait;
use powerhouse_domain::tools::{EgressRules, SourceKind, TenantTool, ToolName};
use powerhouse_ports::store::{Limit, Page, StoreError, ToolRepository};
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};

use super::{Own, Transaction, changed_one};
use crate::error::{read_error, store_error};
use crate::rows::tool::{ActiveModel, Column, Entity, changes};
use crate::rows::{egress_rules as egress, signed};

const TOOL: &str = "tool";
const EGRESS: &str = "egress rules";

#[async_trait]
impl<C: Transaction> ToolRepository for Own<C> {
    async fn find(&mut self, name: &ToolName) -> Result<Option<TenantTool>, StoreError> {
        let query = self.own(Entity::find(), Column::TenantId).filter(Column::Name.eq(name.as_str()));
        let row = query.one(&self.tx).await.map_err(read_error::<Entity>(TOOL))?;
        row.map(TenantTool::try_from).transpose()
    }

    async fn named(&mut self, names: &[ToolName]) -> Result<Vec<TenantTool>, StoreError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let names = names.iter().map(ToolName::as_str);
        let query = self.own(Entity::find(), Column::TenantId).filter(Column::Name.is_in(names));
        let rows = query.all(&self.tx).await.map_err(read_error::<Entity>(TOOL))?;
        let mut tools = rows.into_iter().map(TenantTool::try_from).collect::<Result<Vec<_>, _>>()?;
        tools.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(tools)
    }

    async fn list(
        &mut self,
        kind: SourceKind,
        after: Option<ToolName>,
        limit: Limit,
    ) -> Result<Page<TenantTool, ToolName>, StoreError> {
        let mut query = self
            .own(Entity::find(), Column::TenantId)
            .filter(Column::Kind.eq(kind.as_str()))
            .order_by_asc(Column::Name);
        if let Some(after) = after {
            query = query.filter(Column::Name.gt(after.as_str()));
        }
        let rows = query.limit(u64::from(limit.get()) + 1).all(&self.tx).await;
        let rows = rows.map_err(read_error::<Entity>(TOOL))?;
        let tools = rows.into_iter().map(TenantTool::try_from).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(tools, limit, |tool| tool.name.clone()))
    }

    async fn count(&mut self) -> Result<u64, StoreError> {
        self.own(Entity::find(), Column::TenantId).count(&self.tx).await.map_err(store_error(TOOL))
    }

    async fn add(&mut self, tool: &TenantTool) -> Result<(), StoreError> {
        let row = ActiveModel {
            tenant_id: Set(self.tenant),
            name: Set(tool.name.as_str().to_owned()),
            created_by: Set(tool.created_by.as_uuid()),
            created_at: Set(tool.created_at),
            ..changes(tool)
        };
        self.refusable(TOOL, Entity::insert(row).exec_without_returning(&self.tx)).await?;
        Ok(())
    }

    async fn update(&mut self, tool: &TenantTool) -> Result<(), StoreError> {
        let update = self
            .own(Entity::update_many(), Column::TenantId)
            .filter(Column::Name.eq(tool.name.as_str()))
            .filter(Column::Version.eq(signed(tool.version) - 1))
            .set(changes(tool));
        changed_one(TOOL, &update.exec(&self.tx).await.map_err(store_error(TOOL))?)
    }

    async fn remove(&mut self, name: &ToolName) -> Result<bool, StoreError> {
        let delete = self.own(Entity::delete_many(), Column::TenantId).filter(Column::Name.eq(name.as_str()));
        Ok(delete.exec(&self.tx).await.map_err(store_error(TOOL))?.rows_affected > 0)
    }

    async fn egress(&mut self) -> Result<EgressRules, StoreError> {
        let row = self.own(egress::Entity::find(), egress::Column::TenantId).one(&self.tx).await;
        let row = row.map_err(read_error::<egress::Entity>(EGRESS))?;
        row.map_or_else(|| Ok(EgressRules::default()), EgressRules::try_from)
    }

    async fn replace_egress(&mut self, rules: &EgressRules) -> Result<(), StoreError> {
        let read = signed(rules.version()) - 1;
        if read == 0 {
            let row = egress::ActiveModel { tenant_id: Set(self.tenant), ..egress::changes(rules) };
            self.refusable(EGRESS, egress::Entity::insert(row).exec_without_returning(&self.tx)).await?;
            return Ok(());
        }
        let update = self
            .own(egress::Entity::update_many(), egress::Column::TenantId)
            .filter(egress::Column::Version.eq(read))
            .set(egress::changes(rules));
        changed_one(EGRESS, &update.exec(&self.tx).await.map_err(store_error(EGRESS))?)
    }
}
