//! What a tenant's agents remember.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use powerhouse_domain::ids::{MemoryId, UserId};
use powerhouse_domain::memory::{MAX_MEMORIES, Memory, MemoryKind, Whose, Worth};
use powerhouse_ports::store::{Limit, MemoryRepository, Page, StoreError};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};
use uuid::Uuid;

use super::{Own, Transaction};
use crate::error::{read_error, store_error};
use crate::rows::memory::{ActiveModel, Column, Entity, added, changes, importance, user_of};

const MEMORY: &str = "memory";

impl<C: Transaction> Own<C> {
    fn remembered(&self, whose: Whose) -> Select<Entity> {
        self.own(Entity::find(), Column::TenantId)
            .filter(Column::AgentId.eq(whose.agent.as_uuid()))
            .filter(Column::UserId.eq(user_of(whose)))
    }
}

#[async_trait]
impl<C: Transaction> MemoryRepository for Own<C> {
    async fn find(&mut self, id: MemoryId) -> Result<Option<Memory>, StoreError> {
        let query = self.own(Entity::find(), Column::TenantId).filter(Column::Id.eq(id.as_uuid()));
        query.one(&self.tx).await.map_err(read_error::<Entity>(MEMORY))?.map(Memory::try_from).transpose()
    }

    async fn list(
        &mut self,
        whose: Whose,
        kind: Option<MemoryKind>,
        after: Option<MemoryId>,
        limit: Limit,
    ) -> Result<Page<Memory, MemoryId>, StoreError> {
        let mut query = self.remembered(whose).order_by_asc(Column::Id);
        if let Some(kind) = kind {
            query = query.filter(Column::Kind.eq(kind.as_str()));
        }
        if let Some(after) = after {
            query = query.filter(Column::Id.gt(after.as_uuid()));
        }
        let rows = query.limit(u64::from(limit.get()) + 1).all(&self.tx).await;
        let rows = rows.map_err(read_error::<Entity>(MEMORY))?;
        let memories = rows.into_iter().map(Memory::try_from).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(memories, limit, |memory| memory.id))
    }

    async fn all(&mut self, whose: Whose) -> Result<Vec<Memory>, StoreError> {
        let most = u64::try_from(MAX_MEMORIES).unwrap_or(u64::MAX);
        let query = self.remembered(whose).order_by_asc(Column::Id).limit(most);
        let rows = query.all(&self.tx).await.map_err(read_error::<Entity>(MEMORY))?;
        rows.into_iter().map(Memory::try_from).collect()
    }

    async fn worth(&mut self, whose: Whose) -> Result<Vec<Worth>, StoreError> {
        let query = self
            .remembered(whose)
            .select_only()
            .columns([Column::Id, Column::Importance, Column::AccessedAt])
            .order_by_asc(Column::Id);
        let rows: Vec<(Uuid, i64, DateTime<Utc>)> =
            query.into_tuple().all(&self.tx).await.map_err(store_error(MEMORY))?;
        let worth = rows.into_iter().map(|(id, stored, accessed_at)| {
            Ok(Worth { id: MemoryId::from_uuid(id), importance: importance(stored)?, accessed_at })
        });
        worth.collect()
    }

    async fn add(&mut self, memory: &Memory) -> Result<(), StoreError> {
        let row = added(self.tenant, memory);
        self.refusable(MEMORY, Entity::insert(row).exec_without_returning(&self.tx)).await?;
        Ok(())
    }

    async fn update(&mut self, memory: &Memory) -> Result<bool, StoreError> {
        let update = self
            .own(Entity::update_many(), Column::TenantId)
            .filter(Column::Id.eq(memory.id.as_uuid()))
            .set(changes(memory));
        Ok(update.exec(&self.tx).await.map_err(store_error(MEMORY))?.rows_affected > 0)
    }

    async fn touch(&mut self, ids: &[MemoryId], now: DateTime<Utc>) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        let update = self
            .own(Entity::update_many(), Column::TenantId)
            .filter(Column::Id.is_in(ids.iter().map(MemoryId::as_uuid)))
            .filter(Column::AccessedAt.lt(now))
            .set(ActiveModel { accessed_at: Set(now), ..Default::default() });
        update.exec(&self.tx).await.map_err(store_error(MEMORY))?;
        Ok(())
    }

    async fn remove(&mut self, id: MemoryId) -> Result<bool, StoreError> {
        let delete = self.own(Entity::delete_many(), Column::TenantId).filter(Column::Id.eq(id.as_uuid()));
        Ok(delete.exec(&self.tx).await.map_err(store_error(MEMORY))?.rows_affected > 0)
    }

    async fn erase(&mut self, whose: Whose) -> Result<u64, StoreError> {
        let delete = self
            .own(Entity::delete_many(), Column::TenantId)
            .filter(Column::AgentId.eq(whose.agent.as_uuid()))
            .filter(Column::UserId.eq(user_of(whose)));
        Ok(delete.exec(&self.tx).await.map_err(store_error(MEMORY))?.rows_affected)
    }

    async fn erase_user(&mut self, user: UserId) -> Result<u64, StoreError> {
        let delete =
            self.own(Entity::delete_many(), Column::TenantId).filter(Column::UserId.eq(user.as_uuid()));
        Ok(delete.exec(&self.tx).await.map_err(store_error(MEMORY))?.rows_affected)
    }
}
