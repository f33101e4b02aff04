//! Rows of `selectors`: one for each tenant whose selection knows anything.

use chrono::{DateTime, Utc};
use powerhouse_domain::ids::AgentId;
use powerhouse_domain::selection::{AgentRecord, Learnt, Selector};
use powerhouse_ports::store::StoreError;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

use super::stored::{read, write};
use super::{signed, unsigned};

const TABLE: &str = "selectors";

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "selectors")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant_id: Uuid,
    pub(crate) revision: i64,
    pub(crate) default_agent: Option<Uuid>,
    pub(crate) reset_at: Option<DateTime<Utc>>,
    pub(crate) learnt: Json,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

#[derive(Serialize, Deserialize)]
struct StoredLearnt {
    at: Option<DateTime<Utc>>,
    record: Vec<StoredRecord>,
    lesson: String,
    threshold: Option<f64>,
}

#[derive(Serialize, Deserialize)]
struct StoredRecord {
    agent: AgentId,
    runs: u32,
    succeeded: u32,
    good: u32,
    bad: u32,
    mean_millis: u64,
    mean_cost_micros: u64,
    reward: f64,
    weight: f64,
    failures_in_a_row: u32,
    last_failed_at: Option<DateTime<Utc>>,
    learnt_examples: u32,
}

impl From<(&AgentId, &AgentRecord)> for StoredRecord {
    fn from((agent, record): (&AgentId, &AgentRecord)) -> Self {
        Self {
            agent: *agent,
            runs: record.runs,
            succeeded: record.succeeded,
            good: record.good,
            bad: record.bad,
            mean_millis: record.mean_millis,
            mean_cost_micros: record.mean_cost_micros,
            reward: record.reward,
            weight: record.weight,
            failures_in_a_row: record.failures_in_a_row,
            last_failed_at: record.last_failed_at,
            learnt_examples: record.learnt_examples,
        }
    }
}

impl From<StoredRecord> for (AgentId, AgentRecord) {
    fn from(stored: StoredRecord) -> Self {
        let record = AgentRecord {
            runs: stored.runs,
            succeeded: stored.succeeded,
            good: stored.good,
            bad: stored.bad,
            mean_millis: stored.mean_millis,
            mean_cost_micros: stored.mean_cost_micros,
            reward: stored.reward,
            weight: stored.weight,
            failures_in_a_row: stored.failures_in_a_row,
            last_failed_at: stored.last_failed_at,
            learnt_examples: stored.learnt_examples,
        };
        (stored.agent, record)
    }
}

/// What changes of a row.
pub(crate) fn changes(selector: &Selector) -> ActiveModel {
    let learnt = selector.learnt();
    let stored = StoredLearnt {
        at: learnt.at,
        record: learnt.record.iter().map(Into::into).collect(),
        lesson: learnt.lesson.clone(),
        threshold: learnt.threshold,
    };
    ActiveModel {
        revision: Set(signed(selector.revision())),
        default_agent: Set(selector.default_agent().map(|agent| agent.as_uuid())),
        reset_at: Set(selector.reset_at()),
        learnt: Set(write(&stored)),
        ..Default::default()
    }
}

impl TryFrom<Model> for Selector {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let StoredLearnt { at, record, lesson, threshold } = read(TABLE, "learnt", row.learnt)?;
        let record = record.into_iter().map(Into::into).collect();
        Ok(Self::restore(
            unsigned(TABLE, "revision", row.revision)?,
            row.default_agent.map(AgentId::from_uuid),
            row.reset_at,
            Learnt { at, record, lesson, threshold },
        ))
    }
}
