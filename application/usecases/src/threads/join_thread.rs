//! One more run of a thread.

use chrono::{DateTime, Utc};
use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::ids::{RunId, ThreadId};
use powerhouse_domain::threads::InThread;
use powerhouse_ports::store::{StoreError, TenantTx};

use super::find;
use crate::Refused;

/// The place of a run in a thread of the caller's. Refused while another run of the thread is under way: what that one answers
/// is not known yet.
pub(crate) async fn join(
    tx: &mut dyn TenantTx,
    principal: &Principal,
    id: ThreadId,
    run: RunId,
    now: DateTime<Utc>,
) -> Result<InThread, Refused> {
    let (thread, permit) = find::<access::ContinueThread>(tx, principal, id).await?;
    permit.redeem();
    if let Some(last) = thread.last_run
        && tx.runs().find(last).await?.is_some_and(|last| !last.state().name().is_final())
    {
        return Err(busy());
    }
    let (thread, place) =
        thread.continued(run, now).map_err(|error| Refused::conflict("thread_full", error))?;
    match tx.threads().update(&thread).await {
        Ok(()) => Ok(place),
        Err(StoreError::Conflict { .. }) => Err(busy()),
        Err(error) => Err(error.into()),
    }
}

fn busy() -> Refused {
    let reason = "another run of this thread is under way: wait for its end, or cancel it";
    Refused::conflict("thread_busy", reason)
}
