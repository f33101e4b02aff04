//! A run's journal: what happened, in order. It is what a resumed run is fed from, what readers are shown live,
//! and what the steps are folded from; there is no second record that could disagree (ADR 0010).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Decision, Question, Step, StepKind};
use crate::effects::{EffectKey, EffectOutcome, Fingerprint, JournalEntry};
use crate::ids::{ApprovalId, RunId, StepId, UserId};
use crate::model::Channel;
use crate::money::Reservation;
use crate::threads::Conversation;
use crate::tools::ToolSpec;

/// Something that happened to a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum EventBody {
    /// It was accepted.
    Queued,
    /// A worker began it, or took it over from one that was lost.
    Started {
        /// Counts from 1.
        attempt: u32,
    },
    /// An effect is about to be performed.
    StepStarted {
        /// The step's id.
        step: StepId,
        /// Where the strategy asked for it.
        key: EffectKey,
        /// What it does.
        kind: StepKind,
        /// What is asked for, as a hash; older journals have none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fingerprint: Option<Fingerprint>,
        /// What was set aside for it, for a model call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reservation: Option<Reservation>,
    },
    /// A piece of a model's text. Not part of the result: a resumed run may say the same again.
    TextDelta {
        /// The effect that the text comes from.
        key: EffectKey,
        /// Who it is meant for.
        channel: Channel,
        /// The text.
        text: String,
    },
    /// An effect has its outcome. It is never performed again.
    StepEnded {
        /// Where the strategy asked for it.
        key: EffectKey,
        /// What it asked for, as a hash.
        fingerprint: Fingerprint,
        /// What came of it.
        outcome: EffectOutcome,
    },
    /// A person is asked before an effect is performed, or what became of one.
    ApprovalAsked {
        /// The question's id.
        approval: ApprovalId,
        /// The effect.
        key: EffectKey,
        /// What is asked.
        question: Question,
        /// Until when an answer counts.
        expires_at: DateTime<Utc>,
    },
    /// A question has its answer.
    ApprovalAnswered {
        /// The question's id.
        approval: ApprovalId,
        /// The effect.
        key: EffectKey,
        /// What was said.
        decision: Decision,
        /// By whom; by nobody, when the time was over.
        by: Option<UserId>,
    },
    /// Somebody wants it to stand still: what is under way ends, and nothing is begun.
    PauseAsked {
        /// Who.
        by: UserId,
    },
    /// Somebody lets it go on.
    Resumed {
        /// Who.
        by: UserId,
    },
    /// It was made from another run, whose outcomes up to a step it has.
    Forked {
        /// The other run.
        from: RunId,
        /// The first step that is not taken over.
        step: EffectKey,
    },
    /// The tools that it is offered, as they are described from now on, whatever becomes of their declarations.
    ToolsOffered {
        /// The tools.
        tools: Vec<ToolSpec>,
    },
    /// What was said in its thread before it, as it sees it from now on, whatever becomes of the thread.
    ConversationShown {
        /// What was said.
        conversation: Conversation,
    },
    /// It waits for something outside.
    Waiting {
        /// For what, in a sentence.
        reason: String,
    },
    /// It has its answer.
    Succeeded {
        /// The answer.
        answer: String,
    },
    /// It has none.
    Failed {
        /// Stable, for programs.
        code: String,
        /// For people.
        message: String,
    },
    /// Somebody stopped it.
    Cancelled,
    /// Its time was over.
    TimedOut,
}

impl EventBody {
    /// Whether no event follows.
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Succeeded { .. } | Self::Failed { .. } | Self::Cancelled | Self::TimedOut)
    }

    /// Whether the run is further than before: what is left would be done again by whoever takes it over.
    pub const fn is_progress(&self) -> bool {
        matches!(self, Self::StepEnded { .. } | Self::Waiting { .. }) || self.is_final()
    }

    /// The event's name, as readers see it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Queued => "run.queued",
            Self::Started { .. } => "run.started",
            Self::StepStarted { .. } => "step.started",
            Self::TextDelta { .. } => "step.delta",
            Self::StepEnded { .. } => "step.ended",
            Self::ApprovalAsked { .. } => "approval.asked",
            Self::ApprovalAnswered { .. } => "approval.answered",
            Self::PauseAsked { .. } => "run.pause_asked",
            Self::Resumed { .. } => "run.resumed",
            Self::Forked { .. } => "run.forked",
            Self::ToolsOffered { .. } => "run.tools_offered",
            Self::ConversationShown { .. } => "run.conversation_shown",
            Self::Waiting { .. } => "run.waiting",
            Self::Succeeded { .. } => "run.succeeded",
            Self::Failed { .. } => "run.failed",
            Self::Cancelled => "run.cancelled",
            Self::TimedOut => "run.timed_out",
        }
    }
}

