//! What an agent is to forget.

use std::sync::Arc;

use powerhouse_domain::access::Principal;
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::ids::{AgentId, MemoryId};
use powerhouse_domain::memory::Whose;
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::TenantStore;

use super::{check_agent, find, may_change};
use crate::{Refused, audited};

/// Has agents forget something.
#[derive(Clone)]
pub struct ForgetMemory {
    /// Where memories are.
    pub store: Arc<dyn TenantStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl ForgetMemory {
    /// Removes a memory.
    pub async fn execute(&self, principal: &Principal, agent: AgentId, id: MemoryId) -> Result<(), Refused> {
        let mut tx = self.store.begin(&principal.scope()).await?;
        let memory = find(&mut *tx, principal, agent, id).await?;
        may_change(principal, memory.whose, "memory")?;
        tx.memories().remove(id).await?;
        let entry = Entry::by(principal, AuditAction::MemoryRemoved, id, self.clock.now());
        Ok(audited::commit(tx, entry.with("agent", agent)).await?)
    }
}

/// Has agents forget all that they remember of somebody.
#[derive(Clone)]
pub struct EraseMemories {
    /// Where memories are.
    pub store: Arc<dyn TenantStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl EraseMemories {
    /// Removes all that an agent remembers of a user, or of all alike.
    pub async fn execute(&self, principal: &Principal, whose: Whose) -> Result<(), Refused> {
        may_change(principal, whose, "user")?;
        let mut tx = self.store.begin(&principal.scope()).await?;
        check_agent(&mut *tx, whose.agent).await?;
        let gone = tx.memories().erase(whose).await?;
        let of = whose.user.map_or("all".to_owned(), |user| user.to_string());
        let entry = Entry::by(principal, AuditAction::MemoriesErased, whose.agent, self.clock.now());
        Ok(audited::commit(tx, entry.with("of", of).with("memories", gone)).await?)
    }
}
