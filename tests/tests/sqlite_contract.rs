//! The stores' contract, on SQLite.

use std::sync::Arc;

use async_trait::async_trait;
use powerhouse_sqlite::SqliteStore;
use powerhouse_tests::contract::stores::{Harness, Stores};
use powerhouse_tests::store_contract;

struct OnSqlite(tempfile::TempDir);

#[async_trait]
impl Harness for OnSqlite {
    async fn stores(&self) -> Stores {
        let store = SqliteStore::open(&self.0.path().join("powerhouse.db")).await.expect("SQLite opens");
        let store = Arc::new(store);
        Stores { tenants: store.clone(), platform: store, open_at_once: 1 }
    }
}

store_contract!(OnSqlite(tempfile::TempDir::new().expect("a folder")));