impl From<JournalEntry> for EventBody {
    fn from(entry: JournalEntry) -> Self {
        let JournalEntry { key, fingerprint, outcome } = entry;
        Self::StepEnded { key, fingerprint, outcome }
    }
}

/// One line of a run's journal.
#[derive(Clone, Debug, PartialEq)]
pub struct RunEvent {
    /// Its place: 1, 2, 3, … without gaps.
    pub seq: u64,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// What happened.
    pub body: EventBody,
}

/// The tools that a run was offered, where its journal says so.
pub fn offered(events: &[RunEvent]) -> Option<&[ToolSpec]> {
    events.iter().find_map(|event| match &event.body {
        EventBody::ToolsOffered { tools } => Some(tools.as_slice()),
        _ => None,
    })
}

/// What was said before a run, where its journal says so.
pub fn conversation(events: &[RunEvent]) -> Option<&Conversation> {
    events.iter().find_map(|event| match &event.body {
        EventBody::ConversationShown { conversation } => Some(conversation),
        _ => None,
    })
}

/// The outcomes among the events, for [`crate::effects::Execution::start`].
pub fn settled(events: impl IntoIterator<Item = RunEvent>) -> Vec<JournalEntry> {
    events
        .into_iter()
        .filter_map(|event| match event.body {
            EventBody::StepEnded { key, fingerprint, outcome } => {
                Some(JournalEntry { key, fingerprint, outcome })
            }
            _ => None,
        })
        .collect()
}

/// The steps that the events tell of, in the order of their beginning. A step that was begun again after a crash
/// is one step, with its first beginning.
pub fn steps(events: impl IntoIterator<Item = RunEvent>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for event in events {
        match event.body {
            EventBody::StepStarted { step, key, kind, .. }
                if !steps.iter().any(|known| *known.key() == key) =>
            {
                steps.push(Step::restore(step, key, kind, event.at, super::StepState::Running));
            }
            EventBody::StepEnded { key, outcome, .. } => {
                if let Some(step) = steps.iter_mut().find(|known| *known.key() == key) {
                    step.settle(outcome, event.at);
                }
            }
            _ => {}
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::effects::{EffectRequest, ToolRequest};
    use crate::runs::StepState;
    use crate::tools::ToolOutput;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap()
    }

    fn started(step: u128, key: &str) -> EventBody {
        EventBody::StepStarted {
            step: StepId::from_uuid(Uuid::from_u128(step)),
            key: key.parse().unwrap(),
            kind: StepKind::Tool { name: "calculator".into() },
            fingerprint: None,
            reservation: None,
        }
    }

    fn ended(key: &str, content: &str) -> EventBody {
        let request = ToolRequest::new("calculator", serde_json::json!({}));
        JournalEntry {
            key: key.parse().unwrap(),
            fingerprint: EffectRequest::Tool(request).fingerprint(),
            outcome: EffectOutcome::Tool(ToolOutput::ok(content)),
        }
        .into()
    }

    fn journal(bodies: Vec<EventBody>) -> Vec<RunEvent> {
        (1..)
            .zip(bodies)
            .map(|(seq, body)| RunEvent { seq, at: at(i64::try_from(seq).unwrap()), body })
            .collect()
    }

    #[test]
    fn steps_are_folded_in_order_and_a_restarted_one_is_one_step() {
        let events = journal(vec![
            EventBody::Queued,
            EventBody::Started { attempt: 1 },
            started(1, "0"),
            started(2, "1"),
            ended("1", "b"),
            EventBody::Started { attempt: 2 },
            started(3, "0"),
            ended("0", "a"),
            EventBody::Succeeded { answer: "ab".into() },
        ]);
        let steps = steps(events.clone());
        let seen: Vec<_> = steps.iter().map(|step| (step.key().to_string(), step.started_at())).collect();
        assert_eq!(seen, [("0".to_owned(), at(3)), ("1".to_owned(), at(4))]);
        assert!(steps.iter().all(|step| matches!(step.state(), StepState::Ended { .. })));
        let keys: Vec<_> = settled(events).iter().map(|entry| entry.key.to_string()).collect();
        assert_eq!(keys, ["1", "0"]);
    }

    #[test]
    fn an_event_survives_its_stored_form() {
        for event in journal(vec![started(1, "0.2"), ended("0.2", "x"), EventBody::Cancelled]) {
            let stored = serde_json::to_string(&event.body).unwrap();
            assert_eq!(serde_json::from_str::<EventBody>(&stored).unwrap(), event.body, "{stored}");
        }
    }

    #[test]
    fn only_an_end_is_final() {
        assert!(EventBody::TimedOut.is_final() && EventBody::Cancelled.is_final());
        assert!(!EventBody::Queued.is_final() && !started(1, "0").is_final());
    }
}
