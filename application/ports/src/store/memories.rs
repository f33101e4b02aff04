//! What a tenant's agents remember.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use powerhouse_domain::ids::{MemoryId, UserId};
use powerhouse_domain::memory::{Memory, MemoryKind, Whose, Worth};

use super::{Limit, Page, StoreError};

/// What a tenant's agents remember, of one user each or of all.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait MemoryRepository: Send {
    /// A memory by id.
    async fn find(&mut self, id: MemoryId) -> Result<Option<Memory>, StoreError>;
    /// What an agent remembers of a user, or of all, in the order of its ids; only of a kind, when given. Without vectors.
    async fn list(
        &mut self,
        whose: Whose,
        kind: Option<MemoryKind>,
        after: Option<MemoryId>,
        limit: Limit,
    ) -> Result<Page<Memory, MemoryId>, StoreError>;
    /// All that an agent remembers of a user, or of all, in the order of its ids: at most
    /// [`MAX_MEMORIES`](powerhouse_domain::memory::MAX_MEMORIES).
    async fn all(&mut self, whose: Whose) -> Result<Vec<Memory>, StoreError>;
    /// What each memory of an agent and a user, or of all, is worth.
    async fn worth(&mut self, whose: Whose) -> Result<Vec<Worth>, StoreError>;
    /// Stores a new memory.
    async fn add(&mut self, memory: &Memory) -> Result<(), StoreError>;
    /// Stores what a memory says now, how much it matters, and its vector. Whether there was one.
    async fn update(&mut self, memory: &Memory) -> Result<bool, StoreError>;
    /// Notes that these came to mind.
    async fn touch(&mut self, ids: &[MemoryId], now: DateTime<Utc>) -> Result<(), StoreError>;
    /// Removes a memory. Whether there was one.
    async fn remove(&mut self, id: MemoryId) -> Result<bool, StoreError>;
    /// Removes all that an agent remembers of a user, or of all; how many these were.
    async fn erase(&mut self, whose: Whose) -> Result<u64, StoreError>;
    /// Removes all that any agent remembers of a user; how many these were.
    async fn erase_user(&mut self, user: UserId) -> Result<u64, StoreError>;
}
