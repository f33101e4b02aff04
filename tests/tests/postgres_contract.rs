//! The stores' contract, on PostgreSQL: each promise on a database of its own, with roles that own nothing.
//!
//! Needs `TEST_DATABASE_URL`, a superuser's; `./scripts/test` sets it.

#![expect(clippy::unwrap_used, reason = "these are tests, also their helpers")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::Utc;
use powerhouse_domain::access::{Principal, Role};
use powerhouse_domain::ids::{AgentId, RunId, SessionId, TenantId, UserId};
use powerhouse_ports::platform::PlatformStore as _;
use powerhouse_ports::store::{Limit, TenantStore as _};
use powerhouse_postgres::{OpenError, PoolSettings, Pooler, PostgresStore, Roles, Unsafe, migrate};
use powerhouse_tests::contract::stores::{Harness, Stores};
use powerhouse_tests::own_database::{APPLICATION, OwnDatabase, PASSWORD, PLATFORM};
use powerhouse_tests::own_pgbouncer::OwnPgBouncer;
use powerhouse_tests::proxy::{Mode, Proxy};
use powerhouse_tests::store_contract;
use sea_orm::{ConnectionTrait as _, Database, DbBackend, Statement, TransactionTrait as _};
use url::Url;
use uuid::Uuid;
use zeroize::Zeroizing;

async fn migrated() -> OwnDatabase {
    let own = OwnDatabase::empty().await;
    let password = || Some(Zeroizing::new(PASSWORD.to_owned()));
    let roles = Roles::new((APPLICATION, password()), (PLATFORM, password()));
    migrate(own.owner().as_str(), &roles).await.unwrap();
    own
}

async fn open(own: &OwnDatabase) -> PostgresStore {
    let settings = PoolSettings { connections: 8, platform_connections: 4, ..PoolSettings::default() };
    let (application, platform) = (own.role(APPLICATION), own.role(PLATFORM));
    PostgresStore::open(application.as_str(), platform.as_str(), settings).await.unwrap()
}

struct OnPostgres(tokio::sync::Mutex<Vec<OwnDatabase>>);

