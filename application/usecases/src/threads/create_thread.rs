//! A new thread.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::ids::ThreadId;
use powerhouse_domain::threads::{MAX_THREADS, Thread, Title};
use powerhouse_ports::clock::{Clock, IdSource};
use powerhouse_ports::store::TenantStore;

use crate::{Once, Refused, permit};

/// Begins threads.
#[derive(Clone)]
pub struct CreateThread {
    /// Where threads are.
    pub store: Arc<dyn TenantStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
    /// Gives ids.
    pub ids: Arc<dyn IdSource>,
}

impl CreateThread {
    /// Begins a thread, which is the caller's.
    pub async fn execute(
        &self,
        principal: &Principal,
        title: Option<Title>,
        once: &Once<Thread>,
    ) -> Result<Thread, Refused> {
        let permit = permit::<access::CreateThread>(principal, principal.tenant_id(), "threads", true)?;
        let now = self.clock.now();
        let thread = Thread::begin(ThreadId::from_uuid(self.ids.next()), permit.granted_to(), title, now);
        let mut tx = once.begin(&*self.store, &permit.scope()).await?;
        if tx.threads().count().await? >= MAX_THREADS {
            let reason = format!("a tenant has at most {MAX_THREADS} threads: remove some");
            return Err(Refused::conflict("too_many_threads", reason));
        }
        tx.threads().add(&thread).await?;
        once.commit_audited(tx, &thread, Entry::by(principal, AuditAction::ThreadCreated, thread.id, now))
            .await?;
        permit.redeem();
        Ok(thread)
    }
}
