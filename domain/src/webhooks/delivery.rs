//! Deliveries: one announcement on its way to one endpoint, tried until it arrives or has been tried often enough.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};

use super::Announced;
use crate::ids::{MessageId, RunId, WebhookId};

/// The answer that says that nobody is there any more, and will not be.
const GONE: u16 = 410;

/// The pauses after the first attempt, the second, and so on. After the last one there is no further attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retries(Vec<Duration>);

/// Pauses out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at most 20 pauses of at most 7 days")]
pub struct InvalidRetries;

impl Retries {
    /// Checks pauses.
    pub fn new(pauses: Vec<Duration>) -> Result<Self, InvalidRetries> {
        let is_good = pauses.len() <= 20 && pauses.iter().all(|pause| *pause <= Duration::from_hours(7 * 24));
        if is_good { Ok(Self(pauses)) } else { Err(InvalidRetries) }
    }

    /// How many attempts there are in all.
    pub fn attempts(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// When it is tried again after so many attempts: a tenth sooner or later than the pause says, so that what failed
    /// at the same time does not come back at the same time. Which of it follows from the delivery.
    fn after(&self, attempts: u32, delivery: &Delivery, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let index = usize::try_from(attempts.checked_sub(1)?).ok()?;
        let pause = self.0.get(index)?;
        let mut hash = Sha256::new();
        hash.update(delivery.parts.webhook.as_uuid().as_bytes());
        hash.update(delivery.parts.message.as_uuid().as_bytes());
        hash.update(attempts.to_be_bytes());
        let spread = f64::from(hash.finalize()[0]) / f64::from(u8::MAX);
        let pause = TimeDelta::from_std(pause.mul_f64(0.9 + 0.2 * spread)).ok()?;
        now.checked_add_signed(pause)
    }
}

/// Where a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// It will be tried.
    Pending {
        /// When.
        next_at: DateTime<Utc>,
    },
    /// It has arrived.
    Delivered {
        /// When.
        at: DateTime<Utc>,
    },
    /// It is not tried any more.
    Dead {
        /// Since when.
        at: DateTime<Utc>,
    },
}

impl DeliveryState {
    /// The state's name, as it is stored and shown.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pending { .. } => "pending",
            Self::Delivered { .. } => "delivered",
            Self::Dead { .. } => "dead",
        }
    }
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When it ended.
    pub at: DateTime<Utc>,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// The beginning of the answer's body, or what went wrong.
    pub note: String,
}

/// An announcement on its way to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    parts: DeliveryParts,
}

/// Every field of a [`Delivery`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryParts {
    /// The endpoint.
    pub webhook: WebhookId,
    /// The announcement.
    pub message: MessageId,
    /// What happened.
    pub event: Announced,
    /// To which run.
    pub run: Option<RunId>,
    /// What is sent.
    pub payload: String,
    /// How often it was tried. Only grows, so that it tells attempts apart.
    pub attempts: u32,
    /// How many of them were before it was last replayed.
    pub before: u32,
    /// Where it is.
    pub state: DeliveryState,
    /// The last attempt.
    pub last: Option<Attempt>,
    /// When it happened.
    pub created_at: DateTime<Utc>,
}

/// A delivery that is still under way is not sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the delivery is still under way")]
pub struct NotDead;

impl Delivery {
    /// Loads a delivery that was stored.
    pub const fn restore(parts: DeliveryParts) -> Self {
        Self { parts }
    }

    /// Its fields.
    pub const fn parts(&self) -> &DeliveryParts {
        &self.parts
    }

    /// After an attempt: arrived, to be tried again, or dead.
    #[must_use]
    pub fn attempted(mut self, attempt: Attempt, retries: &Retries) -> Self {
        let now = attempt.at;
        self.parts.state = match attempt.status {
            Some(200..=299) => DeliveryState::Delivered { at: now },
            Some(GONE) => DeliveryState::Dead { at: now },
            _ => match retries.after(self.parts.attempts.saturating_sub(self.parts.before), &self, now) {
                Some(next_at) => DeliveryState::Pending { next_at },
                None => DeliveryState::Dead { at: now },
            },
        };
        self.parts.last = Some(attempt);
        self
    }

    /// Given up without an attempt; why, in a sentence.
    #[must_use]
    pub fn given_up(mut self, why: &str, now: DateTime<Utc>) -> Self {
        self.parts.state = DeliveryState::Dead { at: now };
        self.parts.last = Some(Attempt { at: now, status: None, note: why.to_owned() });
        self
    }

    /// Whether the endpoint said in this attempt that it is gone.
    pub fn is_gone(&self) -> bool {
        self.parts.last.as_ref().is_some_and(|last| last.status == Some(GONE))
    }

    /// On its way once more, with all attempts before it.
    pub fn replay(mut self, now: DateTime<Utc>) -> Result<Self, NotDead> {
        match self.parts.state {
            DeliveryState::Pending { .. } => Err(NotDead),
            DeliveryState::Delivered { .. } | DeliveryState::Dead { .. } => {
                self.parts.state = DeliveryState::Pending { next_at: now };
                self.parts.before = self.parts.attempts;
                Ok(self)
            }
        }
    }
}
