//! The circuit breakers of this process, one for each provider and model, and how soon each model begins to answer.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use powerhouse_domain::breaker::{Breaker, BreakerSettings, Phase};
use powerhouse_domain::ids::ModelProviderId;

use crate::measure::circuits_counted;

/// The most circuits that are kept. Agents may name any model.
const MAX_CIRCUITS: usize = 10_000;
/// How many answers tell how soon the next will begin.
const REMEMBERED: usize = 64;
/// The fewest that tell anything.
const ENOUGH: usize = 10;
/// Nobody is asked twice sooner.
const LEAST_PATIENCE: Duration = Duration::from_millis(250);

/// Whose model it is, the platform's when nobody's, and its name.
type CircuitKey = (Option<ModelProviderId>, String);

/// All of them.
pub(crate) struct Circuits {
    settings: BreakerSettings,
    known: Mutex<HashMap<CircuitKey, Arc<Circuit>>>,
}

impl Circuits {
    pub(crate) fn new(settings: BreakerSettings) -> Self {
        Self { settings, known: Mutex::default() }
    }

    /// The one of a provider's model; each time the same.
    pub(crate) fn of(&self, provider: Option<ModelProviderId>, model: &str) -> Arc<Circuit> {
        let mut known = locked(&self.known);
        if known.len() >= MAX_CIRCUITS {
            known.retain(|_, circuit| circuit.phase() != Phase::Closed || Arc::strong_count(circuit) > 1);
        }
        let new = || Arc::new(Circuit::new(self.settings));
        Arc::clone(known.entry((provider, model.to_owned())).or_insert_with(new))
    }

    /// Says how many are in which phase.
    pub(crate) fn observe(&self) {
        let mut counts: BTreeMap<_, u32> =
            [Phase::Closed, Phase::Open, Phase::HalfOpen].map(|phase| (phase, 0)).into();
        for circuit in locked(&self.known).values() {
            *counts.entry(circuit.phase()).or_default() += 1;
        }
        for (phase, count) in counts {
            circuits_counted(phase, count);
        }
    }
}

/// What is known here of one model.
pub(crate) struct Circuit {
    breaker: Mutex<Breaker>,
    /// How long the last answers took to begin.
    begun_after: Mutex<VecDeque<Duration>>,
}

impl Circuit {
    fn new(settings: BreakerSettings) -> Self {
        Self { breaker: Mutex::new(Breaker::new(settings)), begun_after: Mutex::default() }
    }

    pub(crate) fn admit(&self, now: DateTime<Utc>) -> Result<(), TimeDelta> {
        locked(&self.breaker).admit(now)
    }

    pub(crate) fn succeeded(&self) {
        locked(&self.breaker).succeeded();
    }

    pub(crate) fn failed(&self, now: DateTime<Utc>) {
        locked(&self.breaker).failed(now);
    }

    fn phase(&self) -> Phase {
        locked(&self.breaker).phase()
    }

    /// An answer has begun so long after it was asked for.
    pub(crate) fn begun(&self, after: Duration) {
        let mut remembered = locked(&self.begun_after);
        if remembered.len() == REMEMBERED {
            remembered.pop_front();
        }
        remembered.push_back(after);
    }

    /// When 19 of 20 answers have begun; nothing while there were too few.
    pub(crate) fn patience(&self) -> Option<Duration> {
        let mut remembered: Vec<_> = locked(&self.begun_after).iter().copied().collect();
        if remembered.len() < ENOUGH {
            return None;
        }
        remembered.sort_unstable();
        let nearly_last = (remembered.len() * 19).div_ceil(20) - 1;
        Some(remembered[nearly_last].max(LEAST_PATIENCE))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> ModelProviderId {
        ModelProviderId::from_uuid(uuid::Uuid::from_u128(number))
    }

    const SETTINGS: BreakerSettings =
        BreakerSettings { failures: 1, window: TimeDelta::seconds(60), cool_down: TimeDelta::seconds(30) };

    #[test]
    fn each_providers_model_has_its_own() {
        let circuits = Circuits::new(SETTINGS);
        let own = Some(id(1));
        circuits.of(own, "m").failed(DateTime::UNIX_EPOCH);
        assert_eq!(circuits.of(own, "m").phase(), Phase::Open);
        for (provider, model) in [(None, "m"), (Some(id(2)), "m"), (own, "n")] {
            assert_eq!(circuits.of(provider, model).phase(), Phase::Closed);
        }
    }

    #[test]
    fn those_that_are_of_no_use_are_forgotten() {
        let circuits = Circuits::new(SETTINGS);
        circuits.of(None, "open").failed(DateTime::UNIX_EPOCH);
        for number in 0..MAX_CIRCUITS * 2 {
            circuits.of(None, &number.to_string());
        }
        assert!(locked(&circuits.known).len() <= MAX_CIRCUITS);
        assert_eq!(circuits.of(None, "open").phase(), Phase::Open);
    }

    #[test]
    fn patience_is_what_nearly_all_answers_needed() {
        let circuit = Circuit::new(SETTINGS);
        for second in 1..=9 {
            circuit.begun(Duration::from_secs(second));
            assert_eq!(circuit.patience(), None);
        }
        (10..=20).for_each(|second| circuit.begun(Duration::from_secs(second)));
        assert_eq!(circuit.patience(), Some(Duration::from_secs(19)));
        (0..REMEMBERED).for_each(|_| circuit.begun(Duration::ZERO));
        assert_eq!(circuit.patience(), Some(LEAST_PATIENCE));
    }
}
