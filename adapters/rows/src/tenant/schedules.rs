//! A tenant's schedules.

use async_trait::async_trait;
use powerhouse_domain::ids::ScheduleId;
use powerhouse_domain::schedules::Schedule;
use powerhouse_ports::store::{Limit, Page, ScheduleRepository, StoreError};
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};

use super::{Own, Transaction, changed_one};
use crate::error::{read_error, store_error};
use crate::rows::schedule::{ActiveModel, Column, Entity, changes};
use crate::rows::signed;

const SCHEDULE: &str = "schedule";

#[async_trait]
impl<C: Transaction> ScheduleRepository for Own<C> {
    async fn find(&mut self, id: ScheduleId) -> Result<Option<Schedule>, StoreError> {
        let query = self.own(Entity::find(), Column::TenantId).filter(Column::Id.eq(id.as_uuid()));
        query.one(&self.tx).await.map_err(read_error::<Entity>(SCHEDULE))?.map(Schedule::try_from).transpose()
    }

    async fn list(
        &mut self,
        after: Option<ScheduleId>,
        limit: Limit,
    ) -> Result<Page<Schedule, ScheduleId>, StoreError> {
        let mut query = self.own(Entity::find(), Column::TenantId).order_by_asc(Column::Id);
        if let Some(after) = after {
            query = query.filter(Column::Id.gt(after.as_uuid()));
        }
        let rows = query.limit(u64::from(limit.get()) + 1).all(&self.tx).await;
        let rows = rows.map_err(read_error::<Entity>(SCHEDULE))?;
        let schedules = rows.into_iter().map(Schedule::try_from).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(schedules, limit, Schedule::id))
    }

    async fn count(&mut self) -> Result<u64, StoreError> {
        self.own(Entity::find(), Column::TenantId).count(&self.tx).await.map_err(store_error(SCHEDULE))
    }

    async fn add(&mut self, schedule: &Schedule) -> Result<(), StoreError> {
        let row = ActiveModel {
            tenant_id: Set(self.tenant),
            id: Set(schedule.id().as_uuid()),
            created_at: Set(schedule.created_at()),
            ..changes(schedule)
        };
        self.refusable(SCHEDULE, Entity::insert(row).exec_without_returning(&self.tx)).await?;
        Ok(())
    }

    async fn update(&mut self, schedule: &Schedule) -> Result<(), StoreError> {
        let update = self
            .own(Entity::update_many(), Column::TenantId)
            .filter(Column::Id.eq(schedule.id().as_uuid()))
            .filter(Column::Version.eq(signed(schedule.version()) - 1))
            .set(changes(schedule));
        changed_one(SCHEDULE, &update.exec(&self.tx).await.map_err(store_error(SCHEDULE))?)
    }

    async fn remove(&mut self, id: ScheduleId) -> Result<bool, StoreError> {
        let delete = self.own(Entity::delete_many(), Column::TenantId).filter(Column::Id.eq(id.as_uuid()));
        Ok(delete.exec(&self.tx).await.map_err(store_error(SCHEDULE))?.rows_affected > 0)
    }
}
