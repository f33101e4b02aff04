//! A tenant's conversations.

use async_trait::async_trait;
use powerhouse_domain::ids::{ThreadId, UserId};
use powerhouse_domain::threads::{Summary, TakenTurn, Thread};

use super::{Limit, Page, StoreError};

/// A tenant's conversations. What was said in them is what their runs were asked and have answered.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait ThreadRepository: Send {
    /// A thread by id.
    async fn find(&mut self, id: ThreadId) -> Result<Option<Thread>, StoreError>;
    /// Threads, the newest first; only those of `owner`, when given.
    async fn list(
        &mut self,
        owner: Option<UserId>,
        before: Option<ThreadId>,
        limit: Limit,
    ) -> Result<Page<Thread, ThreadId>, StoreError>;
    /// How many there are.
    async fn count(&mut self) -> Result<u64, StoreError>;
    /// Stores a new thread.
    async fn add(&mut self, thread: &Thread) -> Result<(), StoreError>;
    /// Stores that it has one more run; `Conflict` unless the stored version is the one before.
    async fn update(&mut self, thread: &Thread) -> Result<(), StoreError>;
    /// Keeps a summary, unless there is one that tells of as much. Whether it was kept.
    async fn summarise(&mut self, id: ThreadId, summary: &Summary) -> Result<bool, StoreError>;
    /// Removes a thread. Whether there was one. Its runs stay.
    async fn remove(&mut self, id: ThreadId) -> Result<bool, StoreError>;
    /// The turns after this number, in their order; at most `limit`. The turns of runs that have not succeeded, or are
    /// gone, are not there.
    async fn turns(&mut self, id: ThreadId, after: u32, limit: u32) -> Result<Vec<TakenTurn>, StoreError>;
    /// Removes the threads of a user; how many these were.
    async fn remove_of(&mut self, owner: UserId) -> Result<u64, StoreError>;
}
