//! Schedules: making, changing, pausing and removing them, and the task that fires them.

mod change_schedule;
mod create_schedule;
mod list_schedules;
mod read_schedule;
mod scheduler;

pub use change_schedule::{ChangeSchedule, DeleteSchedule, PauseSchedule, ResumeSchedule};
pub use create_schedule::CreateSchedule;
pub use list_schedules::ListSchedules;
pub use read_schedule::{PreviewFirings, ReadSchedule};
pub use scheduler::Scheduler;

use powerhouse_domain::schedules::NeverFires;

use crate::Refused;

const NO_SCHEDULE: Refused = Refused::NotFound("schedule");

fn never(error: NeverFires) -> Refused {
    Refused::invalid("/cron", error)
}
