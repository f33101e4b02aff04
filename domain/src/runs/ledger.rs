//! The side-effect ledger: what a journal says of the effects that have no outcome, so that whoever takes a run over
//! neither repeats what must not be repeated nor forgets what was asked.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{Decision, EventBody, Question, RunEvent};
use crate::effects::EffectKey;
use crate::ids::{ApprovalId, StepId};

/// An effect that was asked for and has no outcome.
#[derive(Clone, Debug, PartialEq)]
pub enum OpenEffect {
    /// Its intent was written, and then it may have left the process.
    Begun {
        /// As which step, when it was begun first.
        step: StepId,
        /// With these arguments, when a person has changed them.
        arguments: Option<Value>,
    },
    /// A person was asked.
    Asked {
        /// Under which id.
        approval: ApprovalId,
        /// What.
        question: Question,
        /// Until when an answer counts.
        expires_at: DateTime<Utc>,
    },
    /// A person has answered.
    Answered {
        /// What.
        decision: Decision,
        /// The arguments to call with, when a person has changed them, now or before.
        arguments: Option<Value>,
    },
}

/// What a journal leaves open.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    /// The effects without an outcome.
    pub open: BTreeMap<EffectKey, OpenEffect>,
    /// Whether somebody wants the run to stand still.
    pub is_paused: bool,
    /// For how long it has waited in all, up to the last event.
    pub waited: TimeDelta,
}

