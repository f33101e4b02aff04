//! What drives begin with: the runs of one claim are read together.

use std::sync::Arc;

use futures::stream::BoxStream;
use powerhouse_domain::runs::Lease;
use powerhouse_ports::Chain;
use powerhouse_ports::events::RunNews;
use powerhouse_ports::store::{ClaimedRun, StoreError, TenantView};
use tokio::sync::oneshot;

use super::Workshop;
use crate::runs::whole_journal;

/// The news of a run from before it was read.
type News = BoxStream<'static, RunNews>;

/// What was read of a run, if it could be read with the others.
type Read = (News, Option<ClaimedRun>);

/// What a drive waits for before it begins.
pub(super) struct Taken(oneshot::Receiver<Read>);

/// Reads the runs of these leases, for the drives that wait for them.
pub(super) async fn take(workshop: Arc<Workshop>, drives: Vec<(Lease, oneshot::Sender<Read>)>) {
    let mut news = Vec::with_capacity(drives.len());
    // Before the first read, so that no cancellation falls between.
    for (lease, _) in &drives {
        news.push(workshop.bus.subscribe(&lease.scope(), lease.run()).await);
    }
    let leases: Vec<Lease> = drives.iter().map(|(lease, _)| *lease).collect();
    let read = workshop.store.read_claimed(&leases).await.unwrap_or_else(|error| {
        tracing::warn!(error = %Chain(&error), runs = leases.len(), "runs that were claimed could not be read together");
        vec![None; leases.len()]
    });
    for (((_, drive), news), read) in drives.into_iter().zip(news).zip(read) {
        // Whoever does not wait any more has no use for it.
        let _ = drive.send((news, read));
    }
}

impl Taken {
    /// Of a run that is going to be read, and what the reader is given for it.
    pub(super) fn of(lease: Lease) -> (Self, (Lease, oneshot::Sender<Read>)) {
        let (reader, drive) = oneshot::channel();
        (Self(drive), (lease, reader))
    }

    /// The run's news, and the run and its journal, which may have to be read alone; nothing when it is gone.
    pub(super) async fn opened(
        self,
        workshop: &Workshop,
        view: &mut dyn TenantView,
        lease: &Lease,
    ) -> Result<(News, Option<ClaimedRun>), StoreError> {
        let (news, read) = match self.0.await {
            Ok(taken) => taken,
            Err(_) => (workshop.bus.subscribe(&lease.scope(), lease.run()).await, None),
        };
        if read.is_some() {
            return Ok((news, read));
        }
        let Some(run) = view.runs().find(lease.run()).await? else { return Ok((news, None)) };
        let journal = whole_journal(view, lease.run()).await?;
        Ok((news, Some(ClaimedRun { run, journal })))
    }
}
