//! Saying what a run was worth.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::ids::RunId;
use powerhouse_domain::runs::{Feedback, Verdict};
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::TenantStore;

use super::find;
use crate::selection::Selectors;
use crate::{Once, Refused};

/// Takes feedback.
#[derive(Clone)]
pub struct GiveFeedback {
    /// Where runs are.
    pub store: Arc<dyn TenantStore>,
    /// Learns from it.
    pub selectors: Arc<Selectors>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl GiveFeedback {
    /// Keeps the caller's word on a run that has ended; a second word replaces the first.
    pub async fn execute(
        &self,
        principal: &Principal,
        id: RunId,
        verdict: Verdict,
        comment: String,
        once: &Once<Feedback>,
    ) -> Result<Feedback, Refused> {
        let mut tx = once.begin(&*self.store, &principal.scope()).await?;
        let (run, permit) = find::<access::GiveFeedback>(&mut *tx, principal, id).await?;
        if !run.state().name().is_final() {
            return Err(Refused::conflict("run_not_ended", "feedback can be given once the run has ended"));
        }
        let now = self.clock.now();
        let feedback = Feedback::new(permit.granted_to(), verdict, comment, now)
            .map_err(|error| Refused::invalid("/comment", error))?;
        tx.runs().put_feedback(permit.redeem().run, &feedback).await?;
        let entry = Entry::by(principal, AuditAction::RunJudged, id, now).with("verdict", verdict.as_str());
        once.commit_audited(tx, &feedback, entry).await?;
        self.selectors.want(principal.scope());
        Ok(feedback)
    }
}
