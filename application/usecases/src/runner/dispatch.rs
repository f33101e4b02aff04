//! What is to become of what a strategy asks for: it is journalled, and then begun.

use chrono::{DateTime, Utc};
use powerhouse_domain::effects::{EffectKey, EffectOutcome, EffectRequest, Issued};
use powerhouse_domain::ids::{RunId, StepId};
use powerhouse_domain::runs::{Ending, EventBody, OpenEffect, StepKind};
use powerhouse_ports::store::StoreError;

use super::drive::Drive;
use super::family::WantedRun;
use super::gate::{Gate, gate};

/// How many events may wait to be written with what follows them.
const MOST_KEPT_BACK: usize = 16;

/// What came of what was asked for.
pub(super) enum Dispatched {
    /// It is on its way, or waits for people.
    Done,
    /// Some of it has its outcome already.
    Settled,
    /// The run may not have it.
    Limited(Ending),
}

impl Drive {
    /// Begins what may begin of what was asked for, and asks people where they have a word in it.
    pub(super) async fn dispatch(&mut self) -> Result<Dispatched, StoreError> {
        let now = self.workshop.clock.now();
        self.lapse_overdue(now).await?;
        self.has_news = false;
        let rules = self.rules().await?;
        self.refresh_models(now).await?;
        let (mut begun, mut runs) = (Vec::new(), Vec::new());
        let mut outcomes = Vec::new();
        self.held_until = None;
        for issued in std::mem::take(&mut self.undone) {
            if self.ledger.is_paused {
                self.undone.push(issued);
                continue;
            }
            let Issued { key, request } = &issued;
            if !self.asked.contains(key) {
                let steps = u32::try_from(self.asked.len()).unwrap_or(u32::MAX);
                if let Err(limit) = self.run.limits().check(steps, self.run.usage(), self.started_at, now) {
                    return Ok(Dispatched::Limited(limit.into()));
                }
                self.asked.insert(key.clone());
            }
            let terms = self.terms(request, &rules);
            match gate(request, self.ledger.open.get(key), &terms, now) {
                Gate::Perform(EffectRequest::Run(request)) => {
                    let step = match self.ledger.open.get(key) {
                        Some(OpenEffect::Begun { step, .. }) => *step,
                        _ => self.intend(key, &issued.request, now),
                    };
                    runs.push(WantedRun { key: key.clone(), id: RunId::from_uuid(step.as_uuid()), request });
                }
                Gate::Perform(performed) => {
                    self.intend(key, request, now);
                    self.want(key, &performed, now);
                    begun.push((key.clone(), performed));
                }
                Gate::Outcome(output) => {
                    self.intend(key, request, now);
                    outcomes.push((key.clone(), output));
                }
                Gate::Ask(question) => {
                    self.ask(key, question, now);
                    self.undone.push(issued);
                }
                Gate::Hold { until } => {
                    self.hold(until);
                    self.undone.push(issued);
                }
                // Found overdue since: the run comes back at once.
                Gate::Lapse(_) => {
                    self.hold(now);
                    self.undone.push(issued);
                }
            }
        }
        let mut has_settled = !outcomes.is_empty();
        for (key, output) in outcomes {
            self.settle(&key, EffectOutcome::Tool(output));
        }
        let nothing_leaves = runs.is_empty()
            && self.in_flight.is_empty()
            && self.questions.is_empty()
            && begun.iter().all(|(_, request)| self.stays_in_the_process(request));
        let soon_goes_on = has_settled || !begun.is_empty();
        if !(nothing_leaves && soon_goes_on && self.outbox.len() <= MOST_KEPT_BACK) {
            self.write().await?;
        }
        has_settled |= self.begin_runs(runs).await?;
        for (key, request) in begun {
            let issued = Issued { key, request };
            self.in_flight.push(self.purse.dispatch(&self.workshop, &self.allowed, issued, &self.text.0));
        }
        Ok(if has_settled { Dispatched::Settled } else { Dispatched::Done })
    }

    /// Whether nobody outside could know that it was performed. Then its intent need not be known before.
    fn stays_in_the_process(&self, request: &EffectRequest) -> bool {
        match request {
            EffectRequest::Tool(tool) => {
                self.allowed.tools.get(&tool.name).is_none_or(|tool| !tool.leaves_the_process())
            }
            EffectRequest::Model(_) | EffectRequest::Run(_) => false,
        }
    }

    /// The intent to perform an effect, as a step of this id.
    fn intend(&mut self, key: &EffectKey, request: &EffectRequest, now: DateTime<Utc>) -> StepId {
        let step = StepId::from_uuid(self.workshop.ids.next());
        let body = EventBody::StepStarted {
            step,
            key: key.clone(),
            kind: StepKind::from(request),
            fingerprint: Some(request.fingerprint()),
            reservation: None,
        };
        self.journal(now, body);
        step
    }
}
