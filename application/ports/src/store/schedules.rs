//! A tenant's schedules.

use async_trait::async_trait;
use powerhouse_domain::ids::ScheduleId;
use powerhouse_domain::schedules::Schedule;

use super::{Limit, Page, StoreError};

/// A tenant's schedules.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait ScheduleRepository: Send {
    /// A schedule by id.
    async fn find(&mut self, id: ScheduleId) -> Result<Option<Schedule>, StoreError>;
    /// Schedules in the order of their ids.
    async fn list(
        &mut self,
        after: Option<ScheduleId>,
        limit: Limit,
    ) -> Result<Page<Schedule, ScheduleId>, StoreError>;
    /// How many there are.
    async fn count(&mut self) -> Result<u64, StoreError>;
    /// Stores a new schedule; from the commit on, it may be claimed when its time comes.
    async fn add(&mut self, schedule: &Schedule) -> Result<(), StoreError>;
    /// Stores a change; `Conflict` unless the stored version is the one before. Ends a claim on it.
    async fn update(&mut self, schedule: &Schedule) -> Result<(), StoreError>;
    /// Removes a schedule. Whether there was one.
    async fn remove(&mut self, id: ScheduleId) -> Result<bool, StoreError>;
}
