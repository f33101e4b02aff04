//! Stopping what a run has begun, once it has ended itself.

use std::collections::BTreeSet;

use powerhouse_domain::access::TenantScope;
use powerhouse_domain::ids::RunId;
use powerhouse_domain::runs::Run;
use powerhouse_ports::Chain;
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::{StoreError, TenantStore};

use super::Going;
use super::cancel_run::store_cancelled;
use crate::measure::run_ended;

/// How often a worker may be faster before we leave it to that worker, which finds out by itself.
const TRIES: u32 = 10;
/// The most runs of a tree that are looked at.
const MOST: u32 = 10_000;

/// Stops the runs below one that has ended, from the top. Whoever drives one of them stops it too, so nothing is lost when this
/// fails.
pub(crate) async fn stop_begun(
    store: &dyn TenantStore,
    going: &Going,
    clock: &dyn Clock,
    scope: &TenantScope,
    ended: &Run,
) {
    if let Err(error) = stop_below(store, going, clock, scope, ended).await {
        tracing::warn!(error = %Chain(&error), "what the run has begun could not be stopped");
    }
}

async fn stop_below(
    store: &dyn TenantStore,
    going: &Going,
    clock: &dyn Clock,
    scope: &TenantScope,
    ended: &Run,
) -> Result<(), StoreError> {
    let root = ended.lineage().map_or(ended.id(), |lineage| lineage.root);
    let mut view = store.read(scope).await?;
    let tree = view.runs().tree(root, MOST).await?;
    drop(view);
    // Who begins a run is older than it: those above come first.
    let mut below = BTreeSet::from([ended.id()]);
    for run in tree {
        let is_below = run.lineage().is_some_and(|lineage| below.contains(&lineage.parent));
        if is_below {
            below.insert(run.id());
            if !run.state().name().is_final() {
                stop(store, going, clock, scope, run.id()).await?;
            }
        }
    }
    Ok(())
}

async fn stop(
    store: &dyn TenantStore,
    going: &Going,
    clock: &dyn Clock,
    scope: &TenantScope,
    id: RunId,
) -> Result<(), StoreError> {
    for _ in 0..TRIES {
        let mut tx = store.begin(scope).await?;
        let Some(run) = tx.runs().find(id).await? else { return Ok(()) };
        let (by, now) = (run.requested_by(), clock.now());
        // Ended meanwhile.
        let Ok(run) = run.cancel(by, now) else { return Ok(()) };
        if let Some(seq) = store_cancelled(&mut *tx, &run, now).await? {
            tx.commit().await?;
            run_ended(run.state().name());
            going.tell(scope, id, seq).await;
            return Ok(());
        }
    }
    Ok(())
}
