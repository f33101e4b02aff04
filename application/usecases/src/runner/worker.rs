//! The worker: claims what is queued, as much as it has room for, and drives it.

use std::sync::Arc;

use powerhouse_domain::runs::Lease;
use powerhouse_ports::Chain;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::scribe::Scribe;
use super::{Workshop, drive};
use crate::measure::runs_claimed;

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
        while !stop.is_cancelled() {
            let room =
                usize::try_from(settings.concurrency).unwrap_or(usize::MAX).saturating_sub(driving.len());
            let claimed = self.claim(room).await;
            runs_claimed(claimed.len());
            for lease in &claimed {
                let span = tracing::info_span!("run.drive", run = %lease.run(), attempt = lease.token().0);
                let work =
                    drive::drive(Arc::clone(&self.workshop), Arc::clone(&scribe), *lease, stop.clone());
                driving.spawn(work.instrument(span));
            }
            if !claimed.is_empty() && claimed.len() < room {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.wake.notified(), if room > 0 => {}
                () = tokio::time::sleep(settings.poll_every) => {}
                Some(ended) = driving.join_next() => report(ended),
            }
        }
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
