//! The worker: claims what is queued, as much as it has room for, and drives it.

use std::sync::Arc;
use std::time::Duration;

use powerhouse_domain::runs::{Lease, Room};
use powerhouse_ports::Chain;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::taking::{Taken, take};
use super::{Settings, Shared, Workshop, drive};
use crate::measure::runs_claimed;

/// A worker that is busy claims when this part of its room is free: a claim of many costs little more than one of one.
const WORTHWHILE: u32 = 4;

/// How long it waits for that from the beginning of its last claim.
const GATHER: Duration = Duration::from_millis(40);

/// How long after the beginning of its last claim it looks, at the soonest, for the run that it was woken for.
const PAUSE: Duration = Duration::from_millis(4);

/// Claims and drives runs until it is told to stop.
pub struct Worker {
    /// What it works with.
    pub workshop: Arc<Workshop>,
}

impl Worker {
    /// Works until `stop` is cancelled; then claims no more, hands its leases back and returns.
    pub async fn run(self, stop: CancellationToken) {
        let (mut driving, mut reading) = (JoinSet::new(), JoinSet::new());
        let settings = self.workshop.settings;
        let shared = Arc::new(Shared::new(Arc::clone(&self.workshop.store)));
        let mut last = LastClaim { at: Instant::now(), left: Left::Nothing, is_wanted: true };
        while !stop.is_cancelled() {
            self.workshop.pulse.claiming();
            let room = room(&settings, driving.len());
            let next = last.next(room, &settings);
            if next.is_some_and(|next| next <= Instant::now()) {
                let asked_at = Instant::now();
                let claimed = self.claim(room).await;
                runs_claimed(claimed.len());
                last = LastClaim::of(asked_at, room, claimed.len());
                let (taken, drives): (Vec<_>, Vec<_>) = claimed.iter().copied().map(Taken::of).unzip();
                if !drives.is_empty() {
                    reading.spawn(take(Arc::clone(&self.workshop), drives));
                }
                while reading.try_join_next().is_some() {}
                for (lease, taken) in claimed.iter().zip(taken) {
                    let span =
                        tracing::info_span!("run.drive", run = %lease.run(), attempt = lease.token().0);
                    let (workshop, shared) = (Arc::clone(&self.workshop), Arc::clone(&shared));
                    let holding = workshop.pulse.hold();
                    let work = drive::drive(workshop, shared, *lease, taken, holding, stop.clone());
                    driving.spawn(work.instrument(span));
                }
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.workshop.wake.notified(), if room.total() > 0 => last.is_wanted = true,
                () = tokio::time::sleep_until(next.unwrap_or_else(|| Instant::now() + settings.poll_every)) => {}
                Some(ended) = driving.join_next() => {
                    report(ended);
                    last.is_wanted |= last.left == Left::Nothing;
                }
            }
        }
        self.workshop.pulse.stopping();
        while let Some(ended) = driving.join_next().await {
            report(ended);
        }
    }

    async fn claim(&self, room: Room) -> Vec<Lease> {
        let now = self.workshop.clock.now();
        match self.workshop.platform.claim(room, now, self.workshop.settings.lease).await {
            Ok(leases) => leases,
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "the queue could not be read");
                Vec::new()
            }
        }
    }
}

/// What there is room for beside so many runs.
fn room(settings: &Settings, driving: usize) -> Room {
    let driving = u32::try_from(driving).unwrap_or(u32::MAX);
    let anyone = settings.concurrency.saturating_sub(driving);
    let all = settings.concurrency.saturating_add(settings.for_newcomers);
    Room { anyone, newcomers: all.saturating_sub(driving).saturating_sub(anyone) }
}

/// What a claim left in the queue, for all that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    /// Runs of tenants that have others under way.
    Backlog,
    /// Also first runs of tenants.
    Newcomers,
}

/// How a worker's last claim came out.
#[derive(Debug)]
struct LastClaim {
    at: Instant,
    left: Left,
    /// Whether something has come, or may have, that it did not see.
    is_wanted: bool,
}

