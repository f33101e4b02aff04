//! A tenant's runs and their journals.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use powerhouse_domain::ids::{RunId, UserId};
use powerhouse_domain::runs::{EventBody, Feedback, Lease, Run, RunEvent};
use powerhouse_ports::store::{Limit, NewEvent, Page, RunRepository, StoreError};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::{SqliteTx, changed_one};
use crate::error::store_error;
use crate::rows::run::{ActiveModel, Column, Entity, Model, accepted, changes};
use crate::rows::stored::write;
use crate::rows::{run_event as event, run_feedback as feedback, signed, unsigned};

const RUN: &str = "run";
/// States in which nothing can follow, as they are stored.
const FINAL: [&str; 4] = ["succeeded", "failed", "cancelled", "timed_out"];

impl SqliteTx {
    async fn row(&self, id: RunId) -> Result<Option<Model>, StoreError> {
        let query = self.own(Entity::find(), Column::TenantId).filter(Column::Id.eq(id.as_uuid()));
        query.one(&self.tx).await.map_err(store_error(RUN))
    }

    /// Appends to the journal from `first` on, and returns the newest sequence number.
    async fn append(&self, id: RunId, first: i64, events: &[NewEvent]) -> Result<u64, StoreError> {
        let rows = (first..).zip(events).map(|(seq, new)| event_row(self.tenant, id, seq, new.at, &new.body));
        if !events.is_empty() {
            event::Entity::insert_many(rows)
                .exec_without_returning(&self.tx)
                .await
                .map_err(store_error("event"))?;
        }
        let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
        unsigned("runs", "next_seq", first + count - 1)
    }

    async fn write(&self, row: &Model, run: &Run, events: &[NewEvent]) -> Result<u64, StoreError> {
        let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
        let update = self
            .own(Entity::update_many(), Column::TenantId)
            .filter(Column::Id.eq(row.id))
            .set(ActiveModel { next_seq: Set(row.next_seq + count), ..changes(run) });
        changed_one(RUN, &update.exec(&self.tx).await.map_err(store_error(RUN))?)?;
        self.append(run.id(), row.next_seq, events).await
    }
}

fn event_row(
    tenant: uuid::Uuid,
    run: RunId,
    seq: i64,
    at: DateTime<Utc>,
    body: &EventBody,
) -> event::ActiveModel {
    event::ActiveModel {
        tenant_id: Set(tenant),
        run_id: Set(run.as_uuid()),
        seq: Set(seq),
        at: Set(at),
        body: Set(write(body)),
    }
}

#[async_trait]
impl RunRepository for SqliteTx {
    async fn find(&mut self, id: RunId) -> Result<Option<Run>, StoreError> {
        self.row(id).await?.map(Run::try_from).transpose()
    }

    async fn list(
        &mut self,
        owner: Option<UserId>,
        before: Option<RunId>,
        limit: Limit,
    ) -> Result<Page<Run, RunId>, StoreError> {
        let mut query = self.own(Entity::find(), Column::TenantId).order_by_desc(Column::Id);
        if let Some(owner) = owner {
            query = query.filter(Column::RequestedBy.eq(owner.as_uuid()));
        }
        if let Some(before) = before {
            query = query.filter(Column::Id.lt(before.as_uuid()));
        }
        let rows = query.limit(u64::from(limit.get()) + 1).all(&self.tx).await.map_err(store_error(RUN))?;
        let runs = rows.into_iter().map(Run::try_from).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(runs, limit, Run::id))
    }

    async fn add(&mut self, run: &Run) -> Result<(), StoreError> {
        let row = ActiveModel { next_seq: Set(2), ..accepted(self.tenant, run) };
        Entity::insert(row).exec_without_returning(&self.tx).await.map_err(store_error(RUN))?;
        let first = NewEvent { at: run.created_at(), body: EventBody::Queued };
        self.append(run.id(), 1, &[first]).await?;
        Ok(())
    }

    async fn update(&mut self, run: &Run, events: &[NewEvent]) -> Result<u64, StoreError> {
        // IMMEDIATE transactions have the database for themselves: what was read here is still so when written.
        match self.row(run.id()).await? {
            Some(row) if row.version == signed(run.version()) - 1 => self.write(&row, run, events).await,
            _ => Err(StoreError::Conflict { entity: RUN }),
        }
    }

    async fn record(&mut self, lease: &Lease, run: &Run, events: &[NewEvent]) -> Result<u64, StoreError> {
        let Some(row) = self.row(lease.run()).await? else { return Err(StoreError::LeaseLost) };
        if row.fencing_token != signed(lease.token().0) || FINAL.contains(&row.status.as_str()) {
            return Err(StoreError::LeaseLost);
        }
        if row.version > signed(run.version()) || run.id() != lease.run() {
            return Err(StoreError::Conflict { entity: RUN });
        }
        self.write(&row, run, events).await
    }

    async fn events(&mut self, id: RunId, after: u64, limit: u32) -> Result<Vec<RunEvent>, StoreError> {
        let query = self
            .own(event::Entity::find(), event::Column::TenantId)
            .filter(event::Column::RunId.eq(id.as_uuid()))
            .filter(event::Column::Seq.gt(signed(after)))
            .order_by_asc(event::Column::Seq)
            .limit(u64::from(limit));
        let rows = query.all(&self.tx).await.map_err(store_error("event"))?;
        rows.into_iter().map(RunEvent::try_from).collect()
    }

    async fn put_feedback(&mut self, id: RunId, given: &Feedback) -> Result<(), StoreError> {
        let row = feedback::ActiveModel {
            tenant_id: Set(self.tenant),
            run_id: Set(id.as_uuid()),
            user_id: Set(given.by().as_uuid()),
            verdict: Set(given.verdict().as_str().to_owned()),
            comment: Set(given.comment().to_owned()),
            at: Set(given.at()),
        };
        let key = [feedback::Column::TenantId, feedback::Column::RunId, feedback::Column::UserId];
        let replace = OnConflict::columns(key)
            .update_columns([feedback::Column::Verdict, feedback::Column::Comment, feedback::Column::At])
            .to_owned();
        let insert = feedback::Entity::insert(row).on_conflict(replace);
        insert.exec_without_returning(&self.tx).await.map_err(store_error("feedback"))?;
        Ok(())
    }

    async fn feedback(&mut self, id: RunId, by: UserId) -> Result<Option<Feedback>, StoreError> {
        let query = self
            .own(feedback::Entity::find(), feedback::Column::TenantId)
            .filter(feedback::Column::RunId.eq(id.as_uuid()))
            .filter(feedback::Column::UserId.eq(by.as_uuid()));
        query.one(&self.tx).await.map_err(store_error("feedback"))?.map(Feedback::try_from).transpose()
    }
}
