//! What a tenant's selection knows, and what it learns from.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use powerhouse_domain::ids::{AgentId, earliest_uuid};
use powerhouse_domain::runs::{RunStatus, Verdict};
use powerhouse_domain::selection::{Outcome, Praised, Selector};
use powerhouse_ports::store::{Decided, SelectionRepository, StoreError};
use sea_orm::ActiveValue::Set;
use sea_orm::prelude::Json;
use sea_orm::sea_query::{Expr, Func};
use sea_orm::{ColumnTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect, Select};
use uuid::Uuid;

use super::{Own, Transaction, changed_one};
use crate::error::{read_error, store_error};
use crate::rows::selector::{ActiveModel, Column, Entity, changes};
use crate::rows::stored::{StoredSelection, read};
use crate::rows::{corrupt, run, run_feedback as feedback, signed, unsigned};

const SELECTION: &str = "selection";
/// The most words of people on the runs that are looked at.
const MAX_WORDS: u64 = 10_000;

/// The end of a run, without what it was about.
#[derive(FromQueryResult)]
struct EndedRun {
    id: Uuid,
    agent_id: Uuid,
    status: String,
    cost_micros: i64,
    started_at: Option<String>,
    ended_at: Option<String>,
}

/// The same, with how its agent was chosen.
#[derive(FromQueryResult)]
struct DecidedRun {
    #[sea_orm(nested)]
    run: EndedRun,
    selection: Json,
}

#[derive(FromQueryResult)]
struct Word {
    run_id: Uuid,
    verdict: String,
}

#[derive(FromQueryResult)]
struct Asked {
    id: Uuid,
    agent_id: Uuid,
    task: String,
}

impl EndedRun {
    /// Nothing of a run that no worker ever had: it says nothing of its agent.
    fn outcome(self, (good, bad): (u32, u32)) -> Result<Option<Outcome>, StoreError> {
        let instant = |text: Option<String>| -> Result<Option<DateTime<Utc>>, StoreError> {
            let parsed = text.map(|text| DateTime::parse_from_rfc3339(&text)).transpose();
            Ok(parsed.map_err(corrupt("runs", "state"))?.map(|at| at.to_utc()))
        };
        let (Some(started_at), Some(ended_at)) = (instant(self.started_at)?, instant(self.ended_at)?) else {
            return Ok(None);
        };
        Ok(Some(Outcome {
            agent: AgentId::from_uuid(self.agent_id),
            succeeded: self.status == RunStatus::Succeeded.as_str(),
            took: ended_at - started_at,
            cost_micros: unsigned("runs", "cost_micros", self.cost_micros)?,
            good,
            bad,
            ended_at,
        }))
    }
}

impl<C: Transaction> Own<C> {
    /// Runs that ended by themselves, the newest first.
    fn ended_runs(&self, since: Option<DateTime<Utc>>, limit: u32) -> Select<run::Entity> {
        let ended = [RunStatus::Succeeded, RunStatus::Failed, RunStatus::TimedOut].map(RunStatus::as_str);
        let mut query = self
            .own(run::Entity::find(), run::Column::TenantId)
            .filter(run::Column::Status.is_in(ended))
            .order_by_desc(run::Column::Id)
            .limit(u64::from(limit));
        if let Some(since) = since {
            query = query.filter(run::Column::Id.gte(earliest_uuid(since)));
        }
        query
            .select_only()
            .columns([run::Column::Id, run::Column::AgentId, run::Column::Status, run::Column::CostMicros])
            .column_as(Expr::cust("state ->> 'started_at'"), "started_at")
            .column_as(Expr::cust("state ->> 'ended_at'"), "ended_at")
    }

    /// How many called each run good and how many bad, of those from `first` on.
    async fn words(&self, first: Uuid) -> Result<HashMap<Uuid, (u32, u32)>, StoreError> {
        let query = self
            .own(feedback::Entity::find(), feedback::Column::TenantId)
            .filter(feedback::Column::RunId.gte(first))
            .select_only()
            .columns([feedback::Column::RunId, feedback::Column::Verdict])
            .limit(MAX_WORDS);
        let words = query.into_model::<Word>().all(&self.tx).await.map_err(store_error(SELECTION))?;
        let mut counts = HashMap::new();
        for Word { run_id, verdict } in words {
            let (good, bad): &mut (u32, u32) = counts.entry(run_id).or_default();
            *if verdict == Verdict::Good.as_str() { good } else { bad } += 1;
        }
        Ok(counts)
    }
}

