//! The circuits of this process, one for each provider and model: whether it is asked, and how soon it begins to answer.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use powerhouse_domain::breaker::Phase;
use powerhouse_domain::ids::ModelProviderId;
use powerhouse_ports::limits::{Breakers, CircuitId, Passage};

use crate::measure::circuits_counted;

/// The most circuits that are kept. Agents may name any model.
const MAX_CIRCUITS: usize = 10_000;
/// How many answers tell how soon the next will begin.
const REMEMBERED: usize = 64;
/// The fewest that tell anything.
const ENOUGH: usize = 10;
/// For how long nobody is asked whether anything has failed, after the answer was that nothing has.
const GOOD_WEATHER: TimeDelta = TimeDelta::milliseconds(250);
/// Nobody is asked twice sooner.
const LEAST_PATIENCE: Duration = Duration::from_millis(250);

/// All of them.
pub(crate) struct Circuits {
    breakers: Arc<dyn Breakers>,
    known: Mutex<HashMap<CircuitId, Arc<Circuit>>>,
}

impl Circuits {
    pub(crate) fn new(breakers: Arc<dyn Breakers>) -> Self {
        Self { breakers, known: Mutex::default() }
    }

    /// The one of a provider's model; each time the same.
    pub(crate) fn of(&self, provider: Option<ModelProviderId>, model: &str) -> Arc<Circuit> {
        let mut known = locked(&self.known);
        if known.len() >= MAX_CIRCUITS {
            known.retain(|_, circuit| circuit.phase() != Phase::Closed || Arc::strong_count(circuit) > 1);
        }
        let id = CircuitId { provider, model: model.to_owned() };
        let new = |id: &CircuitId| Arc::new(Circuit::new(id.clone(), Arc::clone(&self.breakers)));
        Arc::clone(known.entry(id).or_insert_with_key(new))
    }

    /// Says how many are in which phase, as far as calls of this process have found.
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
    id: CircuitId,
    breakers: Arc<dyn Breakers>,
    /// Where the breaker was when it was last asked.
    phase: Mutex<Phase>,
    /// When nothing had failed.
    clear_at: Mutex<Option<DateTime<Utc>>>,
    /// How long the last answers took to begin.
    begun_after: Mutex<VecDeque<Duration>>,
}

impl Circuit {
    fn new(id: CircuitId, breakers: Arc<dyn Breakers>) -> Self {
        Self {
            id,
            breakers,
            phase: Mutex::new(Phase::Closed),
            clear_at: Mutex::default(),
            begun_after: Mutex::default(),
        }
    }

    /// Lets a call through, and says how its outcome counts; or for how long none will be.
    pub(crate) async fn admit(&self, now: DateTime<Utc>) -> Passage {
        let clear_at = *locked(&self.clear_at);
        if clear_at.is_some_and(|at| (at..at + GOOD_WEATHER).contains(&now)) {
            return Passage::Clear;
        }
        let passage = self.breakers.admit(&self.id, now).await;
        *locked(&self.clear_at) = (passage == Passage::Clear).then_some(now);
        *locked(&self.phase) = match passage {
            Passage::Clear | Passage::Watched { is_try: false } => Phase::Closed,
            Passage::Watched { is_try: true } => Phase::HalfOpen,
            Passage::Barred { .. } => Phase::Open,
        };
        passage
    }

    /// A call went well that was let through so.
    pub(crate) async fn succeeded(&self, passage: Passage) {
        if passage != Passage::Clear {
            self.breakers.succeeded(&self.id).await;
            *locked(&self.phase) = Phase::Closed;
        }
    }

    pub(crate) async fn failed(&self, now: DateTime<Utc>) {
        *locked(&self.clear_at) = None;
        let phase = self.breakers.failed(&self.id, now).await;
        *locked(&self.phase) = phase;
    }

