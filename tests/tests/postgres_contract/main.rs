//! The stores' contract, on PostgreSQL: each promise on a database of its own, with roles that own nothing.
//!
//! Needs `TEST_DATABASE_URL`, a superuser's; `./scripts/test` sets it.

#![expect(clippy::unwrap_used, reason = "these are tests, also their helpers")]

use std::sync::Arc;

use async_trait::async_trait;
use powerhouse_postgres::{OpenError, PoolSettings, Pooler, PostgresStore, Roles, Unsafe, migrate};
use powerhouse_tests::contract::stores::{Harness, Stores};
use powerhouse_tests::own_database::{APPLICATION, OwnDatabase, PLATFORM};
use powerhouse_tests::own_pgbouncer::OwnPgBouncer;
use powerhouse_tests::own_stores::{self, migrated};
use powerhouse_tests::store_contract;
use url::Url;

mod mutations;
mod pgvector;
mod plans;
mod raw_sql;
mod tls;
mod trips;

/// How many connections the application's role has.
const CONNECTIONS: u8 = 8;

async fn open(own: &OwnDatabase) -> PostgresStore {
    let settings =
        PoolSettings { connections: CONNECTIONS.into(), platform_connections: 4, ..PoolSettings::default() };
    own_stores::open(own, settings).await
}

struct OnPostgres(tokio::sync::Mutex<Vec<OwnDatabase>>);

#[async_trait]
impl Harness for OnPostgres {
    async fn stores(&self) -> Stores {
        let own = migrated().await;
        let store = Arc::new(open(&own).await);
        self.0.lock().await.push(own);
        Stores { tenants: store.clone(), platform: store, open_at_once: CONNECTIONS.into() }
    }
}

store_contract!(OnPostgres(tokio::sync::Mutex::default()));

#[tokio::test]
async fn roles_that_could_see_everything_are_refused() {
    let own = migrated().await;
    let application = own.role(APPLICATION);
    let open = async |application: &Url, platform: &Url| {
        PostgresStore::open(application.as_str(), platform.as_str(), PoolSettings::default()).await
    };
    for (application, platform) in [(own.owner(), own.role(PLATFORM)), (application.clone(), own.owner())] {
        let error = open(&application, &platform).await.unwrap_err();
        assert!(matches!(error, OpenError::Unsafe(Unsafe::Role { why: "is a superuser", .. })), "{error}");
    }
    own.run("ALTER TABLE run_events NO FORCE ROW LEVEL SECURITY").await;
    let error = open(&application, &own.role(PLATFORM)).await.unwrap_err();
    assert!(error.to_string().contains("run_events"), "{error}");
}

#[tokio::test]
async fn many_replicas_migrate_once() {
    let own = migrated().await;
    let roles = Roles::new((APPLICATION, None), (PLATFORM, None));
    let url = own.owner();
    let replicas: Vec<_> = (0..5).map(|_| migrate(url.as_str(), &roles)).collect();
    for migrated in futures::future::join_all(replicas).await {
        migrated.unwrap();
    }
}

/// The same promises through a pooler that gives each transaction any of three connections: nothing stays on them.
mod behind_pgbouncer {
    use super::*;

    struct Bounced(tokio::sync::Mutex<Vec<(OwnPgBouncer, OwnDatabase)>>);

    #[async_trait]
    impl Harness for Bounced {
        async fn stores(&self) -> Stores {
            let own = migrated().await;
            let bouncer = OwnPgBouncer::before(&own.owner());
            let settings =
                PoolSettings { connections: 20, pooler: Pooler::Transaction, ..PoolSettings::default() };
            let (application, platform) =
                (bouncer.through(own.role(APPLICATION)), bouncer.through(own.role(PLATFORM)));
            let store = PostgresStore::open(application.as_str(), platform.as_str(), settings).await.unwrap();
            let store = Arc::new(store);
            self.0.lock().await.push((bouncer, own));
            Stores { tenants: store.clone(), platform: store, open_at_once: OwnPgBouncer::CONNECTIONS }
        }
    }

    store_contract!(Bounced(tokio::sync::Mutex::default()));
}
