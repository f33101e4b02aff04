//! What a tenant's selection knows, and what it learns from.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use powerhouse_domain::ids::AgentId;
use powerhouse_domain::selection::{Outcome, Praised, Selector};

use super::StoreError;

/// What came of a run, and how likely each agent was to be chosen for it, the best fit first.
pub type Decided = (Outcome, Vec<(AgentId, f64)>);

/// A tenant's selection. What it learns from is what runs and people have left: nothing is stored for it when a run ends.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait SelectionRepository: Send {
    /// What it knows; nothing at revision 0 where nothing was ever learnt or said.
    async fn read(&mut self) -> Result<Selector, StoreError>;
    /// Puts this in its place; `Conflict` unless the stored revision is the one before.
    async fn replace(&mut self, selector: &Selector) -> Result<(), StoreError>;
    /// What came of the newest runs that ended by themselves, of those accepted since a time: the newest first, at most `limit`.
    async fn outcomes(
        &mut self,
        since: Option<DateTime<Utc>>,
        limit: u32,
    ) -> Result<Vec<Outcome>, StoreError>;
    /// The same of those runs for which an agent was chosen, with the probabilities by which it was.
    async fn decisions(
        &mut self,
        since: Option<DateTime<Utc>>,
        limit: u32,
    ) -> Result<Vec<Decided>, StoreError>;
    /// The first `chars` characters of the tasks of runs that were called good after a time: what was said last first, at most
    /// `limit`.
    async fn praised(
        &mut self,
        since: Option<DateTime<Utc>>,
        limit: u32,
        chars: u32,
    ) -> Result<Vec<Praised>, StoreError>;
}
