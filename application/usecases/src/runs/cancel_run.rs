//! Stopping a run.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::ids::RunId;
use powerhouse_domain::runs::{EventBody, Run, RunEvent, RunStatus};
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::{NewEvent, StoreError, TenantStore, TenantTx};

use super::{Going, TRIES, find, stop_begun, whole_journal};
use crate::measure::run_ended;
use crate::runner::settle_in_flight;
use crate::{Once, Refused};

/// Stops runs.
#[derive(Clone)]
pub struct CancelRun {
    /// Where runs are.
    pub store: Arc<dyn TenantStore>,
    /// Tells the worker, which drops the call in flight.
    pub going: Going,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl CancelRun {
    /// Ends a run as cancelled. To cancel it again changes nothing.
    pub async fn execute(&self, principal: &Principal, id: RunId, once: &Once<Run>) -> Result<Run, Refused> {
        for _ in 0..TRIES {
            let mut tx = once.begin(&*self.store, &principal.scope()).await?;
            let (run, permit) = find::<access::CancelRun>(&mut *tx, principal, id).await?;
            if run.state().name() == RunStatus::Cancelled {
                once.commit(tx, &run).await?;
                return Ok(run);
            }
            let now = self.clock.now();
            let run = run
                .cancel(permit.granted_to(), now)
                .map_err(|refused| Refused::conflict("run_ended", refused))?;
            // Otherwise the worker wrote meanwhile: read again.
            if let Some(seq) = store_cancelled(&mut *tx, &run, now).await? {
                once.commit_audited(tx, &run, Entry::by(principal, AuditAction::RunCancelled, id, now))
                    .await?;
                run_ended(run.state().name());
                let scope = permit.scope();
                self.going.tell(&scope, permit.redeem().run, seq).await;
                self.going.tell_parent(&scope, &run).await;
                stop_begun(&*self.store, &self.going, &*self.clock, &scope, &run).await;
                return Ok(run);
            }
        }
        Err(Refused::Stale)
    }
}

/// Stores a run as cancelled, with the calls settled that were under way. The number of the event that says so; none when
/// the run has changed since it was read.
pub(super) async fn store_cancelled(
    tx: &mut dyn TenantTx,
    run: &Run,
    now: DateTime<Utc>,
) -> Result<Option<u64>, StoreError> {
    match tx.runs().update(run, &[NewEvent { at: now, body: EventBody::Cancelled }]).await {
        Ok(seq) => {
            // The run's row is held from here on: no call is begun or ends beside this.
            let journal = whole_journal(tx, run.id()).await?;
            settle_in_flight(tx, run, before_the_end(&journal), now).await?;
            Ok(Some(seq))
        }
        Err(StoreError::Conflict { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What happened before the run was cancelled, which is the last event.
fn before_the_end(journal: &[RunEvent]) -> &[RunEvent] {
    journal.split_last().map_or(&[], |(_, before)| before)
}
