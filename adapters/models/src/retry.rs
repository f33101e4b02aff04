//! When a call is tried again: exponential back-off with full jitter, or when the provider says.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::HeaderValue;

/// How often a call is tried, and how long is waited between.
#[derive(Clone, Copy, Debug)]
pub struct Retries {
    /// Attempts in all; 1 is no retry.
    pub attempts: u32,
    /// The longest pause after the first attempt; it doubles with each.
    pub base: Duration,
    /// The longest pause, also one that the provider asks for: who must wait longer is told so.
    pub cap: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self { attempts: 4, base: Duration::from_millis(500), cap: Duration::from_secs(20) }
    }
}

impl Retries {
    /// How long to wait after so many attempts; nothing when it is enough.
    pub(crate) fn pause(&self, attempts: u32, retry_after: Option<Duration>) -> Option<Duration> {
        if attempts >= self.attempts {
            return None;
        }
        match retry_after {
            Some(asked) if asked > self.cap => None,
            Some(asked) => Some(asked),
            None => {
                let doubled = self.base.saturating_mul(1 << (attempts - 1).min(16));
                Some(doubled.min(self.cap).mul_f64(fastrand::f64()))
            }
        }
    }
}

/// `Retry-After` (RFC 9110 §10.2.3): seconds, or a date.
pub(crate) fn after(value: &HeaderValue) -> Option<Duration> {
    from_text(value.to_str().ok()?.trim(), Utc::now())
}

fn from_text(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    Some((date.with_timezone(&Utc) - now).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_within_bounds_and_end() {
        let retries = Retries::default();
        for (attempts, longest) in [(1, 500), (2, 1_000), (3, 2_000)] {
            for _ in 0..100 {
                assert!(retries.pause(attempts, None).unwrap() <= Duration::from_millis(longest));
            }
        }
        assert_eq!(retries.pause(4, None), None);
        let patient = Retries { attempts: u32::MAX, ..retries };
        assert!(patient.pause(u32::MAX - 1, None).unwrap() <= retries.cap);
    }

    #[test]
    fn the_provider_is_heard_unless_it_asks_for_too_long() {
        let retries = Retries::default();
        assert_eq!(retries.pause(1, Some(Duration::from_secs(3))), Some(Duration::from_secs(3)));
        assert_eq!(retries.pause(1, Some(Duration::from_secs(21))), None);
    }

    #[test]
    fn retry_after_has_two_forms() {
        let now = DateTime::parse_from_rfc2822("Wed, 21 Oct 2015 07:28:00 GMT").unwrap().with_timezone(&Utc);
        assert_eq!(from_text("120", now), Some(Duration::from_mins(2)));
        assert_eq!(from_text("Wed, 21 Oct 2015 07:28:30 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(from_text("Wed, 21 Oct 2015 07:27:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(from_text("soon", now), None);
    }
}
