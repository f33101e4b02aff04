//! Answers that were given to requests with a key, so that a request that is sent again gets the same one.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use powerhouse_domain::idempotency::IdempotencyKey;
use powerhouse_domain::ids::UserId;

use super::StoreError;

/// The keys of a tenant's users. A key is claimed and answered in the transaction of the change that it is for, so that
/// there is both or neither.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait IdempotencyRepository: Send {
    /// Takes a user's key until the transaction ends; whoever else claims it waits so long. The answer that was given
    /// with it before, which is sealed, unless it has expired. `Conflict` when another transaction has it for too long.
    async fn claim(
        &mut self,
        user: UserId,
        key: &IdempotencyKey,
        now: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Result<Option<Vec<u8>>, StoreError>;
    /// Keeps the answer, sealed, of a key that was claimed in this transaction; `Conflict` when it was not.
    async fn answer(&mut self, user: UserId, key: &IdempotencyKey, sealed: &[u8]) -> Result<(), StoreError>;
}
