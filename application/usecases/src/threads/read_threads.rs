//! Threads, and what was said in them.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::ids::ThreadId;
use powerhouse_domain::threads::{TakenTurn, Thread};
use powerhouse_ports::store::{Limit, Page, TenantStore};

use super::find;
use crate::{Refused, permit};

/// Lists threads.
#[derive(Clone)]
pub struct ListThreads {
    /// Where threads are.
    pub store: Arc<dyn TenantStore>,
}

impl ListThreads {
    /// Threads, the newest first: everybody's for who may see them, else the caller's own.
    pub async fn execute(
        &self,
        principal: &Principal,
        before: Option<ThreadId>,
        limit: Limit,
    ) -> Result<Page<Thread, ThreadId>, Refused> {
        let tenant = principal.tenant_id();
        let sees_all = principal.permit::<access::ListAllThreads>(tenant).is_ok();
        let permit = permit::<access::ListOwnThreads>(principal, tenant, "threads", true)?;
        let owner = (!sees_all).then_some(permit.granted_to());
        let mut view = self.store.read(&permit.scope()).await?;
        Ok(view.threads().list(owner, before, limit).await?)
    }
}

/// Reads a thread.
#[derive(Clone)]
pub struct ReadThread {
    /// Where threads are.
    pub store: Arc<dyn TenantStore>,
}

impl ReadThread {
    /// A thread that the caller may see, and a page of its turns, in their order.
    pub async fn execute(
        &self,
        principal: &Principal,
        id: ThreadId,
        after: Option<u32>,
        limit: Limit,
    ) -> Result<(Thread, Page<TakenTurn, u32>), Refused> {
        let mut view = self.store.read(&principal.scope()).await?;
        let (thread, permit) = find::<access::ReadThread>(&mut *view, principal, id).await?;
        let id = permit.redeem().thread;
        let turns = view.threads().turns(id, after.unwrap_or(0), u32::from(limit.get()) + 1).await?;
        Ok((thread, Page::of(turns, limit, |taken| taken.turn.number)))
    }
}
