//! A circuit breaker: whoever fails again and again is left alone for a while, then asked once whether it is better.
//!
//! After Nygard, "Release It!" (2007): closed, open, and half-open while one call tries.

use chrono::{DateTime, TimeDelta, Utc};

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// So many failures in a row; 0 never opens it.
    pub failures: u32,
    /// Within so long.
    pub window: TimeDelta,
    /// For so long nobody is let through.
    pub cool_down: TimeDelta,
}

/// Whether calls are let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// All of them.
    Closed,
    /// None.
    Open,
    /// One, to see.
    HalfOpen,
}

/// A breaker.
#[derive(Clone, Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// With the failures since the last success, the first of them first.
    Closed(Vec<DateTime<Utc>>),
    Open {
        until: DateTime<Utc>,
    },
    /// One is on its way; should nobody say what became of it, another may try then.
    HalfOpen {
        until: DateTime<Utc>,
    },
}

impl Breaker {
    /// One that is closed.
    pub const fn new(settings: BreakerSettings) -> Self {
        Self { settings, state: State::Closed(Vec::new()) }
    }

    /// Lets a call through, or says for how long none will be.
    pub fn admit(&mut self, now: DateTime<Utc>) -> Result<(), TimeDelta> {
        match self.state {
            State::Closed(_) => Ok(()),
            State::Open { until } | State::HalfOpen { until } if now < until => Err(until - now),
            State::Open { .. } | State::HalfOpen { .. } => {
                self.state = State::HalfOpen { until: now + self.settings.cool_down };
                Ok(())
            }
        }
    }

    /// A call went well.
    pub fn succeeded(&mut self) {
        self.state = State::Closed(Vec::new());
    }

    /// A call failed.
    pub fn failed(&mut self, now: DateTime<Utc>) {
        let opened = State::Open { until: now + self.settings.cool_down };
        match &mut self.state {
            State::Closed(failures) => {
                failures.retain(|at| now - *at < self.settings.window);
                failures.push(now);
                let most = usize::try_from(self.settings.failures).unwrap_or(usize::MAX);
                if most == 0 {
                    failures.clear();
                } else if failures.len() >= most {
                    self.state = opened;
                }
            }
            State::HalfOpen { .. } => self.state = opened,
            // It was begun before the others had failed.
            State::Open { .. } => {}
        }
    }

    /// Whether it is closed, and nothing has failed within the window.
    pub fn is_spotless(&self, now: DateTime<Utc>) -> bool {
        let counts = |at: &DateTime<Utc>| now - *at < self.settings.window;
        matches!(&self.state, State::Closed(failures) if !failures.iter().any(counts))
    }

    /// Where it is now.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Closed(_) => Phase::Closed,
            State::Open { .. } => Phase::Open,
            State::HalfOpen { .. } => Phase::HalfOpen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: BreakerSettings =
        BreakerSettings { failures: 3, window: TimeDelta::seconds(60), cool_down: TimeDelta::seconds(30) };

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap()
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::new(SETTINGS);
        for second in 0..3 {
            assert_eq!(breaker.admit(at(second)), Ok(()));
            breaker.failed(at(second));
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_within_the_window_open_it() {
        assert_eq!(opened().phase(), Phase::Open);
        let mut breaker = Breaker::new(SETTINGS);
        for second in [0, 1, 61, 62] {
            breaker.failed(at(second));
            assert_eq!(breaker.phase(), Phase::Closed, "{second}");
        }
        assert!(!breaker.is_spotless(at(62)) && breaker.is_spotless(at(122)));
        breaker.succeeded();
        assert!(breaker.is_spotless(at(62)));
        breaker.failed(at(63));
        breaker.failed(at(64));
        assert_eq!(breaker.phase(), Phase::Closed, "a success is the end of the row");
    }

    #[test]
    fn after_a_while_one_call_tries() {
        let mut breaker = opened();
        assert_eq!(breaker.admit(at(31)), Err(TimeDelta::seconds(1)));
        assert_eq!(breaker.admit(at(32)), Ok(()));
        assert_eq!((breaker.phase(), breaker.admit(at(33))), (Phase::HalfOpen, Err(TimeDelta::seconds(29))));
        breaker.failed(at(34));
        assert_eq!(breaker.admit(at(63)), Err(TimeDelta::seconds(1)));
        assert_eq!(breaker.admit(at(64)), Ok(()));
        breaker.succeeded();
        assert_eq!((breaker.phase(), breaker.admit(at(64))), (Phase::Closed, Ok(())));
    }

    #[test]
    fn a_try_that_nobody_hears_of_is_followed_by_another() {
        let mut breaker = opened();
        assert_eq!(breaker.admit(at(32)), Ok(()));
        assert_eq!(breaker.admit(at(62)), Ok(()));
        assert!(breaker.admit(at(63)).is_err());
    }

    #[test]
    fn what_was_begun_before_does_not_keep_it_open_for_longer() {
        let mut breaker = opened();
        breaker.failed(at(20));
        assert_eq!(breaker.admit(at(32)), Ok(()));
        let mut never = Breaker::new(BreakerSettings { failures: 0, ..SETTINGS });
        (0..100).for_each(|second| never.failed(at(second)));
        assert_eq!(never.phase(), Phase::Closed);
    }
}
