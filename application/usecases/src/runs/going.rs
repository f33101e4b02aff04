//! Letting a run go on after somebody said something, whether it waits or is on its way.

use std::sync::Arc;

use powerhouse_domain::access::TenantScope;
use powerhouse_domain::audit::Entry;
use powerhouse_domain::runs::{Run, RunStatus};
use powerhouse_ports::events::{EventBus, RunNews};
use powerhouse_ports::store::{NewEvent, StoreError, TenantTx};
use tokio::sync::Notify;

use crate::{Refused, audited};

/// Lets runs go on.
#[derive(Clone)]
pub struct Going {
    /// Tells the worker that has the run, and who watches.
    pub bus: Arc<dyn EventBus>,
    /// Wakes the worker of this process.
    pub wake: Arc<Notify>,
}

impl Going {
    /// Writes what was said to the run's journal and to the audit trail, and commits. A run that waits may be claimed from
    /// then on; the worker of one that is on its way takes it into account. False, and nothing is written, when the run has
    /// changed since it was read.
    pub(crate) async fn on(
        &self,
        mut tx: Box<dyn TenantTx>,
        scope: &TenantScope,
        run: Run,
        said: NewEvent,
        entry: Entry,
    ) -> Result<bool, Refused> {
        let (id, at) = (run.id(), said.at);
        let events = [said];
        let written = if run.state().name() == RunStatus::Waiting {
            let running = run.start(at).map_err(|refused| Refused::conflict("run_not_waiting", refused))?;
            tx.runs().update(&running, &events).await
        } else {
            tx.runs().append(&run, &events).await
        };
        match written {
            Ok(seq) => {
                audited::commit(tx, entry).await?;
                self.bus.publish(scope, RunNews { run: id, seq }).await;
                self.wake.notify_one();
                Ok(true)
            }
            Err(StoreError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
