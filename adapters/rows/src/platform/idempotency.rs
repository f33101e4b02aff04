//! Answers to requests with a key that nobody may ask for any more.

use chrono::{DateTime, Utc};
use powerhouse_ports::store::StoreError;
use sea_orm::Statement;

use super::Platform;
use crate::Transaction;
use crate::error::store_error;

const KEY: &str = "idempotency key";
/// Removes what expired before `$1`, at most `$2`.
const PURGE: &str = "
    DELETE FROM idempotency_keys WHERE expires_at < $1 AND (tenant_id, user_id, key_hash) IN (
        SELECT tenant_id, user_id, key_hash FROM idempotency_keys WHERE expires_at < $1 ORDER BY expires_at LIMIT $2
    )";

impl<C: Transaction> Platform<C> {
    /// Removes keys that expired before this time: at most `limit`, and how many.
    pub async fn purge_idempotency_keys(self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        let values = [before.into(), i64::from(limit).into()];
        let purge = Statement::from_sql_and_values(self.0.get_database_backend(), PURGE, values);
        let gone = self.0.execute_raw(purge).await.map_err(store_error(KEY))?.rows_affected();
        self.0.commit().await.map_err(store_error(KEY))?;
        Ok(gone)
    }
}