impl Ledger {
    /// Reads a journal in its order.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a RunEvent>) -> Self {
        let mut ledger = Self::default();
        let mut waiting_since: Option<DateTime<Utc>> = None;
        for event in events {
            if let Some(since) = waiting_since.take() {
                ledger.waited += (event.at - since).max(TimeDelta::zero());
                // A wish to pause does not end the wait.
                waiting_since = matches!(event.body, EventBody::PauseAsked { .. }).then_some(event.at);
            }
            match &event.body {
                EventBody::Waiting { .. } => waiting_since = Some(event.at),
                body => ledger.note(body),
            }
        }
        ledger
    }

    /// Takes one more event into account.
    pub fn note(&mut self, body: &EventBody) {
        match body {
            EventBody::StepStarted { step, key, .. } => {
                let first = match self.open.get(key) {
                    Some(OpenEffect::Begun { step, .. }) => *step,
                    _ => *step,
                };
                let arguments = self.edited(key);
                self.open.insert(key.clone(), OpenEffect::Begun { step: first, arguments });
            }
            EventBody::StepEnded { key, .. } => {
                self.open.remove(key);
            }
            EventBody::ApprovalAsked { approval, key, question, expires_at } => {
                let (approval, question, expires_at) = (*approval, question.clone(), *expires_at);
                let asked = OpenEffect::Asked { approval, question, expires_at };
                self.open.insert(key.clone(), asked);
            }
            EventBody::ApprovalAnswered { key, decision, .. } => {
                let arguments = match decision {
                    Decision::Edit { arguments } => Some(arguments.clone()),
                    _ => self.edited(key),
                };
                self.open.insert(key.clone(), OpenEffect::Answered { decision: decision.clone(), arguments });
            }
            EventBody::PauseAsked { .. } => self.is_paused = true,
            EventBody::Resumed { .. } => self.is_paused = false,
            _ => {}
        }
    }

    /// The arguments of an effect, when a person has changed them.
    fn edited(&self, key: &EffectKey) -> Option<Value> {
        match self.open.get(key)? {
            OpenEffect::Begun { arguments, .. } | OpenEffect::Answered { arguments, .. } => arguments.clone(),
            // What is in doubt is asked about with the arguments that it was made with.
            OpenEffect::Asked { question: Question::InDoubt { arguments, .. }, .. } => {
                Some(arguments.clone())
            }
            OpenEffect::Asked { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::effects::{EffectOutcome, EffectRequest, ToolRequest};
    use crate::ids::UserId;
    use crate::runs::StepKind;
    use crate::tools::ToolOutput;

    fn journal(bodies: Vec<(i64, EventBody)>) -> Vec<RunEvent> {
        let at = |second| DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap();
        (1..).zip(bodies).map(|(seq, (second, body))| RunEvent { seq, at: at(second), body }).collect()
    }

    fn key() -> EffectKey {
        "0".parse().unwrap()
    }

    fn step() -> StepId {
        StepId::from_uuid(Uuid::nil())
    }

    fn begun() -> EventBody {
        EventBody::StepStarted {
            step: step(),
            key: key(),
            kind: StepKind::Tool { name: "pay".into() },
            fingerprint: None,
            reservation: None,
        }
    }

    fn question() -> Question {
        Question::InDoubt { name: "pay".into(), arguments: json!({}) }
    }

    fn asked() -> EventBody {
        let approval = ApprovalId::from_uuid(Uuid::nil());
        EventBody::ApprovalAsked {
            approval,
            key: key(),
            question: question(),
            expires_at: DateTime::UNIX_EPOCH,
        }
    }

    fn answered(decision: Decision) -> EventBody {
        let approval = ApprovalId::from_uuid(Uuid::nil());
        EventBody::ApprovalAnswered { approval, key: key(), decision, by: None }
    }

    fn ended() -> EventBody {
        let request = ToolRequest::new("pay", json!({}));
        EventBody::StepEnded {
            key: key(),
            fingerprint: EffectRequest::Tool(request).fingerprint(),
            outcome: EffectOutcome::Tool(ToolOutput::ok("paid")),
        }
    }

    fn open(bodies: Vec<EventBody>) -> Option<OpenEffect> {
        let events = journal(bodies.into_iter().map(|body| (0, body)).collect());
        Ledger::of(&events).open.remove(&key())
    }

    #[test]
    fn the_last_word_on_an_effect_counts() {
        assert_eq!(open(vec![begun()]), Some(OpenEffect::Begun { step: step(), arguments: None }));
        assert_eq!(open(vec![begun(), ended()]), None);
        assert!(matches!(open(vec![begun(), asked()]), Some(OpenEffect::Asked { .. })));
        let approved = vec![begun(), asked(), answered(Decision::Approve)];
        let arguments = Some(json!({}));
        let decision = Decision::Approve;
        let expected = OpenEffect::Answered { decision, arguments: arguments.clone() };
        assert_eq!(open(approved.clone()), Some(expected));
        // It was made again, and again nobody knows.
        assert_eq!(
            open([approved, vec![begun()]].concat()),
            Some(OpenEffect::Begun { step: step(), arguments })
        );
    }

    #[test]
    fn what_a_person_has_changed_stays_changed() {
        let edited = json!({"amount": 4});
        let edit = answered(Decision::Edit { arguments: edited.clone() });
        assert_eq!(
            open(vec![asked(), edit, begun()]),
            Some(OpenEffect::Begun { step: step(), arguments: Some(edited) })
        );
    }

    #[test]
    fn a_pause_lasts_until_somebody_resumes() {
        let by = UserId::from_uuid(Uuid::nil());
        let pause = (0, EventBody::PauseAsked { by });
        assert!(Ledger::of(&journal(vec![pause.clone()])).is_paused);
        assert!(!Ledger::of(&journal(vec![pause, (1, EventBody::Resumed { by })])).is_paused);
    }

    #[test]
    fn time_is_waited_from_the_wait_to_what_follows() {
        let waiting = || EventBody::Waiting { reason: "approval".into() };
        let events = journal(vec![
            (0, EventBody::Started { attempt: 1 }),
            (10, waiting()),
            (40, answered(Decision::Approve)),
            (45, EventBody::Started { attempt: 2 }),
            (50, waiting()),
        ]);
        assert_eq!(Ledger::of(&events).waited, TimeDelta::seconds(30));
    }
}