#[async_trait]
impl<C: Transaction> SelectionRepository for Own<C> {
    async fn read(&mut self) -> Result<Selector, StoreError> {
        let row = self.own(Entity::find(), Column::TenantId).one(&self.tx).await;
        let row = row.map_err(read_error::<Entity>(SELECTION))?;
        row.map_or_else(|| Ok(Selector::default()), Selector::try_from)
    }

    async fn replace(&mut self, selector: &Selector) -> Result<(), StoreError> {
        let read = signed(selector.revision()) - 1;
        if read == 0 {
            let row = ActiveModel { tenant_id: Set(self.tenant), ..changes(selector) };
            self.refusable(SELECTION, Entity::insert(row).exec_without_returning(&self.tx)).await?;
            return Ok(());
        }
        let update = self
            .own(Entity::update_many(), Column::TenantId)
            .filter(Column::Revision.eq(read))
            .set(changes(selector));
        changed_one(SELECTION, &update.exec(&self.tx).await.map_err(store_error(SELECTION))?)
    }

    async fn outcomes(
        &mut self,
        since: Option<DateTime<Utc>>,
        limit: u32,
    ) -> Result<Vec<Outcome>, StoreError> {
        let query = self.ended_runs(since, limit);
        let rows = query.into_model::<EndedRun>().all(&self.tx).await.map_err(store_error(SELECTION))?;
        let Some(first) = rows.iter().map(|row| row.id).min() else { return Ok(Vec::new()) };
        let words = self.words(first).await?;
        let outcome = |row: EndedRun| {
            let said = words.get(&row.id).copied().unwrap_or_default();
            row.outcome(said).transpose()
        };
        rows.into_iter().filter_map(outcome).collect()
    }

    async fn decisions(
        &mut self,
        since: Option<DateTime<Utc>>,
        limit: u32,
    ) -> Result<Vec<Decided>, StoreError> {
        let query = self
            .ended_runs(since, limit)
            .column(run::Column::Selection)
            .filter(Expr::cust("selection ->> 'revision' IS NOT NULL"));
        let rows = query.into_model::<DecidedRun>().all(&self.tx).await.map_err(store_error(SELECTION))?;
        let Some(first) = rows.iter().map(|row| row.run.id).min() else { return Ok(Vec::new()) };
        let words = self.words(first).await?;
        let decided = |row: DecidedRun| {
            let said = words.get(&row.run.id).copied().unwrap_or_default();
            let Some(outcome) = row.run.outcome(said)? else { return Ok(None) };
            let selection = read::<StoredSelection>("runs", "selection", row.selection)?.into_domain()?;
            Ok(Some((outcome, selection.propensities)))
        };
        rows.into_iter().filter_map(|row| decided(row).transpose()).collect()
    }

    async fn praised(
        &mut self,
        since: Option<DateTime<Utc>>,
        limit: u32,
        chars: u32,
    ) -> Result<Vec<Praised>, StoreError> {
        let mut query = self
            .own(feedback::Entity::find(), feedback::Column::TenantId)
            .filter(feedback::Column::Verdict.eq(Verdict::Good.as_str()))
            .order_by_desc(feedback::Column::At)
            .order_by_desc(feedback::Column::RunId)
            .limit(u64::from(limit));
        if let Some(since) = since {
            query = query.filter(feedback::Column::At.gt(since));
        }
        let query = query.select_only().columns([feedback::Column::RunId, feedback::Column::Verdict]);
        let words = query.into_model::<Word>().all(&self.tx).await.map_err(store_error(SELECTION))?;
        if words.is_empty() {
            return Ok(Vec::new());
        }
        // Of 32 bits, as PostgreSQL's function wants it.
        let chars = i32::try_from(chars).unwrap_or(i32::MAX);
        let beginning = Func::cust("substr").arg(Expr::col(run::Column::Task)).arg(1).arg(chars);
        let query = self
            .own(run::Entity::find(), run::Column::TenantId)
            .filter(run::Column::Id.is_in(words.iter().map(|word| word.run_id)))
            .select_only()
            .columns([run::Column::Id, run::Column::AgentId])
            .column_as(Expr::from(beginning), "task");
        let runs = query.into_model::<Asked>().all(&self.tx).await.map_err(store_error(SELECTION))?;
        let mut runs: HashMap<Uuid, Asked> = runs.into_iter().map(|row| (row.id, row)).collect();
        // Of several who called the same run good, the last counts.
        let praised = words.iter().filter_map(|word| runs.remove(&word.run_id));
        Ok(praised.map(|row| Praised { agent: AgentId::from_uuid(row.agent_id), task: row.task }).collect())
    }
}
