//! Answering a question, so that its run goes on.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::ids::ApprovalId;
use powerhouse_domain::runs::{AnswerRefused, Approval, Decision, EventBody};
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::{NewEvent, StoreError, TenantStore};

use crate::runs::{Going, TRIES};
use crate::{Once, Refused, permit};

/// Takes answers.
#[derive(Clone)]
pub struct AnswerApproval {
    /// Where questions and runs are.
    pub store: Arc<dyn TenantStore>,
    /// Lets runs go on.
    pub going: Going,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl AnswerApproval {
    /// Answers, once. From then on the run may do what was decided.
    pub async fn execute(
        &self,
        principal: &Principal,
        id: ApprovalId,
        decision: Decision,
        once: &Once<Approval>,
    ) -> Result<Approval, Refused> {
        for _ in 0..TRIES {
            let sees = principal.permit::<access::ReadApproval>(id).is_ok();
            let permit = permit::<access::AnswerApproval>(principal, id, "approval", sees)?;
            let mut tx = once.begin(&*self.store, &permit.scope()).await?;
            let asked = tx.approvals().find(id).await?.ok_or(Refused::NotFound("approval"))?;
            let now = self.clock.now();
            let answered = asked.answered(permit.granted_to(), decision.clone(), now).map_err(refused)?;
            let run = tx.runs().find(answered.run()).await?.ok_or(Refused::NotFound("approval"))?;
            if run.state().name().is_final() {
                return Err(Refused::conflict("run_ended", "the run that asked has ended"));
            }
            match tx.approvals().answer(&answered).await {
                Ok(()) => {}
                Err(StoreError::Conflict { .. }) => return Err(refused(AnswerRefused::Answered)),
                Err(error) => return Err(error.into()),
            }
            let body = EventBody::ApprovalAnswered {
                approval: id,
                key: answered.key().clone(),
                decision: decision.clone(),
                by: Some(permit.granted_to()),
            };
            let run_id = run.id();
            let entry = Entry::by(principal, AuditAction::ApprovalAnswered, id, now)
                .with("decision", decision.name())
                .with("run", answered.run());
            if let Some((_, seq)) = Going::write(&mut *tx, run, NewEvent { at: now, body }).await? {
                once.commit_audited(tx, &answered, entry).await?;
                self.going.tell(&permit.scope(), run_id, seq).await;
                permit.redeem();
                return Ok(answered);
            }
        }
        Err(Refused::Stale)
    }
}

fn refused(reason: AnswerRefused) -> Refused {
    match reason {
        AnswerRefused::Answered => Refused::conflict("approval_answered", reason),
        AnswerRefused::Expired => Refused::conflict("approval_expired", reason),
        AnswerRefused::NotInDoubt => Refused::invalid("/decision", reason),
        AnswerRefused::NotAnObject => Refused::invalid("/arguments", reason),
        AnswerRefused::TooLong => Refused::invalid("/reason", reason),
    }
}
