//! One run, and its steps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
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

/// The most runs of a tree that are read.
const MAX_TREE: u32 = 1_000;

/// Reads trees of runs.
#[derive(Clone)]
pub struct ReadRunTree {
    /// Where runs are.
    pub store: Arc<dyn TenantStore>,
}

impl ReadRunTree {
    /// The tree that a run belongs to which the caller may see: the run that somebody asked for and those that were begun
    /// for it, each after the one that began it and after what that began before; at most 1,000.
    pub async fn execute(&self, principal: &Principal, id: RunId) -> Result<Vec<Run>, Refused> {
        let mut view = self.store.read(&principal.scope()).await?;
        // Whoever may see one may see all: they are of the same user.
        let (run, permit) = find::<access::ReadRun>(&mut *view, principal, id).await?;
        permit.redeem();
        let root = run.lineage().map_or(id, |lineage| lineage.root);
        Ok(in_depth(view.runs().tree(root, MAX_TREE).await?))
    }
}

/// Runs in the order of their ids, put in the order of their tree. Those whose parent is not among them come last.
fn in_depth(runs: Vec<Run>) -> Vec<Run> {
    let mut below: BTreeMap<Option<RunId>, VecDeque<Run>> = BTreeMap::new();
    let known: BTreeSet<_> = runs.iter().map(Run::id).collect();
    for run in runs {
        let parent = run.lineage().map(|lineage| lineage.parent).filter(|parent| known.contains(parent));
        below.entry(parent).or_default().push_back(run);
    }
    let (mut ordered, mut path) = (Vec::new(), vec![None]);
    while let Some(parent) = path.last() {
        match below.get_mut(parent).and_then(VecDeque::pop_front) {
            Some(run) => {
                path.push(Some(run.id()));
                ordered.push(run);
            }
            None => {
                path.pop();
            }
        }
    }
    ordered
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
        let is_last = page.len() < usize::try_from(EVENTS_PER_READ).unwrap_or(usize::MAX);
        events.extend(page);
        if is_last {
            return Ok(events);
        }
    }
}