    fn phase(&self) -> Phase {
        *locked(&self.phase)
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

/// Whoever is asked always, whatever fails.
pub(super) struct NeverOpen;

#[async_trait]
impl Breakers for NeverOpen {
    async fn admit(&self, _: &CircuitId, _: DateTime<Utc>) -> Passage {
        Passage::Clear
    }

    async fn succeeded(&self, _: &CircuitId) {}

    async fn failed(&self, _: &CircuitId, _: DateTime<Utc>) -> Phase {
        Phase::Closed
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Breakers of a test's own.
#[cfg(test)]
pub(super) mod testing {
    use powerhouse_domain::breaker::{Breaker, BreakerSettings};

    use super::*;

    /// The domain's, as they are.
    pub(crate) struct OwnBreakers(pub(crate) BreakerSettings, Mutex<HashMap<CircuitId, Breaker>>);

    impl OwnBreakers {
        pub(crate) fn with(settings: BreakerSettings) -> Arc<dyn Breakers> {
            Arc::new(Self(settings, Mutex::default()))
        }

        fn on<T>(&self, circuit: &CircuitId, does: impl FnOnce(&mut Breaker) -> T) -> T {
            does(locked(&self.1).entry(circuit.clone()).or_insert_with(|| Breaker::new(self.0)))
        }
    }

    #[async_trait]
    impl Breakers for OwnBreakers {
        async fn admit(&self, circuit: &CircuitId, now: DateTime<Utc>) -> Passage {
            self.on(circuit, |breaker| match (breaker.is_spotless(now), breaker.admit(now)) {
                (true, _) => Passage::Clear,
                (false, Ok(())) => Passage::Watched { is_try: breaker.phase() == Phase::HalfOpen },
                (false, Err(left)) => Passage::Barred { left: left.to_std().unwrap() },
            })
        }

        async fn succeeded(&self, circuit: &CircuitId) {
            self.on(circuit, Breaker::succeeded);
        }

        async fn failed(&self, circuit: &CircuitId, now: DateTime<Utc>) -> Phase {
            self.on(circuit, |breaker| {
                breaker.failed(now);
                breaker.phase()
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use powerhouse_domain::breaker::BreakerSettings;
    use powerhouse_ports::limits::MockBreakers;

    use super::testing::OwnBreakers;
    use super::*;

    fn id(number: u128) -> ModelProviderId {
        ModelProviderId::from_uuid(uuid::Uuid::from_u128(number))
    }

    fn circuits() -> Circuits {
        let (window, cool_down) = (TimeDelta::seconds(60), TimeDelta::seconds(30));
        Circuits::new(OwnBreakers::with(BreakerSettings { failures: 1, window, cool_down }))
    }

    #[tokio::test]
    async fn each_providers_model_has_its_own() {
        let circuits = circuits();
        let own = Some(id(1));
        circuits.of(own, "m").failed(DateTime::UNIX_EPOCH).await;
        assert_eq!(circuits.of(own, "m").phase(), Phase::Open);
        for (provider, model) in [(None, "m"), (Some(id(2)), "m"), (own, "n")] {
            assert_eq!(circuits.of(provider, model).phase(), Phase::Closed);
        }
    }

    #[tokio::test]
    async fn those_that_are_of_no_use_are_forgotten() {
        let circuits = circuits();
        circuits.of(None, "open").failed(DateTime::UNIX_EPOCH).await;
        for number in 0..MAX_CIRCUITS * 2 {
            circuits.of(None, &number.to_string());
        }
        assert!(locked(&circuits.known).len() <= MAX_CIRCUITS);
        assert_eq!(circuits.of(None, "open").phase(), Phase::Open);
    }

    /// In good weather nobody is asked before each call, and nobody is told afterwards.
    #[tokio::test]
    async fn breakers_are_asked_and_told_where_it_counts() {
        let (start, watched) = (DateTime::UNIX_EPOCH, Passage::Watched { is_try: true });
        let mut breakers = MockBreakers::new();
        let mut given = [Passage::Clear, watched, Passage::Clear, watched].into_iter();
        breakers.expect_admit().times(4).returning(move |_, _| given.next().unwrap());
        breakers.expect_succeeded().times(2).return_const(());
        breakers.expect_failed().times(1).return_const(Phase::Closed);
        let circuit = Circuits::new(Arc::new(breakers)).of(None, "m");
        let last = start + GOOD_WEATHER - TimeDelta::milliseconds(1);
        let after = start + GOOD_WEATHER;
        for (now, expected) in
            [(start, Passage::Clear), (last, Passage::Clear), (after, watched), (after, Passage::Clear)]
        {
            let passage = circuit.admit(now).await;
            assert_eq!(passage, expected);
            circuit.succeeded(passage).await;
            assert_eq!(circuit.phase(), Phase::Closed);
        }
        circuit.failed(after).await;
        let passage = circuit.admit(after).await;
        assert_eq!(passage, watched, "after a failure here");
        circuit.succeeded(passage).await;
    }

    #[test]
    fn patience_is_what_nearly_all_answers_needed() {
        let circuit = circuits().of(None, "m");
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
