//! A tenant's conversations.

use async_trait::async_trait;
use powerhouse_domain::ids::{ThreadId, UserId};
use powerhouse_domain::runs::{Run, RunState, RunStatus};
use powerhouse_domain::threads::{Summary, TakenTurn, Thread, Turn};
use powerhouse_ports::store::{Limit, Page, StoreError, ThreadRepository};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect,
};

use super::{Own, Transaction, changed_one};
use crate::error::{read_error, store_error};
use crate::rows::thread::{ActiveModel, Column, Entity, added, changes};
use crate::rows::{run, signed};

const THREAD: &str = "thread";

#[async_trait]
impl<C: Transaction> ThreadRepository for Own<C> {
    async fn find(&mut self, id: ThreadId) -> Result<Option<Thread>, StoreError> {
        let query = self.own(Entity::find(), Column::TenantId).filter(Column::Id.eq(id.as_uuid()));
        query.one(&self.tx).await.map_err(read_error::<Entity>(THREAD))?.map(Thread::try_from).transpose()
    }

    async fn list(
        &mut self,
        owner: Option<UserId>,
        before: Option<ThreadId>,
        limit: Limit,
    ) -> Result<Page<Thread, ThreadId>, StoreError> {
        let mut query = self.own(Entity::find(), Column::TenantId).order_by_desc(Column::Id);
        if let Some(owner) = owner {
            query = query.filter(Column::OwnerId.eq(owner.as_uuid()));
        }
        if let Some(before) = before {
            query = query.filter(Column::Id.lt(before.as_uuid()));
        }
        let rows = query.limit(u64::from(limit.get()) + 1).all(&self.tx).await;
        let rows = rows.map_err(read_error::<Entity>(THREAD))?;
        let threads = rows.into_iter().map(Thread::try_from).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(threads, limit, |thread| thread.id))
    }

    async fn count(&mut self) -> Result<u64, StoreError> {
        self.own(Entity::find(), Column::TenantId).count(&self.tx).await.map_err(store_error(THREAD))
    }

    async fn add(&mut self, thread: &Thread) -> Result<(), StoreError> {
        let row = added(self.tenant, thread);
        self.refusable(THREAD, Entity::insert(row).exec_without_returning(&self.tx)).await?;
        Ok(())
    }

    async fn update(&mut self, thread: &Thread) -> Result<(), StoreError> {
        let update = self
            .own(Entity::update_many(), Column::TenantId)
            .filter(Column::Id.eq(thread.id.as_uuid()))
            .filter(Column::Version.eq(signed(thread.version) - 1))
            .set(changes(thread));
        changed_one(THREAD, &update.exec(&self.tx).await.map_err(store_error(THREAD))?)
    }

    async fn summarise(&mut self, id: ThreadId, summary: &Summary) -> Result<bool, StoreError> {
        let tells_of_less = Condition::any()
            .add(Column::SummaryThrough.is_null())
            .add(Column::SummaryThrough.lt(i64::from(summary.through)));
        let update = self
            .own(Entity::update_many(), Column::TenantId)
            .filter(Column::Id.eq(id.as_uuid()))
            .filter(tells_of_less)
            .set(ActiveModel {
                summary: Set(Some(summary.text.clone())),
                summary_through: Set(Some(summary.through.into())),
                ..Default::default()
            });
        Ok(update.exec(&self.tx).await.map_err(store_error(THREAD))?.rows_affected > 0)
    }

    async fn remove(&mut self, id: ThreadId) -> Result<bool, StoreError> {
        let delete = self.own(Entity::delete_many(), Column::TenantId).filter(Column::Id.eq(id.as_uuid()));
        Ok(delete.exec(&self.tx).await.map_err(store_error(THREAD))?.rows_affected > 0)
    }

    async fn turns(&mut self, id: ThreadId, after: u32, limit: u32) -> Result<Vec<TakenTurn>, StoreError> {
        let query = self
            .own(run::Entity::find(), run::Column::TenantId)
            .filter(run::Column::ThreadId.eq(id.as_uuid()))
            .filter(run::Column::Turn.gt(i64::from(after)))
            .filter(run::Column::Status.eq(RunStatus::Succeeded.as_str()))
            .order_by_asc(run::Column::Turn)
            .limit(u64::from(limit));
        let rows = query.all(&self.tx).await.map_err(read_error::<run::Entity>("run"))?;
        let runs = rows.into_iter().map(Run::try_from).collect::<Result<Vec<_>, _>>()?;
        Ok(runs.iter().filter_map(taken).collect())
    }

    async fn remove_of(&mut self, owner: UserId) -> Result<u64, StoreError> {
        let delete =
            self.own(Entity::delete_many(), Column::TenantId).filter(Column::OwnerId.eq(owner.as_uuid()));
        Ok(delete.exec(&self.tx).await.map_err(store_error(THREAD))?.rows_affected)
    }
}

fn taken(run: &Run) -> Option<TakenTurn> {
    let RunState::Succeeded { answer, ended_at, .. } = run.state() else { return None };
    let number = run.place_in_thread()?.turn;
    let turn = Turn { number, task: run.task().as_str().to_owned(), answer: answer.clone() };
    Some(TakenTurn { turn, run: run.id(), asked_at: run.created_at(), answered_at: *ended_at })
}
