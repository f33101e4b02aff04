//! The end of a thread.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::ids::ThreadId;
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::TenantStore;

use super::find;
use crate::{Refused, audited};

/// Removes threads.
#[derive(Clone)]
pub struct DeleteThread {
    /// Where threads are.
    pub store: Arc<dyn TenantStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl DeleteThread {
    /// Removes a thread with its summary. Its runs stay, as runs do; one that is under way goes on.
    pub async fn execute(&self, principal: &Principal, id: ThreadId) -> Result<(), Refused> {
        let mut tx = self.store.begin(&principal.scope()).await?;
        let (_, permit) = find::<access::DeleteThread>(&mut *tx, principal, id).await?;
        tx.threads().remove(permit.redeem().thread).await?;
        let entry = Entry::by(principal, AuditAction::ThreadRemoved, id, self.clock.now());
        Ok(audited::commit(tx, entry).await?)
    }
}
