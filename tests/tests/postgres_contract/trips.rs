//! How many round trips reading takes, and what connections that were cut cost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use powerhouse_domain::access::{Principal, Role};
use powerhouse_domain::ids::{AgentId, SessionId, TenantId, UserId};
use powerhouse_domain::runs::{FencingToken, Lease};
use powerhouse_domain::tenants::Plan;
use powerhouse_ports::platform::PlatformStore as _;
use powerhouse_ports::store::{Plain, StoreError, TenantStore as _, Work};
use powerhouse_postgres::{PoolSettings, PostgresStore};
use powerhouse_tests::contract::sample::{agent, at, office, run};
use powerhouse_tests::contract::stores::{Stores, plain};
use powerhouse_tests::own_database::{APPLICATION, PLATFORM};
use powerhouse_tests::proxy::{Mode, Proxy};
use uuid::Uuid;

use crate::{migrated, open};

/// Over a network on which each round trip takes as long as three tenths of a second.
#[tokio::test]
async fn reads_take_as_many_round_trips_as_they_must() {
    const ONE_WAY: Duration = Duration::from_millis(150);
    let own = migrated().await;
    let target = own.owner();
    let target = (target.host_str().unwrap(), target.port().unwrap_or(5432));
    let proxy = Proxy::to(tokio::net::lookup_host(target).await.unwrap().next().unwrap()).await.unwrap();
    let through = |role: &str| {
        let mut url = own.role(role);
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(proxy.port())).unwrap();
        url
    };
    let settings = PoolSettings { connections: 1, platform_connections: 1, ..PoolSettings::default() };
    let (application, platform) = (through(APPLICATION), through(PLATFORM));
    let store = PostgresStore::open(application.as_str(), platform.as_str(), settings).await.unwrap();
    let id = Uuid::from_u128(7);
    let (tenant, user) = (TenantId::from_uuid(id), UserId::from_uuid(id));
    let scope = Principal::verified(tenant, user, SessionId::from_uuid(id), Role::Owner).scope();
    let find = async || {
        let mut view = store.read(&scope).await.unwrap();
        assert!(view.agents().find(AgentId::from_uuid(id)).await.unwrap().is_none());
    };
    let standing = async || assert!(store.standing(&scope, user).await.unwrap().is_none());
    let accepted = run(user, &agent("helper"), 5);
    let lease = Lease::granted(tenant, accepted.id(), FencingToken(1), at(9), 0);
    let work = Work { lease, run: accepted, events: Vec::new(), rules: None };
    let record = async || {
        let plain = Plain { work: &work, seen: 1, is_free: true, used: &[] };
        assert_eq!(store.record_plain(&[plain]).await.unwrap(), [None]);
    };
    // The first time, a statement is parsed too.
    find().await;
    standing().await;
    record().await;
    proxy.set(Mode::Slow(ONE_WAY));
    tokio::time::sleep(ONE_WAY).await;
    let started = Instant::now();
    find().await;
    let found = started.elapsed();
    assert!((4 * ONE_WAY..6 * ONE_WAY).contains(&found), "two round trips: {found:?}");
    let started = Instant::now();
    standing().await;
    let stood = started.elapsed();
    assert!((2 * ONE_WAY..4 * ONE_WAY).contains(&stood), "one round trip: {stood:?}");
    // A connection is tried by the pool when it is given back, and this one is the only one.
    tokio::time::sleep(4 * ONE_WAY).await;
    let started = Instant::now();
    record().await;
    let recorded = started.elapsed();
    assert!((2 * ONE_WAY..4 * ONE_WAY).contains(&recorded), "one round trip: {recorded:?}");
}

#[tokio::test]
async fn plain_work_goes_the_short_way() {
    let own = migrated().await;
    let store = Arc::new(open(&own).await);
    let stores = Stores { tenants: store.clone(), platform: store, open_at_once: 1 };
    plain::plain_work_goes_the_short_way(&stores).await;
}

/// As after a fail-over: the connections that are there lead nowhere.
#[tokio::test]
async fn connections_that_were_cut_while_idle_fail_nobody() {
    let own = migrated().await;
    let settings = PoolSettings { test_idle: Duration::ZERO, ..PoolSettings::default() };
    let (application, platform) = (own.role(APPLICATION), own.role(PLATFORM));
    let store = PostgresStore::open(application.as_str(), platform.as_str(), settings).await.unwrap();
    let id = Uuid::from_u128(7);
    let (tenant, user) = (TenantId::from_uuid(id), UserId::from_uuid(id));
    let scope = Principal::verified(tenant, user, SessionId::from_uuid(id), Role::Owner).scope();
    for _ in 0..3 {
        let views = futures::future::join_all((0..5).map(|_| store.read(&scope))).await;
        for view in views {
            assert!(view.unwrap().tenant().await.unwrap().is_none());
        }
        assert!(store.standing(&scope, user).await.unwrap().is_none());
        own.run(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await;
    }
}

/// Whoever comes second waits for whoever has the key, but not for ever.
#[tokio::test]
async fn a_key_that_somebody_has_for_long_is_in_use() {
    let own = migrated().await;
    let settings = PoolSettings { lock: Duration::from_millis(200), ..PoolSettings::default() };
    let (application, platform) = (own.role(APPLICATION), own.role(PLATFORM));
    let store = PostgresStore::open(application.as_str(), platform.as_str(), settings).await.unwrap();
    let office = office(&store, Plan::Team).await;
    let (user, key) = (office.owner.id(), "k".parse().unwrap());
    let mut first = store.begin(&office.principal.scope()).await.unwrap();
    assert_eq!(first.idempotency().claim(user, &key, at(0), at(1)).await.unwrap(), None);
    let mut second = store.begin(&office.principal.scope()).await.unwrap();
    let refused = second.idempotency().claim(user, &key, at(0), at(1)).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
}
