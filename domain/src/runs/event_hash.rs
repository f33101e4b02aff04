//! The event hash: what a run did, in 32 bytes. Two journals have the same one exactly when the same was asked, the same
//! came of it and the runs ended in the same way, in the same order; when and where it happened is not in it.

use std::fmt;
use std::str::FromStr;

use serde_json::{Number, Value, json};
use sha2::{Digest, Sha256};

use super::{EventBody, RunEvent};

/// What a chain begins with, so that no hash of anything else is one.
const BEGINNING: &[u8] = b"powerhouse event hash 1";

/// A running SHA-256: each event that counts is hashed with the hash before it, so the first difference between two journals
/// is where their chains part.
///
/// What counts: outcomes of effects (`step.ended`: key, fingerprint of the request, outcome), what people have decided
/// (`approval.answered`: key and decision), and the end. What does not: times, ids of steps, approvals and users,
/// attempts, reservations, pieces of text, and what was begun and came to nothing.
///
/// It is no signature: whoever changes a journal can compute it anew.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EventHash([u8; 32]);

impl EventHash {
    /// Of a journal in which nothing has happened yet.
    pub fn start() -> Self {
        Self(Sha256::digest(BEGINNING).into())
    }

    /// With one more event; the same as before when that does not count.
    #[must_use]
    pub fn then(self, event: &EventBody) -> Self {
        let Some(mut counted) = counted(event) else { return self };
        counted.sort_all_objects();
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(steady(&counted).to_string().as_bytes());
        Self(hash.finalize().into())
    }

    /// Of a whole journal.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a RunEvent>) -> Self {
        events.into_iter().fold(Self::start(), |hash, event| hash.then(&event.body))
    }
}

/// What of an event is hashed.
fn counted(event: &EventBody) -> Option<Value> {
    let name = event.name();
    match event {
        EventBody::StepEnded { key, fingerprint, outcome } => {
            Some(json!({"event": name, "key": key, "fingerprint": fingerprint, "outcome": outcome}))
        }
        EventBody::ApprovalAnswered { key, decision, .. } => {
            Some(json!({"event": name, "key": key, "decision": decision}))
        }
        EventBody::Succeeded { answer } => Some(json!({"event": name, "answer": answer})),
        EventBody::Failed { code, message } => Some(json!({"event": name, "code": code, "message": message})),
        EventBody::Cancelled | EventBody::TimedOut => Some(json!({ "event": name })),
        EventBody::Queued
        | EventBody::Started { .. }
        | EventBody::StepStarted { .. }
        | EventBody::TextDelta { .. }
        | EventBody::ApprovalAsked { .. }
        | EventBody::PauseAsked { .. }
        | EventBody::Resumed { .. }
        | EventBody::Forked { .. }
        | EventBody::ToolsOffered { .. }
        | EventBody::ConversationShown { .. }
        | EventBody::Waiting { .. } => None,
    }
}

/// The same JSON with fractions in single precision. The last digits of a fraction may change when JSON is written and read
/// again, and arguments are read as often as they are stored or sent.
pub(super) fn steady(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => {
            #[expect(clippy::cast_possible_truncation, reason = "that is what it is for")]
            let single = number.as_f64().map(|fraction| fraction as f32);
            single.map_or(Value::Null, |single| {
                Number::from_f64(single.into()).map_or(Value::Null, Value::from)
            })
        }
        Value::Array(items) => items.iter().map(steady).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), steady(value))).collect(),
        other => other.clone(),
    }
}

impl fmt::Display for EventHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for EventHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not an event hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event hash is 64 hexadecimal digits")]
pub struct InvalidEventHash;

impl FromStr for EventHash {
    type Err = InvalidEventHash;