#[async_trait]
impl Harness for OnPostgres {
    async fn stores(&self) -> Stores {
        let own = migrated().await;
        let store = Arc::new(open(&own).await);
        self.0.lock().await.push(own);
        Stores { tenants: store.clone(), platform: store }
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

/// Raw SQL as the serving roles: what our code would do if it were wrong, or somebody else's.
#[tokio::test]
async fn raw_sql_gets_nothing_that_is_another_tenants() {
    let own = migrated().await;
    let (one, other) = ("00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002");
    for (tenant, slug) in [(one, "one"), (other, "other")] {
        own.run(&format!(
            "INSERT INTO tenants VALUES ('{tenant}', '{slug}', 'n', 'free', 'active', NULL, NULL, 1, now(), now());
             INSERT INTO users (tenant_id, id, email, display_name, password_hash, role, joined_at, version, created_at,
                                updated_at)
             VALUES ('{tenant}', '{tenant}', 'a@example.org', 'canary-{slug}', 'hash-{slug}', 'owner', now(), 1,
                     now(), now());"
        ))
        .await;
    }
    let application = own.connect(APPLICATION).await;
    let texts = async |sql: &str| -> Result<Vec<String>, sea_orm::DbErr> {
        let tx = application.begin().await?;
        tx.execute_unprepared(&format!("SET LOCAL app.tenant_id = '{one}'")).await?;
        let rows = tx.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
        rows.iter().map(|row| row.try_get_by_index(0)).collect()
    };
    // What one may see is one's own, however it is asked for.
    for sql in [
        "SELECT display_name FROM users",
        &format!("SELECT display_name FROM users WHERE tenant_id = '{other}' OR true"),
        "SELECT u.display_name FROM tenants t JOIN users u ON u.tenant_id = t.id",
        "SELECT string_agg(display_name, ',') FROM users",
        "WITH x AS (SELECT * FROM users) SELECT display_name FROM x UNION SELECT display_name FROM users",
        "SELECT 'canary-' || slug FROM tenants",
    ] {
        assert_eq!(texts(sql).await.unwrap(), ["canary-one"], "{sql}");
    }
    // What one must not do is refused, or changes nothing.
    for sql in [
        "SELECT password_hash FROM sessions",
        "SELECT digest::text FROM refresh_digests",
        "SELECT turn::text FROM queue_turns",
        "SET ROLE powerhouse_test_platform",
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION postgres",
        "ALTER TABLE users DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE users NO FORCE ROW LEVEL SECURITY",
        "DROP POLICY tenant_isolation ON users",
        "CREATE POLICY open ON users USING (true)",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
        "CREATE VIEW v AS SELECT * FROM users",
        "ALTER ROLE powerhouse_test_application BYPASSRLS",
        "COPY users TO PROGRAM 'cat'",
        "COPY users FROM '/etc/passwd'",
        "DELETE FROM tenants RETURNING name",
        &format!(
            "INSERT INTO tenants VALUES (gen_random_uuid(), 'x', 'n', 'free', 'active', NULL, NULL, 1, now(), now()) RETURNING '{other}'"
        ),
        &format!("UPDATE users SET tenant_id = '{other}' RETURNING 'moved'"),
        &format!(
            "INSERT INTO users SELECT '{other}', gen_random_uuid(), 'b@example.org', display_name, password_hash, role, \
             joined_at, disabled_since, version, created_at, updated_at FROM users RETURNING 'planted'"
        ),
        "SET row_security = off; SELECT display_name FROM users",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT rolpassword FROM pg_authid",
    ] {
        assert!(texts(sql).await.is_err(), "this was allowed: {sql}");
    }
    for sql in [
        &format!("UPDATE users SET display_name = 'mine' WHERE tenant_id = '{other}' RETURNING 'changed'"),
        &format!("DELETE FROM users WHERE tenant_id = '{other}' RETURNING 'deleted'"),
        &format!("UPDATE tenants SET name = 'mine' WHERE id = '{other}' RETURNING 'renamed'"),
    ] {
        assert_eq!(texts(sql).await.unwrap(), Vec::<String>::new(), "{sql}");
    }
    // The platform's role claims and signs in, and reads no content.
    let platform = own.connect(PLATFORM).await;
    for sql in [
        "SELECT task FROM runs",
        "SELECT state FROM runs",
        "SELECT * FROM runs",
        "UPDATE runs SET task = 'x'",
        "SELECT * FROM run_events",
        "SELECT * FROM agents",
        "SELECT * FROM agent_versions",
        "SELECT * FROM run_feedback",
        "DELETE FROM users",
        "UPDATE users SET role = 'owner'",
    ] {
        assert!(platform.execute_unprepared(sql).await.is_err(), "this was allowed: {sql}");
    }
    platform.execute_unprepared("SELECT id, fencing_token FROM runs").await.unwrap();
}

/// On tables so large that a sequential scan would be slow, the database is asked what it did.
#[tokio::test]
async fn no_query_of_the_api_scans_a_large_table() {
    let own = migrated().await;
    // 100 tenants with 300 rows each; ids are numbers, so that the ones below are known.
    own.run(
        "CREATE FUNCTION id(n bigint) RETURNS uuid LANGUAGE sql AS $$ SELECT lpad(to_hex(n), 32, '0')::uuid $$;
        INSERT INTO tenants SELECT id(t), 'tenant-' || t, 'n', 'team', 'active', NULL, NULL, 1, now(), now()
            FROM generate_series(1, 100) t;
        INSERT INTO users (tenant_id, id, email, display_name, password_hash, role, joined_at, version, created_at,
                           updated_at)
            SELECT id(t), id(t * 1000 + n), 'u' || n || '@example.org', 'n', 'h', 'member', now(), 1, now(), now()
            FROM generate_series(1, 100) t, generate_series(1, 300) n;
        INSERT INTO agents SELECT id(t), id(t * 1000 + n), 'a' || n, NULL, 1, NULL, 1, now()
            FROM generate_series(1, 100) t, generate_series(1, 300) n;
        INSERT INTO agent_versions SELECT tenant_id, id, 1, $${\"kind\": \"direct\", \"parameters\": {},
            \"description\": \"\", \"instructions\": \"\", \"model\": null, \"tools\": [], \"capabilities\": [],
            \"examples\": [], \"limits\": {\"steps\": 1, \"tokens\": 1, \"cost_micros\": 0, \"wall_clock_ms\": 1000}}$$,
            now() FROM agents;
        INSERT INTO runs (tenant_id, id, requested_by, task, agent_id, agent_version, selection, limits, status, state,
                          input_tokens, output_tokens, cost_micros, created_at, version, fencing_token, next_seq)
            SELECT tenant_id, id, id, 'Work', id, 1,
                jsonb_build_object('agent', 'agent_00000000000000000000000001', 'agent_version', 1, 'reason', 'r',
                                   'scores', '[]'::jsonb),
                $${\"steps\": 1, \"tokens\": 1, \"cost_micros\": 0, \"wall_clock_ms\": 1000}$$, 'cancelled',
                jsonb_build_object('status', 'cancelled', 'by', 'user_00000000000000000000000001',
                                   'started_at', NULL, 'ended_at', '2026-01-01T00:00:00Z'),
                0, 0, 0, now(), 1, 0, 3 FROM users;
        INSERT INTO run_events SELECT tenant_id, id, seq, now(), $${\"queued\": null}$$ FROM runs, generate_series(1, 3) seq;
        INSERT INTO run_feedback SELECT tenant_id, id, requested_by, 'good', '', now() FROM runs;
        INSERT INTO sessions SELECT tenant_id, id, id, sha256(id::text::bytea), NULL, now(), now() + '1 day', NULL
            FROM users;
        INSERT INTO refresh_digests SELECT tenant_id, current_digest, id FROM sessions;
        ANALYZE",
    )
    .await;
    let store = open(&own).await;
    let id = Uuid::from_u128(50_000 + 7);
    let (tenant, user) = (TenantId::from_uuid(Uuid::from_u128(50)), UserId::from_uuid(id));
    let principal = Principal::verified(tenant, user, SessionId::from_uuid(id), Role::Owner);
    let digest = [7; 32];
    let now = Utc::now();

    let scans = async || -> Vec<String> {
        let db = Database::connect(own.owner().as_str()).await.unwrap();
        let sql = "SELECT relname || ' ' || seq_scan FROM pg_stat_user_tables WHERE relname NOT LIKE 'seaql%'
            AND relname NOT IN ('tenants', 'queue_turns') ORDER BY 1";
        let rows = db.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await.unwrap();
        rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
    };
    let before = scans().await;
    let mut tx = store.begin(&principal.scope()).await.unwrap();
    let page = Limit::new(20).unwrap();
    assert!(tx.tenant().await.unwrap().is_some());
    assert!(tx.users().find(user).await.unwrap().is_some());
    assert!(tx.users().find_by_email(&"u9@example.org".parse().unwrap()).await.unwrap().is_some());
    assert_eq!(tx.users().list(Some(user), page).await.unwrap().items.len(), 20);
    assert_eq!(tx.users().count().await.unwrap(), 300);
    let agent = AgentId::from_uuid(id);
    assert!(tx.agents().find(agent).await.unwrap().is_some());
    assert!(tx.agents().find_by_name(&"a9".parse().unwrap()).await.unwrap().is_some());
    assert_eq!(tx.agents().list(Some(agent), page).await.unwrap().items.len(), 20);
    assert!(tx.agents().version(agent, 1).await.unwrap().is_some());
    assert_eq!(tx.agents().count_in_use().await.unwrap(), 300);
    let run = RunId::from_uuid(id);
    assert!(tx.runs().find(run).await.unwrap().is_some());
    assert_eq!(tx.runs().list(None, None, page).await.unwrap().items.len(), 20);
    assert_eq!(tx.runs().list(Some(user), None, page).await.unwrap().items.len(), 1);
    assert!(tx.runs().feedback(run, user).await.unwrap().is_some());
    let _ = tx.runs().events(run, 1, 100).await;
    drop(tx);
    assert!(
        store
            .credentials(&"tenant-9".parse().unwrap(), &"u9@example.org".parse().unwrap())
            .await
            .unwrap()
            .is_some()
    );
    assert!(store.standing(&principal.scope(), principal.user_id()).await.unwrap().is_some());
    store.rotate(&digest, &digest, now).await.unwrap();
    store.end_session(SessionId::from_uuid(id), now).await.unwrap();
    assert!(store.claim(10, now, Duration::from_secs(1)).await.unwrap().is_empty());
    // Connections that close hand in their counts.
    store.close().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(scans().await, before, "a table was read from end to end");
}

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
    // The first time, a statement is parsed too.
    find().await;
    standing().await;
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
            Stores { tenants: store.clone(), platform: store }
        }
    }

    store_contract!(Bounced(tokio::sync::Mutex::default()));
}

/// An authority that signed nothing here.
const STRANGER: &str = "-----BEGIN CERTIFICATE-----\n\
    MIIBfDCCASOgAwIBAgIUe6JHJezzycgqXXyCwhhBoDhblHMwCgYIKoZIzj0EAwIw\n\
    EzERMA8GA1UEAwwIc3RyYW5nZXIwIBcNMjYxMTI0MTI1ODAyWhgPMjEyNjEwMzEx\n\
    MjU4MDJaMBMxETAPBgNVBAMMCHN0cmFuZ2VyMFkwEwYHKoZIzj0CAQYIKoZIzj0D\n\
    AQcDQgAEiI1447DeEyh/ojJTltZAzj7h8dIa12/PjGSXoL53cBKI4q7msqGnZety\n\
    +VFih+oEtTKyh1M8sezb/N4dYGtVfqNTMFEwHQYDVR0OBBYEFFATQojTOD0QthFK\n\
    QAJZh4o5I3iWMB8GA1UdIwQYMBaAFFATQojTOD0QthFKQAJZh4o5I3iWMA8GA1Ud\n\
    EwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDRwAwRAIgOhkdRqllHB0o5Sv5gAfguqUv\n\
    Bn/2rwGCRAiJR3T8/LcCICk2/hR4cstWkHxX7mnGy9PPNyKhfgcz5+qrmoWJUHFZ\n\
    -----END CERTIFICATE-----\n";

/// A connection is encrypted, and only to whom the certificate names: tested on the instance of `./scripts/test`, which
/// speaks TLS; another one's certificate is not known here.
#[tokio::test]
async fn the_databases_certificate_is_verified() {
    let Ok(certificate) = std::env::var("TEST_DATABASE_CERTIFICATE") else {
        eprintln!("skipped: TEST_DATABASE_CERTIFICATE is not set");
        return;
    };
    let own = migrated().await;
    let verified = |role: &str, host: &str, authority: &str| {
        let mut url = own.role(role);
        url.set_host(Some(host)).unwrap();
        url.query_pairs_mut().append_pair("sslmode", "verify-full").append_pair("sslrootcert", authority);
        url
    };
    let open = async |host: &str, authority: &str| {
        let (application, platform) =
            (verified(APPLICATION, host, authority), verified(PLATFORM, host, authority));
        let settings = PoolSettings { acquire: Duration::from_secs(2), ..PoolSettings::default() };
        PostgresStore::open(application.as_str(), platform.as_str(), settings).await
    };
    open("127.0.0.1", &certificate).await.expect("the certificate is for this address").ping().await.unwrap();
    assert!(matches!(open("localhost", &certificate).await, Err(OpenError::Connect(_))), "another name");
    let stranger = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(stranger.path(), STRANGER).unwrap();
    let unknown = open("127.0.0.1", stranger.path().to_str().unwrap()).await;
    assert!(matches!(unknown, Err(OpenError::Connect(_))), "another authority");
}
