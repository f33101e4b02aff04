//! Letting a run that was paused go on.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::ids::RunId;
use powerhouse_domain::runs::{EventBody, Ledger, Run};
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::{NewEvent, TenantStore};

use super::{Going, TRIES, find, whole_journal};
use crate::{Once, Refused};

/// Resumes runs.
#[derive(Clone)]
pub struct ResumeRun {
    /// Where runs are.
    pub store: Arc<dyn TenantStore>,
    /// Lets runs go on.
    pub going: Going,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl ResumeRun {
    /// Lets a run that was paused go on.
    pub async fn execute(&self, principal: &Principal, id: RunId, once: &Once<Run>) -> Result<Run, Refused> {
        for _ in 0..TRIES {
            let mut tx = once.begin(&*self.store, &principal.scope()).await?;
            let (run, permit) = find::<access::PauseRun>(&mut *tx, principal, id).await?;
            let is_paused = Ledger::of(&whole_journal(&mut *tx, id).await?).is_paused;
            if !is_paused || run.state().name().is_final() {
                return Err(Refused::conflict("run_not_paused", "the run is not paused"));
            }
            let (by, now) = (permit.granted_to(), self.clock.now());
            let resumed = NewEvent { at: now, body: EventBody::Resumed { by } };
            if let Some((run, seq)) = Going::write(&mut *tx, run, resumed).await? {
                once.commit_audited(tx, &run, Entry::by(principal, AuditAction::RunResumed, id, now)).await?;
                self.going.tell(&permit.scope(), permit.redeem().run, seq).await;
                return Ok(run);
            }
        }
        Err(Refused::Stale)
    }
}
