//! One run, and its steps.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::ids::RunId;
use powerhouse_domain::runs::{Run, RunEvent, Step, steps};
use powerhouse_ports::store::{StoreError, TenantStore, TenantView};

use super::find;
use crate::Refused;

/// Events that are read at a time.
pub(crate) const EVENTS_PER_READ: u32 = 500;

/// Reads runs.
#[derive(Clone)]
pub struct ReadRun {
    /// Where runs are.
    pub store: Arc<dyn TenantStore>,
}

impl ReadRun {
    /// A run that the caller may see.
    pub async fn execute(&self, principal: &Principal, id: RunId) -> Result<Run, Refused> {
        let mut view = self.store.read(&principal.scope()).await?;
        Ok(find::<access::ReadRun>(&mut *view, principal, id).await?.0)
    }
}

/// Reads steps.
#[derive(Clone)]
pub struct ReadSteps {
    /// Where journals are.
    pub store: Arc<dyn TenantStore>,
}

impl ReadSteps {
    /// The steps of a run that the caller may see, in the order in which they began.
    pub async fn execute(&self, principal: &Principal, id: RunId) -> Result<Vec<Step>, Refused> {
        let mut view = self.store.read(&principal.scope()).await?;
        let (_, permit) = find::<access::ReadRun>(&mut *view, principal, id).await?;
        Ok(steps(whole_journal(&mut *view, permit.redeem().run).await?))
    }
}

/// Every event of a run. A run's limit of steps bounds it.
pub(crate) async fn whole_journal(view: &mut dyn TenantView, id: RunId) -> Result<Vec<RunEvent>, StoreError> {
    events_after(view, id, 0).await
}

/// Every event of a run after one.
pub(crate) async fn events_after(
    view: &mut dyn TenantView,
    id: RunId,
    after: u64,
) -> Result<Vec<RunEvent>, StoreError> {
    let mut events: Vec<RunEvent> = Vec::new();
    loop {
        let last = events.last().map_or(after, |event| event.seq);
        let page = view.runs().events(id, last, EVENTS_PER_READ).await?;
        if page.is_empty() {
            return Ok(events);
        }
        events.extend(page);
    }
}
