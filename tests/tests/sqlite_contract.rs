//! The stores' contract, on SQLite.

use std::sync::Arc;

use async_trait::async_trait;
use powerhouse_sqlite::SqliteStore;
use powerhouse_tests::contract::stores::{Harness, Stores};
use powerhouse_tests::store_contract;

struct Sqlite;

#[async_trait]
impl Harness for Sqlite {
    async fn stores(&self) -> Stores {
        let store = Arc::new(SqliteStore::in_memory().await.expect("SQLite opens"));
        Stores { tenants: store.clone(), platform: store }
    }
}

store_contract!(Sqlite);
