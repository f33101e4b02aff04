//! Pausing and resuming a run, and making a new one from it.

use powerhouse_domain::effects::EffectKey;
use powerhouse_usecases::runs::{ForkRun, ForkRunCommand, PauseRun, ResumeRun};
use salvo::oapi::{ToSchema, endpoint};
use salvo::prelude::{Depot, Request};
use serde::Deserialize;

use super::views::RunView;
use super::{accepted, shown};
use crate::body::{id, invalid, json};
use crate::guard::principal;
use crate::idempotency::{answer, once};
use crate::problem::Problem;
use crate::reply::Reply;

/// The most characters of an outcome that is given.
const MAX_OUTPUT_CHARS: usize = 65_536;

pub(super) struct Pause(pub(super) PauseRun);

/// Let a run stand still: what is under way ends, and nothing is begun until it is resumed
#[endpoint(operation_id = "pause_run", tags("runs"), security(["bearer" = []]),
    parameters(("run_id" = String, Path, description = "`run_…`")),
    responses((status_code = 200, description = "The run, which waits as soon as nothing is under way.", body = RunView)))]
impl Pause {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<RunView>, Problem> {
        let (id, once) = (id(req, "run_id", "run")?, once(depot, shown));
        answer(self.0.execute(principal(depot)?, id, &once).await, shown)
    }
}

pub(super) struct Resume(pub(super) ResumeRun);

/// Let a run that was paused go on
#[endpoint(operation_id = "resume_run", tags("runs"), security(["bearer" = []]),
    parameters(("run_id" = String, Path, description = "`run_…`")),
    responses((status_code = 200, description = "The run.", body = RunView)))]
impl Resume {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<RunView>, Problem> {
        let (id, once) = (id(req, "run_id", "run")?, once(depot, shown));
        answer(self.0.execute(principal(depot)?, id, &once).await, shown)
    }
}

/// From where a run is made anew.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewFork {
    /// The `key` of the first step that is not taken over as it was.
    #[salvo(schema(example = "2"))]
    step: String,
    /// What came of that step, instead of what did; it is performed again when left out.
    #[serde(default)]
    output: Option<String>,
}

pub(super) struct Fork(pub(super) ForkRun);

/// Make a new run from this one
///
/// It has the outcomes of every step that had ended before the named one began, and goes on from there: the step is
/// performed again (a retry), or has the outcome that is given.
#[endpoint(operation_id = "fork_run", tags("runs"), security(["bearer" = []]), request_body = NewFork,
    parameters(("run_id" = String, Path, description = "`run_…`")),
    responses((status_code = 202, description = "The new run.", body = RunView)))]
impl Fork {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<RunView>, Problem> {
        let run = id(req, "run_id", "run")?;
        let NewFork { step, output } = json(req).await?;
        let step: EffectKey = step.parse().map_err(|error| invalid("/step", error))?;
        if output.as_ref().is_some_and(|output| output.chars().nth(MAX_OUTPUT_CHARS).is_some()) {
            return Err(invalid("/output", format!("at most {MAX_OUTPUT_CHARS} characters")));
        }
        let command = ForkRunCommand { run, step, output };
        answer(self.0.execute(principal(depot)?, command, &once(depot, accepted)).await, accepted)
    }
}
