//! Raw SQL as the serving roles: what our code would do if it were wrong, or somebody else's.

use powerhouse_tests::own_database::{APPLICATION, PLATFORM};
use sea_orm::{ConnectionTrait as _, DbBackend, Statement, TransactionTrait as _};

use super::migrated;

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
