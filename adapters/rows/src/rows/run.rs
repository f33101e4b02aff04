//! Rows of `runs`.

use chrono::{DateTime, Utc};
use powerhouse_domain::ids::{RunId, ThreadId, UserId};
use powerhouse_domain::model::Usage;
use powerhouse_domain::runs::{Lease, Lineage, Placement, Priority, Run, RunParts, RunStatus, Task};
use powerhouse_domain::threads::InThread;
use powerhouse_ports::store::StoreError;
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::Condition;
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
    /// The role that allowed it; none for runs from before this was kept.
    pub(crate) admitted_as: Option<String>,
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
    /// How many are more urgent: 9 less the priority, so that every column of the queue's index is in rising order.
    pub(crate) rank: i64,
    /// Since when the run may be claimed; none while a worker has it, it waits for somebody's word, or it has ended.
    pub(crate) due_at: Option<DateTime<Utc>>,
    pub(crate) deadline: Option<DateTime<Utc>>,
    pub(crate) not_before: Option<DateTime<Utc>>,
    pub(crate) agent_limit: Option<i64>,
    /// The fencing token under which an effect last had its outcome.
    pub(crate) progress_token: i64,
    /// The run that began it, if one did, and then also the one that somebody asked for, and how many are above it.
    pub(crate) parent_id: Option<Uuid>,
    pub(crate) root_id: Option<Uuid>,
    pub(crate) depth: Option<i64>,
    /// The thread that it belongs to, if it does to one, and then also its number there.
    pub(crate) thread_id: Option<Uuid>,
    pub(crate) turn: Option<i64>,
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

/// The run of a lease, if that is still the newest, nobody handed it back, and the run has not ended.
pub(crate) fn held(lease: &Lease) -> Condition {
    Condition::all()
        .add(Column::Id.eq(lease.run().as_uuid()))
        .add(Column::FencingToken.eq(signed(lease.token().0)))
        .add(Column::LeaseExpiresAt.is_not_null())
        .add(Column::Status.is_not_in(ENDED))
}

/// What changes of a run while it lives.
pub(crate) fn changes(run: &Run) -> ActiveModel {
    let usage = run.usage();
    let is_held = run.state().name() == RunStatus::Running;
    ActiveModel {
        status: Set(run.state().name().as_str().to_owned()),
        state: Set(write(&StoredState::from(run.state()))),
        input_tokens: Set(signed(usage.input_tokens)),
        output_tokens: Set(signed(usage.output_tokens)),
        cost_micros: Set(signed(usage.cost_micros)),
        version: Set(signed(run.version())),
        // A run that waits or has ended is nobody's.
        lease_expires_at: if is_held { NotSet } else { Set(None) },
        due_at: if is_held { NotSet } else { Set(run.due_at()) },
        ..Default::default()
    }
}

/// A whole row, for a run that was just accepted.
pub(crate) fn accepted(tenant: Uuid, run: &Run) -> ActiveModel {
    let selection = run.selection();
    let placement = run.placement();
    ActiveModel {
        tenant_id: Set(tenant),
        id: Set(run.id().as_uuid()),
        requested_by: Set(run.requested_by().as_uuid()),
        admitted_as: Set(run.admission().map(|role| role.as_str().to_owned())),
        task: Set(run.task().as_str().to_owned()),
        agent_id: Set(selection.agent.as_uuid()),
        agent_version: Set(selection.agent_version.into()),
        selection: Set(write(&StoredSelection::from(selection))),
        limits: Set(write(&Limits::from(run.limits()))),
        created_at: Set(run.created_at()),
        fencing_token: Set(0),
        next_seq: Set(1),
        rank: Set(i64::from(Priority::MAX - placement.priority.get())),
        deadline: Set(placement.deadline),
        not_before: Set(placement.not_before),
        agent_limit: Set(placement.agent_limit.map(i64::from)),
        progress_token: Set(0),
        parent_id: Set(run.lineage().map(|lineage| lineage.parent.as_uuid())),
        root_id: Set(run.lineage().map(|lineage| lineage.root.as_uuid())),
        depth: Set(run.lineage().map(|lineage| lineage.depth.into())),
        thread_id: Set(run.place_in_thread().map(|place| place.thread.as_uuid())),
        turn: Set(run.place_in_thread().map(|place| place.turn.into())),
        ..changes(run)
    }
}

fn priority(rank: i64) -> Result<Priority, StoreError> {
    let number = u8::try_from(i64::from(Priority::MAX) - rank).map_err(corrupt("runs", "rank"))?;
    Priority::new(number).map_err(corrupt("runs", "rank"))
}

fn lineage(
    parent: Option<Uuid>,
    root: Option<Uuid>,
    depth: Option<i64>,
) -> Result<Option<Lineage>, StoreError> {
    let (Some(parent), Some(root), Some(depth)) = (parent, root, depth) else { return Ok(None) };
    let depth = u8::try_from(depth).map_err(corrupt("runs", "depth"))?;
    Ok(Some(Lineage { parent: RunId::from_uuid(parent), root: RunId::from_uuid(root), depth }))
}

fn in_thread(thread: Option<Uuid>, turn: Option<i64>) -> Result<Option<InThread>, StoreError> {
    let (Some(thread), Some(turn)) = (thread, turn) else { return Ok(None) };
    let turn = u32::try_from(turn).map_err(corrupt("runs", "turn"))?;
    Ok(Some(InThread { thread: ThreadId::from_uuid(thread), turn }))
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
            admitted_as: row
                .admitted_as
                .map(|role| role.parse())
                .transpose()
                .map_err(corrupt("runs", "admitted_as"))?,
            task: Task::new(row.task).map_err(corrupt("runs", "task"))?,
            selection: selection.into_domain()?,
            limits: limits.into(),
            placement: Placement {
                priority: priority(row.rank)?,
                not_before: row.not_before,
                deadline: row.deadline,
                agent_limit: row
                    .agent_limit
                    .map(u32::try_from)
                    .transpose()
                    .map_err(corrupt("runs", "agent_limit"))?,
            },
            lineage: lineage(row.parent_id, row.root_id, row.depth)?,
            in_thread: in_thread(row.thread_id, row.turn)?,
            state: state.into(),
            usage: Usage::of_tokens(
                unsigned("runs", "input_tokens", row.input_tokens)?,
                unsigned("runs", "output_tokens", row.output_tokens)?,
            )
            .at_cost(unsigned("runs", "cost_micros", row.cost_micros)?),
            created_at: row.created_at,
            version: unsigned("runs", "version", row.version)?,
        }))
    }
}
