//! A tenant's runs and their journals.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use powerhouse_domain::ids::{RunId, UserId};
use powerhouse_domain::runs::{EventBody, Feedback, Lease, Lineage, Run, RunEvent, RunStatus};
use powerhouse_ports::store::{Limit, NewEvent, Numbers, Page, RunRepository, StoreError, Work};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, IntoCondition, OnConflict, UpdateStatement};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, ExprTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
};

use super::advance::count;
use super::announce::is_told;
use super::{Own, Transaction};
use crate::error::{read_error, store_error};
use crate::rows::run::{ActiveModel, Column, ENDED, Entity, accepted, changes};
use crate::rows::stored::write;
use crate::rows::{run_event as event, run_feedback as feedback, signed, unsigned};

const RUN: &str = "run";

impl<C: Transaction> Own<C> {
    /// Appends to the journal from `first` on, and returns the newest sequence number.
    async fn append_events(&self, id: RunId, first: i64, events: &[NewEvent]) -> Result<u64, StoreError> {
        let rows = (first..).zip(events).map(|(seq, new)| event_row(self.tenant, id, seq, new.at, &new.body));
        self.append_rows(rows.collect()).await?;
        unsigned("runs", "next_seq", first + count(events) - 1)
    }

    async fn append_rows(&self, rows: Vec<event::ActiveModel>) -> Result<(), StoreError> {
        if !rows.is_empty() {
            let insert = event::Entity::insert_many(rows).exec_without_returning(&self.tx);
            insert.await.map_err(store_error("event"))?;
        }
        Ok(())
    }

    /// Stores a run if the row still is as `expected`, with what `progress` changes beside, and takes numbers for its events.
    pub(super) fn changing(
        &self,
        run: &Run,
        expected: Condition,
        progress: impl IntoIterator<Item = (Column, Expr)>,
        events: &[NewEvent],
    ) -> UpdateStatement {
        let mut update = self
            .own(Entity::update_many(), Column::TenantId)
            .filter(Column::Id.eq(run.id().as_uuid()))
            .filter(expected)
            .set(changes(run))
            .col_expr(Column::NextSeq, Expr::col(Column::NextSeq).add(count(events)));
        for (column, value) in progress {
            update = update.col_expr(column, value);
        }
        update.into_query()
    }

    /// Runs an update of one run, and appends the events that it took numbers for. Nothing when the row is another.
    async fn write(
        &self,
        run: &Run,
        mut update: UpdateStatement,
        events: &[NewEvent],
    ) -> Result<Option<u64>, StoreError> {
        let Some((next, is_told)) = self.take_numbers(&mut update, events).await? else { return Ok(None) };
        self.wake_parent(run).await?;
        self.tell(run, next - count(events), events, is_told).await.map(Some)
    }

    /// Lets the run go on that began this one and waits, if this one has ended. Its row is held from here on, whatever it
    /// does: one that is about to wait looks for ends while it holds its row, and so sees this one or is woken by it.
    async fn wake_parent(&self, run: &Run) -> Result<(), StoreError> {
        let Some(Lineage { parent, .. }) = run.lineage().filter(|_| run.state().name().is_final()) else {
            return Ok(());
        };
        // One that was claimed already looks itself.
        let is_waiting = Expr::col(Column::Status)
            .eq(RunStatus::Waiting.as_str())
            .and(Expr::col(Column::LeaseExpiresAt).is_null());
        let due = Expr::case(is_waiting, Expr::col(Column::CreatedAt)).finally(Expr::col(Column::DueAt));
        let update = self
            .own(Entity::update_many(), Column::TenantId)
            .filter(Column::Id.eq(parent.as_uuid()))
            .col_expr(Column::DueAt, due.into());
        update.exec(&self.tx).await.map_err(store_error(RUN))?;
        Ok(())
    }

    /// Appends to the journal from `first` on, announces it to whoever is told, and returns the newest sequence number.
    async fn tell(
        &self,
        run: &Run,
        first: i64,
        events: &[NewEvent],
        is_told: bool,
    ) -> Result<u64, StoreError> {
        let newest = self.append_events(run.id(), first, events).await?;
        if is_told {
            self.announce(run, first, events).await?;
        }
        Ok(newest)
    }

