//! Something that an agent is to remember.

use powerhouse_domain::access::Principal;
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::memory::{Memory, NewMemory, Whose};

use super::remembrance::add;
use super::{Remembrance, check_agent, may_change};
use crate::embedding::Payer;
use crate::{Once, Refused};

/// Tells agents what to remember.
#[derive(Clone)]
pub struct AddMemory {
    /// Keeps it.
    pub remembrance: Remembrance,
}

impl AddMemory {
    /// Has an agent remember something of a user, or of all. Where it remembers as much as it may, the least valuable is lost.
    pub async fn execute(
        &self,
        principal: &Principal,
        whose: Whose,
        new: NewMemory,
        once: &Once<Memory>,
    ) -> Result<Memory, Refused> {
        may_change(principal, whose, "user")?;
        let Remembrance { store, clock, .. } = &self.remembrance;
        let scope = principal.scope();
        // Before the vector, which is paid for.
        drop(once.begin(&**store, &scope).await?);
        let payer = Payer::of(principal, Some(whose.agent));
        let (mut vectors, _) = self.remembrance.vectors(payer, &[new.text.as_str()]).await?;
        let vector = vectors.pop().flatten();
        let mut tx = once.begin(&**store, &scope).await?;
        check_agent(&mut *tx, whose.agent).await?;
        if let Some(user) = whose.user {
            tx.users().find(user).await?.ok_or(Refused::NotFound("user"))?;
        }
        let now = clock.now();
        let memory = self.remembrance.new_memory(whose, new, vector, None, now);
        add(&mut *tx, &memory, now).await?;
        let entry = Entry::by(principal, AuditAction::MemoryAdded, memory.id, now).with("agent", whose.agent);
        once.commit_audited(tx, &memory, entry).await?;
        Ok(memory)
    }
}
