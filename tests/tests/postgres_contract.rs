//! The stores' contract, on PostgreSQL: each promise on a database of its own, with roles that own nothing.
//!
//! Needs `TEST_DATABASE_URL`, a superuser's; `./scripts/test` sets it.

#![expect(clippy::unwrap_used, reason = "these are tests, also their helpers")]

use std::sync::Arc;

use async_trait::async_trait;
use powerhouse_postgres::{OpenError, PoolSettings, PostgresStore, Roles, Unsafe, migrate};
use powerhouse_tests::contract::stores::{Harness, Stores};
use powerhouse_tests::store_contract;
use sea_orm::{ConnectionTrait as _, Database};
use url::Url;
use uuid::Uuid;
use zeroize::Zeroizing;

const APPLICATION: &str = "powerhouse_test_application";
const PLATFORM: &str = "powerhouse_test_platform";
const PASSWORD: &str = "it's a \\test";

fn superuser() -> Url {
    let url = std::env::var("TEST_DATABASE_URL").expect("TEST_DATABASE_URL is set: see ./scripts/test");
    url.parse().expect("TEST_DATABASE_URL is a URL")
}

/// A database that is dropped with this.
struct OwnDatabase {
    name: String,
}

impl OwnDatabase {
    async fn migrated() -> Self {
        let name = format!("powerhouse_{}", Uuid::new_v4().simple());
        run(&superuser(), &format!("CREATE DATABASE {name}")).await;
        let own = Self { name };
        let password = || Some(Zeroizing::new(PASSWORD.to_owned()));
        let roles = Roles::new((APPLICATION, password()), (PLATFORM, password()));
        migrate(own.url(None).as_str(), &roles).await.unwrap();
        own
    }

    /// The database, as the superuser or as a role.
    fn url(&self, role: Option<&str>) -> Url {
        let mut url = superuser();
        url.set_path(&self.name);
        if let Some(role) = role {
            url.set_username(role).unwrap();
            url.set_password(Some(PASSWORD)).unwrap();
        }
        url
    }

    async fn open(&self) -> PostgresStore {
        let settings = PoolSettings { connections: 8, platform_connections: 4, ..PoolSettings::default() };
        let (application, platform) = (self.url(Some(APPLICATION)), self.url(Some(PLATFORM)));
        PostgresStore::open(application.as_str(), platform.as_str(), settings).await.unwrap()
    }
}

impl Drop for OwnDatabase {
    fn drop(&mut self) {
        let sql = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        // A thread of its own: a runtime cannot be waited for within another.
        let dropped = std::thread::spawn(move || {
            tokio::runtime::Runtime::new().unwrap().block_on(run(&superuser(), &sql));
        });
        let _ = dropped.join();
    }
}

async fn run(url: &Url, sql: &str) {
    let db = Database::connect(url.as_str()).await.unwrap();
    db.execute_unprepared(sql).await.unwrap();
    db.close().await.unwrap();
}

struct OnPostgres(tokio::sync::Mutex<Vec<OwnDatabase>>);

#[async_trait]
impl Harness for OnPostgres {
    async fn stores(&self) -> Stores {
        let own = OwnDatabase::migrated().await;
        let store = Arc::new(own.open().await);
        self.0.lock().await.push(own);
        Stores { tenants: store.clone(), platform: store }
    }
}

store_contract!(OnPostgres(tokio::sync::Mutex::default()));

#[tokio::test]
async fn roles_that_could_see_everything_are_refused() {
    let own = OwnDatabase::migrated().await;
    let application = own.url(Some(APPLICATION));
    let open = async |application: &Url, platform: &Url| {
        PostgresStore::open(application.as_str(), platform.as_str(), PoolSettings::default()).await
    };
    for (application, platform) in
        [(own.url(None), own.url(Some(PLATFORM))), (application.clone(), own.url(None))]
    {
        let error = open(&application, &platform).await.unwrap_err();
        assert!(matches!(error, OpenError::Unsafe(Unsafe::Role { why: "is a superuser", .. })), "{error}");
    }
    run(&own.url(None), "ALTER TABLE run_events NO FORCE ROW LEVEL SECURITY").await;
    let error = open(&application, &own.url(Some(PLATFORM))).await.unwrap_err();
    assert!(error.to_string().contains("run_events"), "{error}");
}

#[tokio::test]
async fn many_replicas_migrate_once() {
    let own = OwnDatabase::migrated().await;
    let roles = Roles::new((APPLICATION, None), (PLATFORM, None));
    let url = own.url(None);
    let replicas: Vec<_> = (0..5).map(|_| migrate(url.as_str(), &roles)).collect();
    for migrated in futures::future::join_all(replicas).await {
        migrated.unwrap();
    }
}