    fn from_str(text: &str) -> Result<Self, InvalidEventHash> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(InvalidEventHash);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16).ok_or(InvalidEventHash);
            *byte = u8::try_from(digit(0)? * 16 + digit(1)?).map_err(|_| InvalidEventHash)?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::effects::{EffectOutcome, EffectRequest, JournalEntry, ToolRequest};
    use crate::ids::{ApprovalId, StepId, UserId};
    use crate::model::Channel;
    use crate::runs::{Decision, StepKind};
    use crate::tools::ToolOutput;

    fn ended(key: &str, output: &str) -> EventBody {
        let request = EffectRequest::Tool(ToolRequest::new("t", json!({})));
        let (key, fingerprint) = (key.parse().unwrap(), request.fingerprint());
        JournalEntry { key, fingerprint, outcome: EffectOutcome::Tool(ToolOutput::ok(output)) }.into()
    }

    fn of(bodies: &[EventBody]) -> EventHash {
        bodies.iter().fold(EventHash::start(), EventHash::then)
    }

    fn edited(amount: f64, by: Option<UserId>, approval: u128) -> EventBody {
        EventBody::ApprovalAnswered {
            approval: ApprovalId::from_uuid(Uuid::from_u128(approval)),
            key: "0".parse().unwrap(),
            decision: Decision::Edit { arguments: json!({ "amount": amount }) },
            by,
        }
    }

    /// Journals are kept: the hash of what is written there must not change with a release.
    #[test]
    fn it_stays_what_it_was() {
        let journal = [edited(0.5, None, 1), ended("0", "1"), EventBody::Succeeded { answer: "1".into() }];
        assert_eq!(
            of(&journal).to_string(),
            "a9ffa6d71f6abb5d898ca5ae8842f87e222dc42f03735d0e85b3296ad3d10771"
        );
        assert_eq!(of(&journal).to_string().parse(), Ok(of(&journal)));
        for text in ["", "x", &"g".repeat(64), &"0".repeat(63), &"é".repeat(32)] {
            assert_eq!(text.parse::<EventHash>(), Err(InvalidEventHash));
        }
    }

    #[test]
    fn every_word_that_counts_and_its_place_change_it() {
        let journals = [
            vec![],
            vec![ended("0", "a")],
            vec![ended("0", "b")],
            vec![ended("1", "a")],
            vec![ended("0", "a"), ended("1", "a")],
            vec![ended("1", "a"), ended("0", "a")],
            vec![ended("0", "a"), EventBody::Cancelled],
            vec![ended("0", "a"), EventBody::TimedOut],
            vec![EventBody::Succeeded { answer: "a".into() }],
            vec![EventBody::Failed { code: "a".into(), message: "b".into() }],
            vec![EventBody::Failed { code: "b".into(), message: "a".into() }],
            vec![edited(1.5, None, 1)],
            vec![edited(2.5, None, 1)],
        ];
        for (index, one) in journals.iter().enumerate() {
            for other in &journals[index + 1..] {
                assert_ne!(of(one), of(other), "{one:?} {other:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn when_where_and_by_whom_do_not_count(
            noise in prop::collection::vec((0_usize..6, any::<prop::sample::Index>()), 0..9),
            seconds in 0_i64..1_000_000,
        ) {
            let by = UserId::from_uuid(Uuid::from_u128(1));
            let mut bodies = vec![edited(0.1, None, 1), ended("0", "a"), EventBody::TimedOut];
            let expected = of(&bodies);
            bodies[0] = edited(0.1, Some(by), 2);
            for (kind, at) in noise {
                let key = "0".parse().unwrap();
                let body = match kind {
                    0 => EventBody::Queued,
                    1 => EventBody::Started { attempt: 3 },
                    2 => EventBody::TextDelta { key, channel: Channel::Answer, text: "t".into() },
                    3 => EventBody::PauseAsked { by },
                    4 => EventBody::Waiting { reason: "r".into() },
                    _ => EventBody::StepStarted {
                        step: StepId::from_uuid(Uuid::nil()),
                        key,
                        kind: StepKind::Tool { name: "t".into() },
                        fingerprint: None,
                        reservation: None,
                    },
                };
                bodies.insert(at.index(bodies.len() + 1), body);
            }
            let at = DateTime::from_timestamp(seconds, 0).unwrap();
            let events: Vec<_> = (1..).zip(bodies).map(|(seq, body)| RunEvent { seq, at, body }).collect();
            prop_assert_eq!(EventHash::of(&events), expected);
        }

        /// Whatever the last digits of a fraction become on the way.
        #[test]
        fn writing_and_reading_does_not_change_it(amount in prop::num::f64::NORMAL) {
            let event = edited(amount, None, 1);
            let read: EventBody = serde_json::from_str(&serde_json::to_string(&event).unwrap()).unwrap();
            prop_assert_eq!(of(&[read]), of(&[event]));
        }
    }
}
