//! The worker: claims what is queued, as much as it has room for, and drives it.

use std::sync::Arc;
use std::time::Duration;

use powerhouse_domain::runs::Lease;
use powerhouse_ports::Chain;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::scribe::Scribe;
use super::{Workshop, drive};
use crate::measure::runs_claimed;

/// A worker that is busy claims when this part of its room is free: a claim of many costs little more than one of one.
const WORTHWHILE: usize = 8;

/// How long it waits for that, from one end of a run to the next.
const GATHER: Duration = Duration::from_millis(20);

/// Claims and drives runs until it is told to stop.
pub struct Worker {
    /// What it works with.
    pub workshop: Arc<Workshop>,
    /// Says that a run was queued in this process.
    pub wake: Arc<Notify>,
}

impl Worker {
    /// Works until `stop` is cancelled; then claims no more, hands its leases back and returns.
    pub async fn run(self, stop: CancellationToken) {
        let mut driving = JoinSet::new();
        let settings = self.workshop.settings;
        let scribe = Arc::new(Scribe::new(Arc::clone(&self.workshop.store)));
        let all = usize::try_from(settings.concurrency).unwrap_or(usize::MAX);
        // Whether the last claim left runs behind, for all that is known.
        let mut is_backlog = false;
        while !stop.is_cancelled() {
            self.workshop.pulse.claiming();
            let room = all.saturating_sub(driving.len());
            // With runs enough a claim is worth its while when it gets several.
            if room > 0 && (!is_backlog || room >= all.div_ceil(WORTHWHILE)) {
                let claimed = self.claim(room).await;
                runs_claimed(claimed.len());
                is_backlog = claimed.len() == room;
                for lease in &claimed {
                    let span =
                        tracing::info_span!("run.drive", run = %lease.run(), attempt = lease.token().0);
                    let (workshop, scribe) = (Arc::clone(&self.workshop), Arc::clone(&scribe));
                    let holding = workshop.pulse.hold();
                    let work = drive::drive(workshop, scribe, *lease, holding, stop.clone());
                    driving.spawn(work.instrument(span));
                }
                if !claimed.is_empty() && !is_backlog {
                    continue;
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.wake.notified(), if driving.len() < all && !is_backlog => {}
                () = tokio::time::sleep(if is_backlog { GATHER } else { settings.poll_every }) => is_backlog = false,
                Some(ended) = driving.join_next() => report(ended),
            }
        }
        self.workshop.pulse.stopping();
        while let Some(ended) = driving.join_next().await {
            report(ended);
        }
    }

    async fn claim(&self, room: usize) -> Vec<Lease> {
        let Some(limit) = u32::try_from(room).ok().filter(|limit| *limit > 0) else { return Vec::new() };
        let now = self.workshop.clock.now();
        match self.workshop.platform.claim(limit, now, self.workshop.settings.lease).await {
            Ok(leases) => leases,
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "the queue could not be read");
                Vec::new()
            }
        }
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
    use std::time::Duration;

    use chrono::DateTime;
    use powerhouse_ports::clock::{MockClock, MockIdSource};
    use powerhouse_ports::events::MockEventBus;
    use powerhouse_ports::models::MockModelProvider;
    use powerhouse_ports::platform::MockPlatformStore;
    use powerhouse_ports::store::{MockTenantStore, StoreError};

    use super::*;
    use crate::models::Models;
    use crate::runner::{Pulse, Settings, Toolbox};

    const MINUTE: Duration = Duration::from_mins(1);

    /// A workshop whose database is away.
    fn workshop() -> Arc<Workshop> {
        let mut clock = MockClock::new();
        clock.expect_now().return_const(DateTime::UNIX_EPOCH + MINUTE * 60);
        let clock: Arc<MockClock> = Arc::new(clock);
        let mut platform = MockPlatformStore::new();
        platform.expect_claim().returning(|_, _, _| Err(StoreError::Unavailable("away".into())));
        Arc::new(Workshop {
            store: Arc::new(MockTenantStore::new()),
            platform: Arc::new(platform),
            models: Models::of(Arc::new(MockModelProvider::new()), ""),
            tools: Toolbox::new(),
            bus: Arc::new(MockEventBus::new()),
            pulse: Pulse::new(Arc::clone(&clock) as _, MINUTE),
            clock,
            ids: Arc::new(MockIdSource::new()),
            settings: Settings::default(),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_lives_while_the_database_is_away_and_not_when_its_loop_has_stopped() {
        let (workshop, stop) = (workshop(), CancellationToken::new());
        let worker = Worker { workshop: Arc::clone(&workshop), wake: Arc::default() };
        let working = tokio::spawn(worker.run(stop));
        tokio::time::sleep(MINUTE * 10).await;
        assert!(!workshop.pulse.vitals().is_wedged);
        working.abort();
        tokio::time::sleep(MINUTE * 2).await;
        assert!(workshop.pulse.vitals().is_wedged);
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_was_told_to_stop_is_not_wedged() {
        let (workshop, stop) = (workshop(), CancellationToken::new());
        let worker = Worker { workshop: Arc::clone(&workshop), wake: Arc::default() };
        let working = tokio::spawn(worker.run(stop.clone()));
        stop.cancel();
        working.await.unwrap();
        tokio::time::sleep(MINUTE * 2).await;
        assert!(!workshop.pulse.vitals().is_wedged);
    }
}
