//! Watching a run: what the journal has, then what is added, without loss or repeat.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use powerhouse_domain::access::{self, Principal, TenantScope};
use powerhouse_domain::ids::RunId;
use powerhouse_domain::runs::RunEvent;
use powerhouse_ports::events::{EventBus, RunNews};
use powerhouse_ports::store::TenantStore;

use super::find;
use super::read_run::EVENTS_PER_READ;
use crate::Refused;

/// How long news may be lost before the journal is looked at all the same.
const LOOK_AFTER: Duration = Duration::from_secs(2);

/// Opens watches.
#[derive(Clone)]
pub struct WatchRun {
    /// Where journals are.
    pub store: Arc<dyn TenantStore>,
    /// Tells of new events.
    pub bus: Arc<dyn EventBus>,
}

impl WatchRun {
    /// Watches a run that the caller may see, from the event after `after`.
    pub async fn execute(&self, principal: &Principal, id: RunId, after: u64) -> Result<RunWatch, Refused> {
        let scope = principal.scope();
        let mut view = self.store.read(&scope).await?;
        let (found, permit) = find::<access::ReadRun>(&mut *view, principal, id).await?;
        drop(view);
        let ends_with_journal = found.state().name().is_final();
        let run = permit.redeem().run;
        // Before the first read, so that nothing falls between.
        let news = self.bus.subscribe(&scope, run).await;
        Ok(RunWatch {
            store: Arc::clone(&self.store),
            scope,
            run,
            news,
            last: after,
            ends_with_journal,
            ended: false,
        })
    }
}

/// A reader of a run's journal that waits for more.
pub struct RunWatch {
    store: Arc<dyn TenantStore>,
    scope: TenantScope,
    run: RunId,
    news: BoxStream<'static, RunNews>,
    last: u64,
    /// The run had ended before the first read: nothing will be added.
    ends_with_journal: bool,
    ended: bool,
}

impl RunWatch {
    /// The next events, at least one; nothing when the run has ended and all was read. Dropping the future loses
    /// nothing.
    pub async fn next(&mut self) -> Result<Option<Vec<RunEvent>>, Refused> {
        while !self.ended {
            let mut view = self.store.read(&self.scope).await?;
            let events = view.runs().events(self.run, self.last, EVENTS_PER_READ).await?;
            drop(view);
            if let Some(newest) = events.last() {
                self.last = newest.seq;
                self.ended = newest.body.is_final();
                return Ok(Some(events));
            }
            if self.ends_with_journal {
                break;
            }
            self.wait().await;
        }
        Ok(None)
    }

    async fn wait(&mut self) {
        let last = self.last;
        let newer = async {
            while let Some(news) = self.news.next().await {
                if news.seq > last {
                    return;
                }
            }
            // The bus has closed: the journal is looked at after a while.
            std::future::pending::<()>().await;
        };
        // Out of time is no failure: the journal decides.
        let _ = tokio::time::timeout(LOOK_AFTER, newer).await;
    }
}
