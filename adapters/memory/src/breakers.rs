//! Circuit breakers in the process.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use powerhouse_domain::breaker::{Breaker, BreakerSettings, Phase};
use powerhouse_ports::limits::{Breakers, CircuitId, Passage};

/// The most that are kept. Agents may name any model; those that are closed without a failure need not be kept.
const MAX_BREAKERS: usize = 10_000;

/// Breakers of one process. Only those that something has failed behind are kept.
pub struct MemoryBreakers {
    settings: BreakerSettings,
    kept: Mutex<HashMap<CircuitId, Breaker>>,
}

impl MemoryBreakers {
    /// Breakers with these settings, all closed.
    pub fn new(settings: BreakerSettings) -> Self {
        Self { settings, kept: Mutex::default() }
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<CircuitId, Breaker>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Breakers for MemoryBreakers {
    async fn admit(&self, circuit: &CircuitId, now: DateTime<Utc>) -> Passage {
        let mut kept = self.kept();
        let Some(breaker) = kept.get_mut(circuit) else { return Passage::Clear };
        if breaker.is_spotless(now) {
            kept.remove(circuit);
            return Passage::Clear;
        }
        match breaker.admit(now) {
            Ok(()) => Passage::Watched { is_try: breaker.phase() == Phase::HalfOpen },
            Err(left) => Passage::Barred { left: left.to_std().unwrap_or_default() },
        }
    }

    async fn succeeded(&self, circuit: &CircuitId) {
        self.kept().remove(circuit);
    }

    async fn failed(&self, circuit: &CircuitId, now: DateTime<Utc>) -> Phase {
        let mut kept = self.kept();
        if kept.len() >= MAX_BREAKERS && !kept.contains_key(circuit) {
            kept.retain(|_, breaker| !breaker.is_spotless(now));
            // Full of failures: one more is not worth forgetting another for.
            if kept.len() >= MAX_BREAKERS {
                return Phase::Closed;
            }
        }
        let breaker = kept.entry(circuit.clone()).or_insert_with(|| Breaker::new(self.settings));
        breaker.failed(now);
        breaker.phase()
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn circuit(number: usize) -> CircuitId {
        CircuitId { provider: None, model: number.to_string() }
    }

    #[tokio::test]
    async fn no_more_are_kept_than_there_is_room_for_and_none_without_a_failure() {
        let (window, cool_down) = (TimeDelta::seconds(60), TimeDelta::seconds(30));
        let breakers = MemoryBreakers::new(BreakerSettings { failures: 1, window, cool_down });
        let now = DateTime::UNIX_EPOCH;
        for number in 0..MAX_BREAKERS + 9 {
            assert_eq!(breakers.admit(&circuit(number), now).await, Passage::Clear);
            breakers.failed(&circuit(number), now).await;
        }
        assert_eq!(breakers.kept().len(), MAX_BREAKERS);
        assert!(
            matches!(breakers.admit(&circuit(0), now).await, Passage::Barred { .. }),
            "it is not forgotten"
        );
        breakers.succeeded(&circuit(0)).await;
        assert_eq!(breakers.kept().len(), MAX_BREAKERS - 1);
    }
}
