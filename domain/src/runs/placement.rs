//! How the queue treats a run: how urgent it is, when it may begin, and by when it must have ended.

use chrono::{DateTime, TimeDelta, Utc};

/// How urgent a run is among its tenant's: 0, the usual, to 9, the most urgent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority(u8);

/// A priority out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a priority is a whole number from 0 to {}", Priority::MAX)]
pub struct InvalidPriority;

impl Priority {
    /// The most urgent.
    pub const MAX: u8 = 9;

    /// Checks a number.
    pub const fn new(number: u8) -> Result<Self, InvalidPriority> {
        if number <= Self::MAX { Ok(Self(number)) } else { Err(InvalidPriority) }
    }

    /// The number.
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// How the queue treats a run. The default: as usual, at once, with no deadline but the run's own limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// How urgent it is among its tenant's runs.
    pub priority: Priority,
    /// When it may begin; at once when there is none.
    pub not_before: Option<DateTime<Utc>>,
    /// When it is timed out, whatever it is doing or waiting for.
    pub deadline: Option<DateTime<Utc>>,
    /// How many runs of its agent may be worked on at the same time, this one included.
    pub agent_limit: Option<u32>,
}

/// Why a run cannot be placed like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlacement {
    /// It would begin too far ahead.
    #[error("not_before is at most {} days ahead", Placement::MAX_AHEAD.num_days())]
    TooFar,
    /// Its time is over already.
    #[error("the deadline must be in the future")]
    Passed,
    /// Its time would be over before it begins.
    #[error("the deadline must be after not_before")]
    NoTime,
}

impl Placement {
    /// How far ahead a run may be put off. The journal's months cannot go before such a run has ended.
    pub const MAX_AHEAD: TimeDelta = TimeDelta::days(366);

    /// Checks a placement that is asked for now.
    pub fn check(&self, now: DateTime<Utc>) -> Result<(), InvalidPlacement> {
        if self.not_before.is_some_and(|start| start - now > Self::MAX_AHEAD) {
            return Err(InvalidPlacement::TooFar);
        }
        match (self.deadline, self.not_before) {
            (Some(deadline), _) if deadline <= now => Err(InvalidPlacement::Passed),
            (Some(deadline), Some(start)) if deadline <= start => Err(InvalidPlacement::NoTime),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_in_the_future_and_after_the_start() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let placed = |not_before: Option<i64>, deadline: Option<i64>| {
            let at = |seconds| now + TimeDelta::seconds(seconds);
            let placement = Placement {
                not_before: not_before.map(at),
                deadline: deadline.map(at),
                ..Placement::default()
            };
            placement.check(now)
        };
        for (not_before, deadline) in [(None, None), (Some(-5), None), (Some(5), Some(6)), (None, Some(1))] {
            assert_eq!(placed(not_before, deadline), Ok(()), "{not_before:?} {deadline:?}");
        }
        assert_eq!(placed(None, Some(0)), Err(InvalidPlacement::Passed));
        assert_eq!(placed(Some(5), Some(5)), Err(InvalidPlacement::NoTime));
        let year = Placement::MAX_AHEAD.num_seconds();
        assert_eq!(placed(Some(year), None), Ok(()));
        assert_eq!(placed(Some(year + 1), None), Err(InvalidPlacement::TooFar));
    }

    #[test]
    fn a_priority_is_zero_to_nine() {
        assert_eq!(Priority::new(9).map(Priority::get), Ok(9));
        assert_eq!(Priority::new(10), Err(InvalidPriority));
        assert!(Priority::default() < Priority::new(1).unwrap());
    }
}
