//! The schema on PostgreSQL: it comes, goes and comes again, and its policies and keys hold (S01, S03, S04).
//!
//! Needs `TEST_DATABASE_URL`, with a role that may create databases and roles; without it these tests do nothing.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend, Statement,
    TransactionTrait,
};

use crate::Migrator;

const ONE: &str = "00000000-0000-0000-0000-000000000001";
const OTHER: &str = "00000000-0000-0000-0000-000000000002";

/// Rows as the third version has them, in words that both databases understand.
pub(crate) const ROWS: [&str; 6] = [
    "INSERT INTO tenants (id, slug, name, plan, status, version, created_at, updated_at) VALUES
        ('00000000-0000-0000-0000-000000000001', 'acme', 'Acme', 'team', 'active', 1, '2026-01-01', '2026-01-01')",
    "INSERT INTO users (tenant_id, id, email, display_name, password_hash, role, joined_at, version, created_at,
        updated_at) VALUES ('00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002',
        'ada@example.org', 'Ada', 'hash', 'owner', '2026-01-01', 1, '2026-01-01', '2026-01-01')",
    "INSERT INTO sessions (tenant_id, id, user_id, current_digest, created_at, expires_at) VALUES
        ('00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000003',
        '00000000-0000-0000-0000-000000000002', 'digest', '2026-01-01', '2026-02-01')",
    "INSERT INTO refresh_digests (tenant_id, digest, session_id) VALUES
        ('00000000-0000-0000-0000-000000000001', 'digest', '00000000-0000-0000-0000-000000000003')",
    "INSERT INTO runs (tenant_id, id, requested_by, task, agent_id, agent_version, selection, limits, status, state,
        input_tokens, output_tokens, cost_micros, created_at, version, fencing_token, next_seq) VALUES
        ('00000000-0000-0000-0000-000000000001', '019b0000-0000-7000-8000-000000000001',
        '00000000-0000-0000-0000-000000000002', 'task', '00000000-0000-0000-0000-000000000004', 1, '{}', '{}',
        'running', '{}', 0, 0, 0, '2026-01-01', 1, 1, 2)",
    "INSERT INTO run_events (tenant_id, run_id, seq, at, body) VALUES
        ('00000000-0000-0000-0000-000000000001', '019b0000-0000-7000-8000-000000000001', 1, '2026-01-01', '{}')",
];
/// The tables that they are in.
pub(crate) const FILLED: [&str; 6] =
    ["tenants", "users", "sessions", "refresh_digests", "runs", "run_events"];