impl LastClaim {
    fn of(at: Instant, room: Room, claimed: usize) -> Self {
        let claimed = u32::try_from(claimed).unwrap_or(u32::MAX);
        let left = if claimed >= room.total() {
            Left::Newcomers
        } else if claimed >= room.anyone {
            Left::Backlog
        } else {
            Left::Nothing
        };
        Self { at, left, is_wanted: claimed > 0 && left == Left::Nothing }
    }

    /// When the next claim is due; never while there is no room.
    fn next(&self, room: Room, settings: &Settings) -> Option<Instant> {
        if room.total() == 0 {
            return None;
        }
        let is_worthwhile = room.anyone >= settings.concurrency.div_ceil(WORTHWHILE);
        let after = match self.left {
            Left::Nothing if self.is_wanted => Duration::ZERO,
            Left::Backlog | Left::Newcomers if is_worthwhile => Duration::ZERO,
            Left::Backlog | Left::Newcomers if self.is_wanted => PAUSE,
            Left::Backlog if room.anyone > 0 => GATHER,
            Left::Newcomers => GATHER,
            Left::Nothing | Left::Backlog => settings.poll_every,
        };
        Some(self.at + after)
    }
}

/// A drive that panicked ends itself only: its lease expires, and the run is claimed again.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(error = %Chain(&error), "driving a run panicked");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use async_trait::async_trait;
    use chrono::DateTime;
    use futures::StreamExt as _;
    use futures::stream::BoxStream;
    use powerhouse_domain::access::TenantScope;
    use powerhouse_domain::ids::{RunId, TenantId};
    use powerhouse_domain::runs::FencingToken;
    use powerhouse_ports::clock::{MockClock, MockIdSource};
    use powerhouse_ports::events::{EventBus, MockEventBus, RunNews};
    use powerhouse_ports::models::MockModelProvider;
    use powerhouse_ports::platform::MockPlatformStore;
    use powerhouse_ports::store::{MockTenantStore, Plain, StoreError, TenantStore, TenantTx, TenantView};
    use powerhouse_ports::tools::MockToolMaker;
    use uuid::Uuid;

    use super::*;
    use crate::models::Models;
    use crate::runner::Pulse;
    use crate::tools::Resolver;

    const MINUTE: Duration = Duration::from_mins(1);

    /// A workshop whose database is away.
    fn workshop() -> Arc<Workshop> {
        let mut platform = MockPlatformStore::new();
        platform.expect_claim().returning(|_, _, _| Err(StoreError::Unavailable("away".into())));
        furnished(platform, Arc::new(MockTenantStore::new()), Arc::new(MockEventBus::new()))
    }

    fn furnished(
        platform: MockPlatformStore,
        store: Arc<dyn TenantStore>,
        bus: Arc<dyn EventBus>,
    ) -> Arc<Workshop> {
        let mut clock = MockClock::new();
        clock.expect_now().return_const(DateTime::UNIX_EPOCH + MINUTE * 60);
        let clock: Arc<MockClock> = Arc::new(clock);
        Arc::new(Workshop {
            store,
            platform: Arc::new(platform),
            models: Models::of(Arc::new(MockModelProvider::new()), ""),
            tools: Resolver {
                built_in: Arc::default(),
                made: Arc::default(),
                maker: Arc::new(MockToolMaker::new()),
            },
            bus,
            pulse: Pulse::new(Arc::clone(&clock) as _, MINUTE),
            clock,
            ids: Arc::new(MockIdSource::new()),
            wake: Arc::default(),
            settings: Settings::default(),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_lives_while_the_database_is_away_and_not_when_its_loop_has_stopped() {
        let (workshop, stop) = (workshop(), CancellationToken::new());
        let worker = Worker { workshop: Arc::clone(&workshop) };
        let working = tokio::spawn(worker.run(stop));
        tokio::time::sleep(MINUTE * 10).await;
        assert!(!workshop.pulse.vitals().is_wedged);
        working.abort();
        tokio::time::sleep(MINUTE * 2).await;
        assert!(workshop.pulse.vitals().is_wedged);
    }

    /// Holds each run up for longer than the one before, so that one ends at each turn.
    struct InTurn {
        turn: Duration,
        number: AtomicU32,
    }

    #[async_trait]
    impl TenantStore for InTurn {
        async fn begin(&self, _: &TenantScope) -> Result<Box<dyn TenantTx>, StoreError> {
            Err(StoreError::Unavailable("away".into()))
        }

        async fn read(&self, _: &TenantScope) -> Result<Box<dyn TenantView>, StoreError> {
            let number = self.number.fetch_add(1, Ordering::Relaxed).clamp(1, 64);
            tokio::time::sleep(self.turn * number).await;
            Err(StoreError::Unavailable("away".into()))
        }

        async fn record_plain<'a>(&self, _: &[Plain<'a>]) -> Result<Vec<Option<u64>>, StoreError> {
            Err(StoreError::Unavailable("away".into()))
        }
    }

    /// Tells nobody anything.
    struct Silent;

    #[async_trait]
    impl EventBus for Silent {
        async fn publish(&self, _: &TenantScope, _: RunNews) {}

        async fn subscribe(&self, _: &TenantScope, _: RunId) -> BoxStream<'static, RunNews> {
            futures::stream::empty().boxed()
        }
    }

    /// The claims of a worker of which each run ends `turn` after the one before, and when they were made. It has been
    /// working for a second, and is woken half-way.
    async fn claims_of_a_busy_worker(turn: Duration) -> Vec<(Room, Instant)> {
        let claims = Arc::new(Mutex::new(Vec::new()));
        let mut platform = MockPlatformStore::new();
        let made = Arc::clone(&claims);
        platform.expect_claim().returning(move |room, now, _| {
            made.lock().unwrap().push((room, Instant::now()));
            let (tenant, run) = (TenantId::from_uuid(Uuid::nil()), RunId::from_uuid(Uuid::nil()));
            let lease = Lease::granted(tenant, run, FencingToken(1), now + MINUTE, 0);
            Ok(vec![lease; usize::try_from(room.anyone).unwrap()])
        });
        let store = Arc::new(InTurn { turn, number: AtomicU32::new(0) });
        let workshop = furnished(platform, store, Arc::new(Silent));
        let (stop, wake) = (CancellationToken::new(), Arc::clone(&workshop.wake));
        let working = tokio::spawn(Worker { workshop }.run(stop.clone()));
        tokio::time::sleep(Duration::from_millis(499)).await;
        wake.notify_one();
        tokio::time::sleep(Duration::from_millis(501)).await;
        stop.cancel();
        working.await.unwrap();
        claims.lock().unwrap().clone()
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_worker_asks_soon_after_a_run_has_ended_though_more_end_meanwhile() {
        let claims = claims_of_a_busy_worker(Duration::from_millis(15)).await;
        assert!(claims.len() > 10);
        for pair in claims.windows(2) {
            let between = pair[1].1 - pair[0].1;
            assert!(between <= GATHER * 2, "{between:?} from one claim to the next");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_without_room_for_anyone_looks_for_newcomers_when_it_is_woken() {
        let begun = Instant::now();
        let claims = claims_of_a_busy_worker(MINUTE).await;
        let (anyone, newcomers) = (Settings::default().concurrency, Settings::default().for_newcomers);
        let at = |room, millis| (room, begun + Duration::from_millis(millis));
        let for_newcomers = Room { anyone: 0, newcomers };
        assert_eq!(claims[..2], [at(Room { anyone, newcomers }, 0), at(for_newcomers, 499)]);
        assert_eq!(claims.len(), 3, "the last by itself: {claims:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_was_told_to_stop_is_not_wedged() {
        let (workshop, stop) = (workshop(), CancellationToken::new());
        let worker = Worker { workshop: Arc::clone(&workshop) };
        let working = tokio::spawn(worker.run(stop.clone()));
        stop.cancel();
        working.await.unwrap();
        tokio::time::sleep(MINUTE * 2).await;
        assert!(!workshop.pulse.vitals().is_wedged);
    }
}
