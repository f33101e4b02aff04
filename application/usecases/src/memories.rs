//! What agents remember: searching and changing it, for runs by tools and for people over HTTP.
//!
//! Start reading at [`Remembrance`], which both go through.

mod add_memory;
mod forget;
mod read_memories;
mod remembrance;
mod tools;

pub use add_memory::AddMemory;
pub use forget::{EraseMemories, ForgetMemory};
pub use read_memories::{ListMemories, ReadMemory, SearchMemories};
pub use remembrance::{Remembrance, Search};
pub use tools::{MemoryApply, MemorySearch};

use powerhouse_domain::access::{self, MemoriesOf, Principal, TenantScope};
use powerhouse_domain::ids::{AgentId, MemoryId};
use powerhouse_domain::memory::{Memory, Whose};
use powerhouse_ports::store::TenantView;

use crate::{Refused, permit};

const NO_MEMORY: Refused = Refused::NotFound("memory");

/// The caller may see these memories.
fn may_read(principal: &Principal, whose: Whose) -> Result<TenantScope, Refused> {
    let Whose { agent, user } = whose;
    if let Some(user) = user {
        permit::<access::ReadMemories>(principal, MemoriesOf { agent, user }, "user", false)?.redeem();
    } else {
        permit::<access::ReadSharedMemories>(principal, agent, "agent", true)?.redeem();
    }
    Ok(principal.scope())
}

/// The caller may change these memories. Who may not even see them is told that there are none.
fn may_change(principal: &Principal, whose: Whose, what: &'static str) -> Result<(), Refused> {
    let visible = may_read(principal, whose).is_ok();
    let Whose { agent, user } = whose;
    if let Some(user) = user {
        permit::<access::UpdateMemories>(principal, MemoriesOf { agent, user }, what, visible)?.redeem();
    } else {
        permit::<access::UpdateSharedMemories>(principal, agent, what, visible)?.redeem();
    }
    Ok(())
}

async fn check_agent(view: &mut dyn TenantView, agent: AgentId) -> Result<(), Refused> {
    view.agents().find(agent).await?.map(drop).ok_or(Refused::NotFound("agent"))
}

/// A memory of this agent that the caller may see.
async fn find(
    view: &mut dyn TenantView,
    principal: &Principal,
    agent: AgentId,
    id: MemoryId,
) -> Result<Memory, Refused> {
    let memory = view.memories().find(id).await?.filter(|memory| memory.whose.agent == agent);
    let memory = memory.ok_or(NO_MEMORY)?;
    may_read(principal, memory.whose).map_err(|_| NO_MEMORY)?;
    Ok(memory)
}
