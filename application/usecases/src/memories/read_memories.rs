//! What an agent remembers, for the people whom it remembers it of.

use std::sync::Arc;

use powerhouse_domain::access::Principal;
use powerhouse_domain::ids::{AgentId, MemoryId};
use powerhouse_domain::memory::{Memory, MemoryKind, Ranked, Whose};
use powerhouse_ports::store::{Limit, Page, TenantStore};

use super::{Remembrance, Search, check_agent, find, may_read};
use crate::Refused;
use crate::embedding::Payer;

/// Lists memories.
#[derive(Clone)]
pub struct ListMemories {
    /// Where memories are.
    pub store: Arc<dyn TenantStore>,
}

impl ListMemories {
    /// What an agent remembers of a user, or of all, in the order of its ids.
    pub async fn execute(
        &self,
        principal: &Principal,
        whose: Whose,
        kind: Option<MemoryKind>,
        after: Option<MemoryId>,
        limit: Limit,
    ) -> Result<Page<Memory, MemoryId>, Refused> {
        let mut view = self.store.read(&may_read(principal, whose)?).await?;
        check_agent(&mut *view, whose.agent).await?;
        Ok(view.memories().list(whose, kind, after, limit).await?)
    }
}

/// Reads a memory.
#[derive(Clone)]
pub struct ReadMemory {
    /// Where memories are.
    pub store: Arc<dyn TenantStore>,
}

impl ReadMemory {
    /// Something that the agent remembers, of the caller, of all, or of whom the caller may know it.
    pub async fn execute(
        &self,
        principal: &Principal,
        agent: AgentId,
        id: MemoryId,
    ) -> Result<Memory, Refused> {
        let mut view = self.store.read(&principal.scope()).await?;
        find(&mut *view, principal, agent, id).await
    }
}

/// Searches memories.
#[derive(Clone)]
pub struct SearchMemories {
    /// Where memories are.
    pub store: Arc<dyn TenantStore>,
    /// Finds them.
    pub remembrance: Remembrance,
}

impl SearchMemories {
    /// What would come to the agent's mind, of a user or of all. To look is not to remember: nothing counts as having come to
    /// mind.
    pub async fn execute(
        &self,
        principal: &Principal,
        whose: Whose,
        search: &Search,
    ) -> Result<Vec<Ranked>, Refused> {
        let scope = may_read(principal, whose)?;
        let mut view = self.store.read(&scope).await?;
        check_agent(&mut *view, whose.agent).await?;
        drop(view);
        let payer = Payer::of(principal, Some(whose.agent));
        Ok(self.remembrance.search(&scope, payer, &[whose], search, false).await?.0)
    }
}
