//! Runs: accepting a task, watching what happens, stopping it, and saying what it was worth.

mod cancel_run;
mod explain_run;
mod fork_run;
mod give_feedback;
mod going;
mod list_runs;
mod pause_run;
mod read_run;
mod resume_run;
mod stop_begun;
mod submit_run;
mod watch_run;

use powerhouse_domain::access::{OwnedRun, Permit, Principal, Privilege, ReadRun as Read};
use powerhouse_domain::ids::RunId;
use powerhouse_domain::runs::Run;
use powerhouse_ports::store::TenantView;

pub use cancel_run::CancelRun;
pub use explain_run::{ExplainRun, RecordRun};
pub use fork_run::{ForkRun, ForkRunCommand};
pub use give_feedback::GiveFeedback;
pub use going::Going;
pub use list_runs::ListRuns;
pub use pause_run::PauseRun;
pub use read_run::{ReadRun, ReadRunTree, ReadSteps};
pub(crate) use read_run::{events_after, whole_journal};
pub use resume_run::ResumeRun;
pub(crate) use stop_begun::stop_begun;
pub(crate) use submit_run::check_target;
pub use submit_run::{SubmitRun, SubmitRunCommand};
pub use watch_run::{RunWatch, WatchRun};

use crate::{Refused, permit};

/// How often a run's worker may be faster than somebody who changes the run, before we give up.
pub(crate) const TRIES: u32 = 10;

const NO_RUN: Refused = Refused::NotFound("run");

/// A run that the caller may see, with the permit to do `A` to it.
async fn find<A: Privilege<Resource = OwnedRun>>(
    view: &mut dyn TenantView,
    principal: &Principal,
    id: RunId,
) -> Result<(Run, Permit<A>), Refused> {
    let run = view.runs().find(id).await?.ok_or(NO_RUN)?;
    let owned = OwnedRun { run: id, owner: run.requested_by() };
    let visible = principal.permit::<Read>(owned).is_ok();
    let permit = permit::<A>(principal, owned, "run", visible)?;
    Ok((run, permit))
}