/// Runs a test on a database of its own, which is dropped at the end, and with the name of a role that owns nothing.
async fn on_a_fresh_database(test: impl AsyncFnOnce(&DatabaseConnection, &str)) {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let Ok(url) = std::env::var("TEST_DATABASE_URL") else {
        eprintln!("skipped: TEST_DATABASE_URL is not set");
        return;
    };
    let name =
        format!("powerhouse_migrations_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let admin = Database::connect(&url).await.unwrap();
    for statement in ["DROP DATABASE IF EXISTS", "DROP ROLE IF EXISTS", "CREATE DATABASE", "CREATE ROLE"] {
        admin.execute_unprepared(&format!("{statement} {name}")).await.unwrap();
    }
    let mut options = ConnectOptions::new(url);
    let database = name.clone();
    options.max_connections(1).map_sqlx_postgres_opts(move |options| options.database(&database));
    let db = Database::connect(options).await.unwrap();
    test(&db, &name).await;
    db.close().await.unwrap();
    for statement in ["DROP DATABASE", "DROP ROLE"] {
        admin.execute_unprepared(&format!("{statement} {name}")).await.unwrap();
    }
}

/// The first column of what a query answers.
async fn column(db: &impl ConnectionTrait, sql: &str) -> Vec<String> {
    let rows = db.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await.unwrap();
    rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

/// Everything that makes up the schema, but for the migrations' own table.
async fn schema(db: &DatabaseConnection) -> Vec<String> {
    let sql = "
        SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable) AS line
        FROM information_schema.columns WHERE table_schema = 'public'
        UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
        UNION ALL SELECT concat_ws(' ', tablename, policyname, cmd, qual, with_check) FROM pg_policies
        UNION ALL SELECT concat_ws(' ', conrelid::regclass, pg_get_constraintdef(oid)) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace
        UNION ALL SELECT concat_ws(' ', relname, relrowsecurity, relforcerowsecurity) FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
        ORDER BY line";
    let lines = column(db, sql).await;
    lines.into_iter().filter(|line| !line.contains("seaql_migrations")).collect()
}

const TENANT_TABLES: &str = "
    SELECT table_name::text FROM information_schema.columns
    WHERE table_schema = 'public' AND column_name = 'tenant_id' ORDER BY table_name";

/// Each step is taken with rows of the version before, which stay.
#[tokio::test]
async fn rows_of_the_version_before_stay() {
    on_a_fresh_database(async |db, role| {
        Migrator::up(db, Some(3)).await.unwrap();
        for row in ROWS {
            db.execute_unprepared(row).await.unwrap();
        }
        db.execute_unprepared(&format!("GRANT SELECT, INSERT ON run_events TO {role}")).await.unwrap();
        Migrator::up(db, None).await.unwrap();
        for table in FILLED {
            assert_eq!(column(db, &format!("SELECT COUNT(*)::text FROM {table}")).await, ["1"], "{table}");
        }
        // Who served with the version before may go on.
        let tx = serving(db, role, ONE).await;
        assert_eq!(column(&tx, "SELECT seq::text FROM run_events").await, ["1"]);
        tx.execute_unprepared("INSERT INTO run_events SELECT tenant_id, run_id, 2, at, body FROM run_events")
            .await
            .unwrap();
        tx.commit().await.unwrap();
        // And back.
        Migrator::down(db, Some(1)).await.unwrap();
        assert_eq!(column(db, "SELECT seq::text FROM run_events ORDER BY seq").await, ["1", "2"]);
        db.execute_unprepared(&format!("DROP OWNED BY {role}")).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn up_down_and_up_again_leaves_the_same_schema() {
    on_a_fresh_database(async |db, _| {
        Migrator::up(db, None).await.unwrap();
        let first = schema(db).await;
        assert!(first.iter().any(|line| line.starts_with("run_events ")), "{first:#?}");
        Migrator::down(db, None).await.unwrap();
        assert_eq!(schema(db).await, Vec::<String>::new());
        Migrator::up(db, None).await.unwrap();
        assert_eq!(schema(db).await, first);
    })
    .await;
}

/// S01: one policy for all commands, for reading and writing, forced on the owner too.
#[tokio::test]
async fn every_table_with_a_tenant_has_its_policy() {
    on_a_fresh_database(async |db, _| {
        Migrator::up(db, None).await.unwrap();
        let with_tenant: BTreeSet<String> = column(db, TENANT_TABLES).await.into_iter().collect();
        assert!(with_tenant.len() >= 9, "{with_tenant:?}");
        let sql = "
            SELECT relname::text FROM pg_class JOIN pg_policies ON tablename = relname
            WHERE relrowsecurity AND relforcerowsecurity AND cmd = 'ALL' AND permissive = 'PERMISSIVE'
              AND roles = '{public}' AND qual = with_check AND qual LIKE '(tenant_id = ( SELECT %'";
        let guarded = column(db, sql).await;
        assert_eq!(guarded.len(), with_tenant.len(), "one policy each");
        assert_eq!(guarded.into_iter().collect::<BTreeSet<_>>(), with_tenant);
    })
    .await;
}

/// S04: a key that lacks the tenant would tell of another one's rows, or point at them.
#[tokio::test]
async fn primary_unique_and_foreign_keys_carry_the_tenant() {
    on_a_fresh_database(async |db, _| {
        Migrator::up(db, None).await.unwrap();
        let unique = "
            SELECT indexrelid::regclass::text FROM pg_index
            JOIN pg_attribute AS first ON first.attrelid = indrelid AND first.attnum = indkey[0]
            JOIN pg_attribute AS tenant ON tenant.attrelid = indrelid AND tenant.attname = 'tenant_id'
            WHERE indisunique AND first.attname <> 'tenant_id'";
        assert_eq!(column(db, unique).await, Vec::<String>::new());
        let foreign = "
            SELECT concat(conrelid::regclass, ': ', pg_get_constraintdef(oid)) FROM pg_constraint
            WHERE contype = 'f'
              AND pg_get_constraintdef(oid) NOT LIKE 'FOREIGN KEY (tenant_id% REFERENCES %(tenant_id, %'
              AND pg_get_constraintdef(oid) NOT LIKE 'FOREIGN KEY (tenant_id) REFERENCES tenants(id)%'";
        assert_eq!(column(db, foreign).await, Vec::<String>::new());
    })
    .await;
}

/// A transaction of a role that owns nothing, for a tenant.
async fn serving(db: &DatabaseConnection, role: &str, tenant: &str) -> DatabaseTransaction {
    let tx = db.begin().await.unwrap();
    tx.execute_unprepared(&format!("SET LOCAL ROLE {role}")).await.unwrap();
    tx.execute_unprepared(&format!("SELECT set_config('app.tenant_id', '{tenant}', true)")).await.unwrap();
    tx
}

fn user(tenant: &str) -> String {
    format!(
        "INSERT INTO users (tenant_id, id, email, display_name, password_hash, role, joined_at, version, \
         created_at, updated_at) VALUES ('{tenant}', gen_random_uuid(), 'owner@example.org', 'x', 'x', 'owner', \
         now(), 1, now(), now())"
    )
}

/// S01, S03: a tenant sees and writes its own rows; without one there are none; the setting ends with its
/// transaction; and the owner of the tables is bound too.
#[tokio::test]
async fn a_transaction_sees_and_writes_its_own_tenants_rows_only() {
    on_a_fresh_database(async |db, role| {
        Migrator::up(db, None).await.unwrap();
        for statement in [
            &format!("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"),
            &format!("GRANT CREATE ON SCHEMA public TO {role}"),
            &format!(
                "INSERT INTO tenants (id, slug, name, plan, status, version, created_at, updated_at) VALUES \
                 ('{ONE}', 'one', 'x', 'free', 'active', 1, now(), now()), \
                 ('{OTHER}', 'other', 'x', 'free', 'active', 1, now(), now())"
            ),
        ] {
            db.execute_unprepared(statement).await.unwrap();
        }
        for tenant in [ONE, OTHER] {
            let tx = serving(db, role, tenant).await;
            tx.execute_unprepared(&user(tenant)).await.expect("the other's address is no obstacle");
            assert_eq!(column(&tx, "SELECT tenant_id::text FROM users").await, [tenant]);
            tx.commit().await.unwrap();
        }
        for foreign in [user(OTHER), format!("UPDATE users SET tenant_id = '{OTHER}'")] {
            let tx = serving(db, role, ONE).await;
            assert!(tx.execute_unprepared(&foreign).await.is_err(), "{foreign}");
        }
        let tx = serving(db, role, ONE).await;
        let untouched = format!("UPDATE users SET display_name = 'mine' WHERE tenant_id = '{OTHER}'");
        assert_eq!(tx.execute_unprepared(&untouched).await.unwrap().rows_affected(), 0);
        drop(tx);

        // Both what a fresh session has and what a scoped transaction leaves behind mean no tenant.
        for _ in 0..2 {
            let tx = db.begin().await.unwrap();
            tx.execute_unprepared(&format!("SET LOCAL ROLE {role}")).await.unwrap();
            assert_eq!(column(&tx, "SELECT tenant_id::text FROM users").await, Vec::<String>::new());
            assert!(tx.execute_unprepared(&user(ONE)).await.is_err(), "no tenant, no rows to write");
            drop(tx);
            drop(serving(db, role, ONE).await);
        }

        db.execute_unprepared(&format!("ALTER TABLE users OWNER TO {role}")).await.unwrap();
        let tx = serving(db, role, OTHER).await;
        assert_eq!(column(&tx, "SELECT tenant_id::text FROM users").await, [OTHER]);
        drop(tx);
        db.execute_unprepared(&format!("REASSIGN OWNED BY {role} TO CURRENT_USER")).await.unwrap();
        db.execute_unprepared(&format!("DROP OWNED BY {role}")).await.unwrap();
    })
    .await;
}
