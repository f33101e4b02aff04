//! The stores of both databases, for a test of its own.

#![expect(clippy::missing_panics_doc, reason = "a test that has no database has failed")]

use std::path::Path;
use std::sync::Arc;

use powerhouse_postgres::{Compared, PoolSettings, PostgresStore, Roles};
use powerhouse_sqlite::SqliteStore;
use zeroize::Zeroizing;

use crate::contract::stores::Stores;
use crate::own_database::{APPLICATION, OwnDatabase, PASSWORD, PLATFORM};

/// Brings a database up to date, as the superuser. Says who compares vectors there.
pub async fn migrate(own: &OwnDatabase) -> Compared {
    let password = || Some(Zeroizing::new(PASSWORD.to_owned()));
    let roles = Roles::new((APPLICATION, password()), (PLATFORM, password()));
    powerhouse_postgres::migrate(own.owner().as_str(), &roles).await.expect("it can be migrated")
}

/// A database that is up to date.
pub async fn migrated() -> OwnDatabase {
    let own = OwnDatabase::empty().await;
    migrate(&own).await;
    own
}

/// The stores of a database that is up to date.
pub async fn open(own: &OwnDatabase, settings: PoolSettings) -> PostgresStore {
    let (application, platform) = (own.role(APPLICATION), own.role(PLATFORM));
    PostgresStore::open(application.as_str(), platform.as_str(), settings).await.expect("it can be opened")
}

/// Those of a database that is up to date, with the connections that they have by themselves.
pub async fn on_postgres(own: &OwnDatabase) -> Stores {
    let store = Arc::new(open(own, PoolSettings::default()).await);
    Stores { tenants: store.clone(), platform: store, open_at_once: 8 }
}

/// Those of `SQLite`, in this folder.
pub async fn on_sqlite(folder: &Path) -> Stores {
    let store = SqliteStore::open(&folder.join("powerhouse.db")).await.expect("it can be opened");
    let store = Arc::new(store);
    Stores { tenants: store.clone(), platform: store, open_at_once: 1 }
}
