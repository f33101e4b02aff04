//! Rows of `runs`.

use chrono::{DateTime, Utc};
use powerhouse_domain::ids::{RunId, UserId};
use powerhouse_domain::model::Usage;
use powerhouse_domain::runs::{Run, RunParts, RunStatus, Task};
use powerhouse_ports::store::StoreError;
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::entity::prelude::*;

use super::stored::{Limits, StoredSelection, StoredState, read, write};
use super::{corrupt, signed, unsigned};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "runs")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) id: Uuid,
    pub(crate) requested_by: Uuid,
    pub(crate) task: String,
    pub(crate) agent_id: Uuid,
    pub(crate) agent_version: i64,
    pub(crate) selection: Json,
    pub(crate) limits: Json,
    pub(crate) status: String,
    pub(crate) state: Json,
    pub(crate) input_tokens: i64,
    pub(crate) output_tokens: i64,
    pub(crate) cost_micros: i64,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) version: i64,
    pub(crate) fencing_token: i64,
    pub(crate) lease_expires_at: Option<DateTime<Utc>>,
    pub(crate) next_seq: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The states in which nothing can follow, as they are stored.
pub(crate) const ENDED: [&str; 4] = [
    RunStatus::Succeeded.as_str(),
    RunStatus::Failed.as_str(),
    RunStatus::Cancelled.as_str(),
    RunStatus::TimedOut.as_str(),
];

/// What changes of a run while it lives.
pub(crate) fn changes(run: &Run) -> ActiveModel {
    let usage = run.usage();
    ActiveModel {
        status: Set(run.state().name().as_str().to_owned()),
        state: Set(write(&StoredState::from(run.state()))),
        input_tokens: Set(signed(usage.input_tokens)),
        output_tokens: Set(signed(usage.output_tokens)),
        cost_micros: Set(signed(usage.cost_micros)),
        version: Set(signed(run.version())),
        // A run that has ended is nobody's.
        lease_expires_at: if run.state().name().is_final() { Set(None) } else { NotSet },
        ..Default::default()
    }
}

/// A whole row, for a run that was just accepted.
pub(crate) fn accepted(tenant: Uuid, run: &Run) -> ActiveModel {
    let selection = run.selection();
    ActiveModel {
        tenant_id: Set(tenant),
        id: Set(run.id().as_uuid()),
        requested_by: Set(run.requested_by().as_uuid()),
        task: Set(run.task().as_str().to_owned()),
        agent_id: Set(selection.agent.as_uuid()),
        agent_version: Set(selection.agent_version.into()),
        selection: Set(write(&StoredSelection::from(selection))),
        limits: Set(write(&Limits::from(run.limits()))),
        created_at: Set(run.created_at()),
        fencing_token: Set(0),
        lease_expires_at: Set(None),
        next_seq: Set(1),
        ..changes(run)
    }
}

impl TryFrom<Model> for Run {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let selection: StoredSelection = read("runs", "selection", row.selection)?;
        let limits: Limits = read("runs", "limits", row.limits)?;
        let state: StoredState = read("runs", "state", row.state)?;
        Ok(Self::restore(RunParts {
            id: RunId::from_uuid(row.id),
            requested_by: UserId::from_uuid(row.requested_by),
            task: Task::new(row.task).map_err(corrupt("runs", "task"))?,
            selection: selection.into(),
            limits: limits.into(),
            state: state.into(),
            usage: Usage {
                input_tokens: unsigned("runs", "input_tokens", row.input_tokens)?,
                output_tokens: unsigned("runs", "output_tokens", row.output_tokens)?,
                cost_micros: unsigned("runs", "cost_micros", row.cost_micros)?,
            },
            created_at: row.created_at,
            version: unsigned("runs", "version", row.version)?,
        }))
    }
}
