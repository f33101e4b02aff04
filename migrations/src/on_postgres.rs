//! The schema on PostgreSQL: it comes, goes and comes again, and what keeps tenants apart is there and holds (S01, S03, S04,
//! S05).
//!
//! Needs `TEST_DATABASE_URL`, with a role that may create databases and roles; without it these tests do nothing.

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
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
        ORDER BY line";
    let lines = column(db, sql).await;
    lines.into_iter().filter(|line| !line.contains("seaql_migrations")).collect()
}

/// S01: tables, partitioned ones among them, that lack the one policy for all commands, for reading and writing, forced on
/// the owner too. What has no tenant has to be named here. Nobody is to read a partition by its own name, and what is
/// read through its parent is bound by the parent's policy: so it may have none, which lets nobody in.
const UNGUARDED: &str = "
    SELECT relname::text FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'f') AND relname <> 'seaql_migrations'
      AND NOT (
        relrowsecurity AND relforcerowsecurity
        AND (SELECT count(*) = 1 OR count(*) = 0 AND relispartition FROM pg_policies
             WHERE schemaname = 'public' AND tablename = relname)
        AND NOT EXISTS (
            SELECT FROM pg_policies WHERE schemaname = 'public' AND tablename = relname
            AND NOT (cmd = 'ALL' AND permissive = 'PERMISSIVE' AND roles = '{public}' AND qual = with_check
                AND qual LIKE '(' || CASE relname WHEN 'tenants' THEN 'id' ELSE 'tenant_id' END
                    || ' = ( SELECT (NULLIF(current_setting(''app.tenant_id''::text, true), ''''::text))::uuid AS %))')))
    ORDER BY 1";

/// S04: unique indexes whose first column is not the tenant's.
const UNIQUE: &str = "
    SELECT indexrelid::regclass::text FROM pg_index
    JOIN pg_class ON pg_class.oid = indrelid AND relnamespace = 'public'::regnamespace
        AND relname NOT IN ('seaql_migrations', 'tenants')
    LEFT JOIN pg_attribute AS first ON first.attrelid = indrelid AND first.attnum = indkey[0]
    WHERE indisunique AND first.attname IS DISTINCT FROM 'tenant_id'
    ORDER BY 1";

/// S04: foreign keys that do not carry the tenant.
const FOREIGN: &str = "
    SELECT conrelid::regclass::text FROM pg_constraint
    WHERE contype = 'f' AND connamespace = 'public'::regnamespace
      AND pg_get_constraintdef(oid) NOT LIKE 'FOREIGN KEY (tenant_id% REFERENCES %(tenant_id, %'
      AND pg_get_constraintdef(oid) NOT LIKE 'FOREIGN KEY (tenant_id) REFERENCES tenants(id)%'
    ORDER BY 1";

/// S05: views that read with their owner's rights, and materialised ones, which no policy binds.
const VIEWS: &str = "
    SELECT relname::text FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND (
        relkind = 'm'
        OR relkind = 'v' AND NOT COALESCE(reloptions, '{}') && '{security_invoker=true,security_invoker=on}')
    ORDER BY 1";

/// S05: functions that act with their owner's rights, and whose names could be another's, whose owner is bound by
/// nothing or may sign in, or that anybody may call.
const DEFINERS: &str = "
    SELECT proname::text FROM pg_proc JOIN pg_roles ON pg_roles.oid = proowner
    WHERE pronamespace = 'public'::regnamespace AND prosecdef
      AND (rolsuper OR rolcanlogin OR rolbypassrls
        OR NOT EXISTS (SELECT FROM unnest(proconfig) AS setting WHERE setting LIKE 'search_path=%')
        OR EXISTS (SELECT FROM aclexplode(COALESCE(proacl, acldefault('f', proowner))) WHERE grantee = 0))
    ORDER BY 1";

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

/// Usage of the version before is usage still, of whichever day, and goes back again.
#[tokio::test]
async fn usage_of_the_version_before_stays() {
    on_a_fresh_database(async |db, role| {
        Migrator::up(db, Some(10)).await.unwrap();
        db.execute_unprepared(ROWS[0]).await.unwrap();
        let used = |day: &str| format!("INSERT INTO usage VALUES ('{ONE}', {day}, '{ONE}', '{ONE}', 'm', 1, 2, 3, 4)");
        for day in ["'2020-02-29'", "current_date"] {
            db.execute_unprepared(&used(day)).await.unwrap();
        }
        db.execute_unprepared(&format!("GRANT SELECT, INSERT, UPDATE ON usage TO {role}")).await.unwrap();
        let sum = "SELECT concat(count(*), ' ', sum(calls + input_tokens + output_tokens + cost_micros)) FROM usage";
        Migrator::up(db, None).await.unwrap();
        // Who served with the version before may go on.
        let tx = serving(db, role, ONE).await;
        tx.execute_unprepared(&format!("{} ON CONFLICT (tenant_id, day, agent_id, user_id, model) DO UPDATE
            SET calls = usage.calls + 1", used("current_date"))).await.unwrap();
        tx.execute_unprepared(&used("current_date + 40")).await.unwrap();
        assert_eq!(column(&tx, sum).await, ["3 31"]);
        tx.commit().await.unwrap();
        Migrator::down(db, Some(1)).await.unwrap();
        assert_eq!(column(db, sum).await, ["3 31"]);
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

/// S01, S04, S05: policies, keys, views and functions are as they have to be.
#[tokio::test]
async fn policies_keys_views_and_functions_keep_tenants_apart() {
    on_a_fresh_database(async |db, _| {
        Migrator::up(db, None).await.unwrap();
        let policies = "SELECT tablename::text FROM pg_policies WHERE schemaname = 'public'";
        assert!(column(db, policies).await.len() >= 10, "the tables have their policies");
        for rule in [UNGUARDED, UNIQUE, FOREIGN, VIEWS, DEFINERS] {
            assert_eq!(column(db, rule).await, Vec::<String>::new(), "{rule}");
        }
    })
    .await;
}

/// S01, S04, S05: the rules above name what breaks them.
#[tokio::test]
async fn what_would_let_tenants_meet_is_named() {
    on_a_fresh_database(async |db, role| {
        Migrator::up(db, None).await.unwrap();
        let partitioned = "CREATE TABLE x (tenant_id uuid, at int) PARTITION BY RANGE (at);
            CREATE TABLE x_1 PARTITION OF x FOR VALUES FROM (1) TO (2);";
        let closed = |table: &str| {
            format!(
                "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY; ALTER TABLE {table} FORCE ROW LEVEL SECURITY;"
            )
        };
        let guarded = |table: &str| {
            let own = "(tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))";
            format!("{} CREATE POLICY own ON {table} USING {own} WITH CHECK {own};", closed(table))
        };
        let parent = format!("{partitioned} {}", guarded("x"));
        let opened = format!("{parent} {} CREATE POLICY open ON x_1 USING (true)", closed("x_1"));
        let function = "CREATE FUNCTION x() RETURNS int LANGUAGE sql SECURITY DEFINER";
        let safe = format!(
            "{function} SET search_path = pg_catalog, public AS 'SELECT 1'; ALTER FUNCTION x() OWNER TO {role};
             REVOKE ALL ON FUNCTION x() FROM PUBLIC;"
        );
        let cases: [(&str, &str, &[&str]); 22] = [
            (UNGUARDED, "CREATE TABLE x (id int)", &["x"]),
            (UNGUARDED, partitioned, &["x", "x_1"]),
            (UNGUARDED, &parent, &["x_1"]),
            (UNGUARDED, &format!("{parent} {}", closed("x_1")), &[]),
            (UNGUARDED, &format!("{parent} {}", guarded("x_1")), &[]),
            (UNGUARDED, &opened, &["x_1"]),
            (UNGUARDED, "CREATE POLICY more ON users USING (true)", &["users"]),
            (UNGUARDED, "ALTER TABLE runs NO FORCE ROW LEVEL SECURITY", &["runs"]),
            (UNGUARDED, "DROP POLICY tenant_isolation ON tenants", &["tenants"]),
            (UNIQUE, "CREATE UNIQUE INDEX x ON users (email)", &["x"]),
            (UNIQUE, "CREATE UNIQUE INDEX x ON users (lower(email))", &["x"]),
            (UNIQUE, &format!("{partitioned} CREATE UNIQUE INDEX y ON x (at)"), &["x_1_at_idx", "y"]),
            (FOREIGN, "CREATE TABLE x (id uuid REFERENCES tenants (id))", &["x"]),
            (VIEWS, "CREATE VIEW x AS SELECT * FROM users", &["x"]),
            (VIEWS, "CREATE VIEW x WITH (security_invoker = on) AS SELECT * FROM users", &[]),
            (VIEWS, "CREATE MATERIALIZED VIEW x AS SELECT * FROM users", &["x"]),
            (DEFINERS, &format!("{function} AS 'SELECT 1'"), &["x"]),
            (DEFINERS, &safe, &[]),
            (DEFINERS, &format!("{safe} ALTER FUNCTION x() RESET search_path"), &["x"]),
            (DEFINERS, &format!("{safe} ALTER FUNCTION x() OWNER TO CURRENT_USER"), &["x"]),
            (DEFINERS, &format!("{safe} ALTER ROLE {role} LOGIN"), &["x"]),
            (DEFINERS, &format!("{safe} GRANT EXECUTE ON FUNCTION x() TO PUBLIC"), &["x"]),
        ];
        for (rule, made, named) in cases {
            let tx = db.begin().await.unwrap();
            tx.execute_unprepared(made).await.unwrap();
            assert_eq!(column(&tx, rule).await, named, "{made}");
        }
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
