//! Letting a run go on after somebody said something, whether it waits or is on its way.

use std::sync::Arc;

use powerhouse_domain::access::TenantScope;
use powerhouse_domain::ids::RunId;
use powerhouse_domain::runs::{Run, RunStatus};
use powerhouse_ports::events::{EventBus, RunNews};
use powerhouse_ports::store::{NewEvent, StoreError, TenantTx};
use tokio::sync::Notify;

use crate::Refused;

/// Lets runs go on.
#[derive(Clone)]
pub struct Going {
    /// Tells the worker that has the run, and who watches.
    pub bus: Arc<dyn EventBus>,
    /// Wakes the worker of this process.
    pub wake: Arc<Notify>,
}

impl Going {
    /// Writes what was said to the run's journal. From the commit on, a run that waits may be claimed, and the worker of
    /// one that is on its way takes it into account; [`tell`](Self::tell) them then. The run as it is from then on, and
    /// the number of the event. None, and nothing is written, when the run has changed since it was read.
    pub(crate) async fn write(
        tx: &mut dyn TenantTx,
        run: Run,
        said: NewEvent,
    ) -> Result<Option<(Run, u64)>, Refused> {
        let at = said.at;
        let events = [said];
        let (run, written) = if run.state().name() == RunStatus::Waiting {
            let running = run.start(at).map_err(|refused| Refused::conflict("run_not_waiting", refused))?;
            let written = tx.runs().update(&running, &events).await;
            (running, written)
        } else {
            let written = tx.runs().append(&run, &events).await;
            (run, written)
        };
        match written {
            Ok(seq) => Ok(Some((run, seq))),
            Err(StoreError::Conflict { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Tells who drives the run that began one which has ended, and lets it be claimed if it waited for that.
    pub(crate) async fn tell_parent(&self, scope: &TenantScope, ended: &Run) {
        if let Some(lineage) = ended.lineage() {
            self.tell(scope, lineage.parent, RunNews::OF_ANOTHER_RUN).await;
        }
    }

    /// Tells workers, and who watches, of what was written and committed.
    pub(crate) async fn tell(&self, scope: &TenantScope, run: RunId, seq: u64) {
        self.bus.publish(scope, RunNews { run, seq }).await;
        self.wake.notify_one();
    }
}
