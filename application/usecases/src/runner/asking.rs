//! What a drive asks people, and how long it waits for them.

use chrono::{DateTime, Utc};
use powerhouse_domain::effects::{EffectKey, EffectRequest, Issued};
use powerhouse_domain::ids::ApprovalId;
use powerhouse_domain::runs::{Approval, ApprovalRules, Consequence, EventBody, Provenance, Question};
use powerhouse_ports::store::{NewEvent, StoreError};

use super::drive::Drive;
use super::gate::{Gate, ToolTerms, demand, gate};

impl Drive {
    /// Takes silence for a no, where the time for an answer is over.
    pub(super) async fn lapse_overdue(&mut self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let overdue: Vec<_> = self
            .undone
            .iter()
            .filter_map(|Issued { key, request }| {
                // What was asked already is decided without the rules of now.
                let terms = self.terms(request, &ApprovalRules::default());
                match gate(request, self.ledger.open.get(key), &terms, now) {
                    Gate::Lapse(approval) => Some(approval),
                    _ => None,
                }
            })
            .collect();
        for approval in overdue {
            self.lapse(approval, now).await?;
        }
        Ok(())
    }

    /// What holds for the tool that a request calls.
    pub(super) fn terms(&self, request: &EffectRequest, rules: &ApprovalRules) -> ToolTerms {
        let EffectRequest::Tool(tool) = request else {
            return ToolTerms { is_safe_to_repeat: true, demand: None, refusal: None };
        };
        let nothing = Provenance::default();
        let read = self.read.as_ref().unwrap_or(&nothing);
        let rule = rules.on(self.run.selection().agent, &tool.name, &tool.arguments, read);
        let refuses = rule.filter(|rule| rule.consequence() == Consequence::Refuse);
        let known = self.allowed.tools.get(&tool.name);
        ToolTerms {
            // A call of a tool that is not there does nothing.
            is_safe_to_repeat: known.is_none_or(|tool| tool.is_safe_to_repeat()),
            demand: demand(tool, &self.allowed.approvals, rule),
            refusal: refuses.map(|rule| rule.reason().to_owned()),
        }
    }

    /// Asks a person with the next write.
    pub(super) fn ask(&mut self, key: &EffectKey, question: Question, now: DateTime<Utc>) {
        let id = ApprovalId::from_uuid(self.workshop.ids.next());
        let expires_at = now + self.workshop.settings.approval;
        let body = EventBody::ApprovalAsked {
            approval: id,
            key: key.clone(),
            question: question.clone(),
            expires_at,
        };
        self.outbox.push(NewEvent { at: now, body });
        self.questions.push(Approval::ask(id, self.run.id(), key.clone(), question, now, expires_at));
        self.hold(expires_at);
    }

    /// The run can wait until then at the longest.
    pub(super) fn hold(&mut self, until: DateTime<Utc>) {
        self.held_until = Some(self.held_until.map_or(until, |earlier| earlier.min(until)));
    }
}
