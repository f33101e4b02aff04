//! What somebody did and the record of it last together, or neither does (S53).

use powerhouse_domain::audit::Entry;
use powerhouse_ports::store::{StoreError, TenantTx};

/// Writes down what was done in this transaction, and commits it.
pub(crate) async fn commit(mut tx: Box<dyn TenantTx>, entry: Entry) -> Result<(), StoreError> {
    tx.audit().append(entry).await?;
    tx.commit().await
}
