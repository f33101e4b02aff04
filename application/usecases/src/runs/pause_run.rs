//! Letting a run stand still.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::ids::RunId;
use powerhouse_domain::runs::{EventBody, Ledger, Run};
use powerhouse_ports::clock::Clock;
use powerhouse_ports::events::{EventBus, RunNews};
use powerhouse_ports::store::{NewEvent, StoreError, TenantStore};

use super::{TRIES, find, whole_journal};
use crate::{Once, Refused};

/// Pauses runs.
#[derive(Clone)]
pub struct PauseRun {
    /// Where runs are.
    pub store: Arc<dyn TenantStore>,
    /// Tells the worker.
    pub bus: Arc<dyn EventBus>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl PauseRun {
    /// Asks a run to stand still: what is under way ends, and nothing is begun until it is resumed. To pause it again
    /// changes nothing.
    pub async fn execute(&self, principal: &Principal, id: RunId, once: &Once<Run>) -> Result<Run, Refused> {
        for _ in 0..TRIES {
            let mut tx = once.begin(&*self.store, &principal.scope()).await?;
            let (run, permit) = find::<access::PauseRun>(&mut *tx, principal, id).await?;
            if run.state().name().is_final() {
                return Err(Refused::conflict("run_ended", "the run has ended"));
            }
            if Ledger::of(&whole_journal(&mut *tx, id).await?).is_paused {
                once.commit(tx, &run).await?;
                return Ok(run);
            }
            let (by, now) = (permit.granted_to(), self.clock.now());
            let asked = NewEvent { at: now, body: EventBody::PauseAsked { by } };
            match tx.runs().append(&run, &[asked]).await {
                Ok(seq) => {
                    once.commit_audited(tx, &run, Entry::by(principal, AuditAction::RunPaused, id, now))
                        .await?;
                    self.bus.publish(&permit.scope(), RunNews { run: permit.redeem().run, seq }).await;
                    return Ok(run);
                }
                // The worker wrote meanwhile: read again.
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Refused::Stale)
    }
}
