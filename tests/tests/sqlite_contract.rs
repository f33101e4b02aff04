//! The stores' contract, on SQLite: in memory, and on a file, where readers have connections of their own.

use std::sync::Arc;

use async_trait::async_trait;
use powerhouse_sqlite::SqliteStore;
use powerhouse_tests::contract::stores::{Harness, Stores};
use powerhouse_tests::store_contract;

fn both_sides(store: SqliteStore) -> Stores {
    let store = Arc::new(store);
    Stores { tenants: store.clone(), platform: store, open_at_once: 1 }
}

mod in_memory {
    use super::*;

    struct InMemory;

    #[async_trait]
    impl Harness for InMemory {
        async fn stores(&self) -> Stores {
            both_sides(SqliteStore::in_memory().await.expect("SQLite opens"))
        }
    }

    store_contract!(InMemory);
}

mod on_file {
    use super::*;

    struct OnFile(tempfile::TempDir);

    #[async_trait]
    impl Harness for OnFile {
        async fn stores(&self) -> Stores {
            both_sides(SqliteStore::open(&self.0.path().join("powerhouse.db")).await.expect("SQLite opens"))
        }
    }

    store_contract!(OnFile(tempfile::TempDir::new().expect("a folder")));
}
