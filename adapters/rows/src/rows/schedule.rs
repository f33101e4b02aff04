//! Rows of `schedules`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use powerhouse_domain::ids::{AgentId, RunId, ScheduleId, UserId};
use powerhouse_domain::runs::{Priority, Task};
use powerhouse_domain::schedules::{
    CatchUp, Firing, Missed, MissedKind, Order, PauseReason, Plan, Schedule, ScheduleParts, ScheduleState,
    Timing,
};
use powerhouse_domain::selection::{Target, Wish};
use powerhouse_ports::store::StoreError;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

use super::stored::{read, write};
use super::{corrupt, signed, unsigned};

const TABLE: &str = "schedules";

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "schedules")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) id: Uuid,
    pub(crate) requested_by: Uuid,
    pub(crate) name: String,
    pub(crate) plan: Json,
    /// None while it is paused; then there is `paused`.
    pub(crate) next_at: Option<DateTime<Utc>>,
    pub(crate) paused: Option<Json>,
    pub(crate) last_at: Option<DateTime<Utc>>,
    pub(crate) last_run: Option<Uuid>,
    /// Until when one replica has it to itself.
    pub(crate) claimed_until: Option<DateTime<Utc>>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) version: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

#[derive(Serialize, Deserialize)]
struct StoredPlan {
    cron: String,
    zone: String,
    missed: String,
    catch_up: Option<u8>,
    task: String,
    target: StoredTarget,
    priority: u8,
    within_seconds: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredTarget {
    Agent(AgentId),
    Auto { candidates: Vec<AgentId>, capabilities: Vec<String> },
}

#[derive(Serialize, Deserialize)]
struct StoredPause {
    reason: StoredReason,
    since: DateTime<Utc>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredReason {
    Asked,
    RequesterGone,
    Refused(String),
    Over,
}

impl From<&Plan> for StoredPlan {
    fn from(plan: &Plan) -> Self {
        let order = &plan.order;
        Self {
            cron: plan.timing.expression().to_owned(),
            zone: plan.timing.zone().to_owned(),
            missed: plan.missed.kind().as_str().to_owned(),
            catch_up: match plan.missed {
                Missed::CatchUp(most) => Some(most.get()),
                Missed::Skip | Missed::Once => None,
            },
            task: order.task.as_str().to_owned(),
            target: match order.target.clone() {
                Target::Agent(agent) => StoredTarget::Agent(agent),
                Target::Auto(Wish { candidates, capabilities }) => {
                    StoredTarget::Auto { candidates, capabilities }
                }
            },
            priority: order.priority.get(),
            within_seconds: order.within.map(|within| within.as_secs()),
        }
    }
}

impl StoredPlan {
    fn into_domain(self, name: &str) -> Result<Plan, StoreError> {
        let missed = match self.missed.parse().map_err(corrupt(TABLE, "plan"))? {
            MissedKind::Skip => Missed::Skip,
            MissedKind::Once => Missed::Once,
            MissedKind::CatchUp => {
                let most = CatchUp::new(self.catch_up.unwrap_or_default());
                Missed::CatchUp(most.map_err(corrupt(TABLE, "plan"))?)
            }
        };
        let order = Order {
            task: Task::new(self.task).map_err(corrupt(TABLE, "plan"))?,
            target: match self.target {
                StoredTarget::Agent(agent) => Target::Agent(agent),
                StoredTarget::Auto { candidates, capabilities } => {
                    Target::Auto(Wish { candidates, capabilities })
                }
            },
            priority: Priority::new(self.priority).map_err(corrupt(TABLE, "plan"))?,
            within: self.within_seconds.map(Duration::from_secs),
        };
        let timing = Timing::new(&self.cron, &self.zone).map_err(corrupt(TABLE, "plan"))?;
        Ok(Plan { name: name.parse().map_err(corrupt(TABLE, "name"))?, timing, missed, order })
    }
}

impl From<PauseReason> for StoredReason {
    fn from(reason: PauseReason) -> Self {
        match reason {
            PauseReason::Asked => Self::Asked,
            PauseReason::RequesterGone => Self::RequesterGone,
            PauseReason::Refused(why) => Self::Refused(why),
            PauseReason::Over => Self::Over,
        }
    }
}

impl From<StoredReason> for PauseReason {
    fn from(stored: StoredReason) -> Self {
        match stored {
            StoredReason::Asked => Self::Asked,
            StoredReason::RequesterGone => Self::RequesterGone,
            StoredReason::Refused(why) => Self::Refused(why),
            StoredReason::Over => Self::Over,
        }
    }
}

/// What changes of a schedule. Whoever had claimed it has done its part, or comes too late.
pub(crate) fn changes(schedule: &Schedule) -> ActiveModel {
    let paused = match schedule.state() {
        ScheduleState::Active { .. } => None,
        ScheduleState::Paused { reason, since } => {
            Some(write(&StoredPause { reason: reason.clone().into(), since: *since }))
        }
    };
    ActiveModel {
        requested_by: Set(schedule.requested_by().as_uuid()),
        name: Set(schedule.plan().name.as_str().to_owned()),
        plan: Set(write(&StoredPlan::from(schedule.plan()))),
        next_at: Set(schedule.next_at()),
        paused: Set(paused),
        last_at: Set(schedule.last().map(|last| last.at)),
        last_run: Set(schedule.last().map(|last| last.run.as_uuid())),
        claimed_until: Set(None),
        version: Set(signed(schedule.version())),
        ..Default::default()
    }
}

impl TryFrom<Model> for Schedule {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let state = match (row.next_at, row.paused) {
            (Some(next_at), None) => ScheduleState::Active { next_at },
            (None, Some(paused)) => {
                let StoredPause { reason, since } = read(TABLE, "paused", paused)?;
                ScheduleState::Paused { reason: reason.into(), since }
            }
            _ => return Err(StoreError::CorruptRow { table: TABLE, column: "paused" }),
        };
        let last = match (row.last_at, row.last_run) {
            (Some(at), Some(run)) => Some(Firing { at, run: RunId::from_uuid(run) }),
            _ => None,
        };
        Ok(Self::restore(ScheduleParts {
            id: ScheduleId::from_uuid(row.id),
            requested_by: UserId::from_uuid(row.requested_by),
            plan: read::<StoredPlan>(TABLE, "plan", row.plan)?.into_domain(&row.name)?,
            state,
            last,
            created_at: row.created_at,
            version: unsigned(TABLE, "version", row.version)?,
        }))
    }
}
