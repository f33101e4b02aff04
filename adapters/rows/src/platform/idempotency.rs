//! Answers to requests with a key that nobody may ask for any more.

use chrono::{DateTime, Utc};
use powerhouse_ports::store::StoreError;

use super::Platform;
use crate::Transaction;

const KEY: &str = "idempotency key";
/// Removes what expired before `$1`, at most `$2`.
const PURGE: &str = "
    DELETE FROM idempotency_keys WHERE expires_at < $1 AND (tenant_id, user_id, key_hash) IN (
        SELECT tenant_id, user_id, key_hash FROM idempotency_keys WHERE expires_at < $1 ORDER BY expires_at LIMIT $2
    )";

impl<C: Transaction> Platform<C> {
    /// Removes keys that expired before this time: at most `limit`, and how many.
    pub async fn purge_idempotency_keys(self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        self.purge(KEY, PURGE, before, limit).await
    }
}
