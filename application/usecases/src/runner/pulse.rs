//! Signs of life: when the worker last tried something. Trying counts, not succeeding: a database that is away wedges
//! nobody.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use powerhouse_ports::clock::Clock;
use tokio::time::Instant;

use crate::measure::vitals_taken;

/// The pulse of a worker: of its claiming, and of each run that it holds.
pub struct Pulse {
    clock: Arc<dyn Clock>,
    wedged_after: Duration,
    signs: Mutex<Signs>,
}

struct Signs {
    /// When it last tried to claim; none once it is told to stop.
    claimed: Option<Instant>,
    /// The runs that it holds, by the number that each got here.
    held: BTreeMap<u64, Held>,
    next: u64,
}

#[derive(Clone, Copy)]
struct Held {
    heartbeat: Instant,
    progress: Instant,
}

/// When something last happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sign {
    /// When.
    pub at: DateTime<Utc>,
    /// How long ago.
    pub age: Duration,
}

/// What a pulse says now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vitals {
    /// It has tried nothing for so long that it never will.
    pub is_wedged: bool,
    /// How many runs it holds.
    pub runs_held: usize,
    /// When it last tried to claim; none once it is told to stop.
    pub claim: Option<Sign>,
    /// The last heartbeat of the run that is longest without one.
    pub heartbeat: Option<Sign>,
    /// When the run that is longest without progress last had an outcome, or text.
    pub progress: Option<Sign>,
}

impl Pulse {
    /// The pulse of a worker that is about to begin; it is wedged when it has not tried anything for so long.
    pub fn new(clock: Arc<dyn Clock>, wedged_after: Duration) -> Arc<Self> {
        let signs = Signs { claimed: Some(Instant::now()), held: BTreeMap::new(), next: 0 };
        Arc::new(Self { clock, wedged_after, signs: Mutex::new(signs) })
    }

    /// What it says now.
    pub fn vitals(&self) -> Vitals {
        let (now, instant) = (self.clock.now(), Instant::now());
        let sign = |at: Instant| {
            let age = instant.saturating_duration_since(at);
            Sign { at: now - age, age }
        };
        let signs = self.signs();
        let claim = signs.claimed.map(sign);
        let heartbeat = signs.held.values().map(|held| held.heartbeat).min().map(sign);
        let progress = signs.held.values().map(|held| held.progress).min().map(sign);
        let is_late = |sign: &Sign| sign.age > self.wedged_after;
        let is_wedged = claim.iter().chain(&heartbeat).any(is_late);
        Vitals { is_wedged, runs_held: signs.held.len(), claim, heartbeat, progress }
    }

    /// Measures what it says now.
    pub fn observe(&self) {
        vitals_taken(&self.vitals());
    }

    /// The worker tries to claim.
    pub(super) fn claiming(&self) {
        self.signs().claimed = Some(Instant::now());
    }

    /// The worker was told to stop, and claims no more.
    pub(super) fn stopping(&self) {
        self.signs().claimed = None;
    }

    /// A run is held, until what this gives is dropped.
    pub(super) fn hold(self: &Arc<Self>) -> Holding {
        let now = Instant::now();
        let mut signs = self.signs();
        let number = signs.next;
        signs.next += 1;
        signs.held.insert(number, Held { heartbeat: now, progress: now });
        Holding { pulse: Arc::clone(self), number }
    }

    /// Each change is whole, also where somebody has panicked.
    fn signs(&self) -> MutexGuard<'_, Signs> {
        self.signs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run that is held.
pub(super) struct Holding {
    pulse: Arc<Pulse>,
    number: u64,
}

impl Holding {
    /// Its drive comes round, or tries to write: at least once in a third of a lease.
    pub(super) fn beat(&self) {
        self.note(|held, now| held.heartbeat = now);
    }

    /// An effect had its outcome, or gave text.
    pub(super) fn progressed(&self) {
        self.note(|held, now| held.progress = now);
    }

    /// How long it has had neither.
    pub(super) fn since_progress(&self) -> Duration {
        self.pulse.signs().held.get(&self.number).map_or(Duration::ZERO, |held| held.progress.elapsed())
    }

    fn note(&self, change: impl FnOnce(&mut Held, Instant)) {
        if let Some(held) = self.pulse.signs().held.get_mut(&self.number) {
            change(held, Instant::now());
        }
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.pulse.signs().held.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use powerhouse_ports::clock::MockClock;
    use tokio::time::advance;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn pulse() -> Arc<Pulse> {
        let mut clock = MockClock::new();
        clock.expect_now().return_const(DateTime::UNIX_EPOCH + MINUTE);
        Pulse::new(Arc::new(clock), MINUTE)
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_tries_nothing_is_wedged_until_it_does() {
        let pulse = pulse();
        advance(MINUTE).await;
        assert!(!pulse.vitals().is_wedged);
        advance(Duration::from_secs(1)).await;
        let vitals = pulse.vitals();
        let late = MINUTE + Duration::from_secs(1);
        let sign = Sign { at: DateTime::UNIX_EPOCH - Duration::from_secs(1), age: late };
        assert_eq!((vitals.is_wedged, vitals.claim), (true, Some(sign)));
        pulse.claiming();
        assert!(!pulse.vitals().is_wedged);
        // It drains: nothing is claimed any more.
        pulse.stopping();
        advance(MINUTE * 9).await;
        assert_eq!((pulse.vitals().is_wedged, pulse.vitals().claim), (false, None));
    }

    #[tokio::test(start_paused = true)]
    async fn each_run_that_is_held_has_to_beat() {
        let pulse = pulse();
        let (lively, stuck) = (pulse.hold(), pulse.hold());
        for _ in 0..7 {
            pulse.claiming();
            lively.beat();
            advance(MINUTE / 6).await;
        }
        let vitals = pulse.vitals();
        assert_eq!((vitals.is_wedged, vitals.runs_held), (true, 2));
        assert_eq!(vitals.heartbeat.unwrap().age, MINUTE * 7 / 6);
        drop(stuck);
        let vitals = pulse.vitals();
        assert_eq!((vitals.is_wedged, vitals.runs_held), (false, 1));
        // A model may take its time.
        assert_eq!(
            (vitals.heartbeat.unwrap().age, vitals.progress.unwrap().age),
            (MINUTE / 6, MINUTE * 7 / 6)
        );
        assert_eq!(lively.since_progress(), MINUTE * 7 / 6);
        lively.progressed();
        assert_eq!(pulse.vitals().progress.unwrap().age, Duration::ZERO);
        drop(lively);
        assert_eq!(pulse.vitals().heartbeat, None);
    }
}
