//! How the queue treats a run: how urgent it is, when it may begin, and by when it must have ended.

use chrono::{DateTime, Utc};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_is_zero_to_nine() {
        assert_eq!(Priority::new(9).map(Priority::get), Ok(9));
        assert_eq!(Priority::new(10), Err(InvalidPriority));
        assert!(Priority::default() < Priority::new(1).unwrap());
    }
}