    /// Runs an update of one run, and returns the number after its last event, and whether somebody is told of these;
    /// nothing when no row was updated.
    async fn take_numbers(
        &self,
        update: &mut UpdateStatement,
        events: &[NewEvent],
    ) -> Result<Option<(i64, bool)>, StoreError> {
        update.returning(self.told_of(Expr::col(Column::NextSeq), events));
        let Some(row) = self.tx.query_one(update).await.map_err(store_error(RUN))? else { return Ok(None) };
        Ok(Some((row.try_get_by_index(0).map_err(store_error(RUN))?, is_told(&row)?)))
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
impl<C: Transaction> RunRepository for Own<C> {
    async fn find(&mut self, id: RunId) -> Result<Option<Run>, StoreError> {
        let query = self.own(Entity::find(), Column::TenantId).filter(Column::Id.eq(id.as_uuid()));
        query.one(&self.tx).await.map_err(read_error::<Entity>(RUN))?.map(Run::try_from).transpose()
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
        let rows =
            query.limit(u64::from(limit.get()) + 1).all(&self.tx).await.map_err(read_error::<Entity>(RUN))?;
        let runs = rows.into_iter().map(Run::try_from).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(runs, limit, Run::id))
    }

    async fn add(&mut self, run: &Run) -> Result<(), StoreError> {
        let row = ActiveModel { next_seq: Set(2), ..accepted(self.tenant, run) };
        let first = [NewEvent { at: run.created_at(), body: EventBody::Queued }];
        let mut insert = Entity::insert(row).into_query();
        insert.returning(self.told_of(Expr::col(Column::NextSeq), &first));
        // Not refusable: that costs a round trip, and whoever submits gives up when this is refused.
        let row = self.tx.query_one(&insert).await.map_err(store_error(RUN))?;
        let is_told = row.as_ref().map(is_told).transpose()?.unwrap_or_default();
        self.tell(run, 1, &first, is_told).await.map(drop)
    }

    async fn update(&mut self, run: &Run, events: &[NewEvent]) -> Result<u64, StoreError> {
        let expected = Column::Version.eq(signed(run.version()) - 1).into_condition();
        // What somebody had to say was said: the run may be claimed, and no claim before counts against it.
        let goes_on = run.state().name() == RunStatus::Running;
        let progress = goes_on.then(|| {
            [
                (Column::DueAt, Expr::col(Column::CreatedAt)),
                (Column::ProgressToken, Expr::col(Column::FencingToken)),
            ]
        });
        let update = self.changing(run, expected, progress.into_iter().flatten(), events);
        self.write(run, update, events).await?.ok_or(StoreError::Conflict { entity: RUN })
    }

    async fn record(&mut self, lease: &Lease, run: &Run, events: &[NewEvent]) -> Result<u64, StoreError> {
        match self.write(run, self.recording(lease, run, events), events).await? {
            Some(seq) => Ok(seq),
            None => Err(self.why_refused(lease).await?),
        }
    }

    async fn append(&mut self, run: &Run, events: &[NewEvent]) -> Result<u64, StoreError> {
        let update = self
            .own(Entity::update_many(), Column::TenantId)
            .filter(Column::Id.eq(run.id().as_uuid()))
            .filter(Column::Version.eq(signed(run.version())))
            .filter(Column::Status.is_not_in(ENDED))
            .col_expr(Column::NextSeq, Expr::col(Column::NextSeq).add(count(events)))
            .into_query();
        self.write(run, update, events).await?.ok_or(StoreError::Conflict { entity: RUN })
    }

    async fn advance<'a>(
        &mut self,
        work: &[&'a Work],
    ) -> Result<Vec<Result<Numbers, StoreError>>, StoreError> {
        let mut outcomes = Vec::new();
        for work in work {
            outcomes.push(self.advance_one(work).await?);
        }
        Ok(outcomes)
    }

    async fn journal<'a>(&mut self, work: &[&'a Work], numbers: &[Numbers]) -> Result<(), StoreError> {
        let rows = work.iter().zip(numbers).flat_map(|(Work { run, events, .. }, numbers)| {
            (signed(numbers.before) + 1..)
                .zip(events)
                .map(|(seq, event)| event_row(self.tenant, run.id(), seq, event.at, &event.body))
        });
        self.append_rows(rows.collect()).await?;
        for (Work { run, events, .. }, numbers) in
            work.iter().zip(numbers).filter(|(_, numbers)| numbers.is_told)
        {
            self.announce(run, signed(numbers.before) + 1, events).await?;
        }
        for Work { run, .. } in work {
            self.wake_parent(run).await?;
        }
        Ok(())
    }

    async fn ended_among(&mut self, ids: &[RunId]) -> Result<Vec<Run>, StoreError> {
        let query = self
            .own(Entity::find(), Column::TenantId)
            .filter(Column::Id.is_in(ids.iter().map(RunId::as_uuid)))
            .filter(Column::Status.is_in(ENDED))
            .order_by_asc(Column::Id);
        let rows = query.all(&self.tx).await.map_err(read_error::<Entity>(RUN))?;
        rows.into_iter().map(Run::try_from).collect()
    }

    async fn tree(&mut self, root: RunId, limit: u32) -> Result<Vec<Run>, StoreError> {
        let begun = self
            .own(Entity::find(), Column::TenantId)
            .filter(Column::RootId.eq(root.as_uuid()))
            .order_by_asc(Column::Id)
            .limit(u64::from(limit.saturating_sub(1)));
        let begun = begun.all(&self.tx).await.map_err(read_error::<Entity>(RUN))?;
        let begun = begun.into_iter().map(Run::try_from).collect::<Result<Vec<_>, _>>()?;
        Ok(self.find(root).await?.into_iter().chain(begun).collect())
    }

    async fn events(&mut self, id: RunId, after: u64, limit: u32) -> Result<Vec<RunEvent>, StoreError> {
        let query = self
            .own(event::Entity::find(), event::Column::TenantId)
            .filter(event::Column::RunId.eq(id.as_uuid()))
            .filter(event::Column::Seq.gt(signed(after)))
            .order_by_asc(event::Column::Seq)
            .limit(u64::from(limit));
        let rows = query.all(&self.tx).await.map_err(read_error::<event::Entity>("event"))?;
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
        self.refusable("feedback", insert.exec_without_returning(&self.tx)).await?;
        Ok(())
    }

    async fn feedback(&mut self, id: RunId, by: UserId) -> Result<Option<Feedback>, StoreError> {
        let query = self
            .own(feedback::Entity::find(), feedback::Column::TenantId)
            .filter(feedback::Column::RunId.eq(id.as_uuid()))
            .filter(feedback::Column::UserId.eq(by.as_uuid()));
        query
            .one(&self.tx)
            .await
            .map_err(read_error::<feedback::Entity>("feedback"))?
            .map(Feedback::try_from)
            .transpose()
    }
}
