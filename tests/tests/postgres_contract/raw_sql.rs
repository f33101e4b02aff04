//! Raw SQL as the serving roles: what our code would do if it were wrong, or somebody else's.
//!
//! The wall is around a transaction that says whose it is. A role may say that it is any tenant's: nobody else connects
//! as these roles, and in our code nothing but the beginning of a transaction, from a scope, sets the tenant (ADR 0002).
//! So what is tested is that nothing else gets at another tenant's rows, or tells what is in them.

use futures::TryStreamExt as _;
use powerhouse_tests::own_database::{APPLICATION, OwnDatabase, PLATFORM};
use sea_orm::sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};
use sea_orm::{
    ConnectionTrait as _, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, Statement,
    TransactionTrait as _,
};

use super::migrated;

const ONE: &str = "00000000-0000-0000-0000-000000000001";
const OTHER: &str = "00000000-0000-0000-0000-000000000002";
/// Nobody's.
const NONE: &str = "00000000-0000-0000-0000-00000000000f";
/// A unique name in each tenant, which the other one has not.
const TENANTS: [(&str, &str); 2] = [(ONE, "one"), (OTHER, "other")];

/// Two tenants, each with a row in every table; a row's id is its tenant's.
async fn furnished() -> OwnDatabase {
    let own = migrated().await;
    for (tenant, slug) in TENANTS {
        own.run(&format!(
            "INSERT INTO tenants VALUES ('{tenant}', '{slug}', 'n', 'free', 'active', NULL, NULL, 1, now(), now());
             INSERT INTO users (tenant_id, id, email, display_name, password_hash, role, joined_at, version, created_at,
                                updated_at)
             VALUES ('{tenant}', '{tenant}', '{slug}@example.org', 'canary-{slug}', 'hash-{slug}', 'owner', now(), 1,
                     now(), now());
             INSERT INTO agents VALUES ('{tenant}', '{tenant}', 'agent-{slug}', NULL, 1, NULL, 1, now());
             INSERT INTO agent_versions VALUES ('{tenant}', '{tenant}', 1, '{{\"canary\": \"{slug}\"}}', now());
             INSERT INTO runs (tenant_id, id, requested_by, task, agent_id, agent_version, selection, limits, status,
                               state, input_tokens, output_tokens, cost_micros, created_at, version, fencing_token,
                               next_seq)
             VALUES ('{tenant}', '{tenant}', '{tenant}', 'canary-{slug}', '{tenant}', 1, '{{}}', '{{}}', 'queued', '{{}}',
                     0, 0, 0, now(), 1, 0, 2);
             INSERT INTO run_events VALUES ('{tenant}', '{tenant}', 1, now(), '{{}}');
             INSERT INTO run_feedback VALUES ('{tenant}', '{tenant}', '{tenant}', 'good', '', now());
             INSERT INTO sessions VALUES ('{tenant}', '{tenant}', '{tenant}', '{slug}', NULL, now(), now(), NULL);
             INSERT INTO refresh_digests VALUES ('{tenant}', '{slug}', '{tenant}');
             INSERT INTO prices VALUES ('{tenant}', 'model-{slug}', now(), 1, 1, 1);
             INSERT INTO budgets VALUES ('{tenant}', '{tenant}', 'tenant', NULL, 'day', 1, 1, now(), 1);
             INSERT INTO budget_windows VALUES ('{tenant}', '{tenant}', now(), 0, 0, 0, 0);
             INSERT INTO usage VALUES ('{tenant}', now(), '{tenant}', '{tenant}', 'm', 1, 1, 1, 1);
             INSERT INTO audit_heads VALUES ('{tenant}', 1, now(), 'hash-{slug}');
             INSERT INTO audit_records VALUES ('{tenant}', now(), 1, 'platform', NULL, 'user.added', 'canary-{slug}', NULL,
                                               '{{}}', 'hash', 'hash-{slug}');
             INSERT INTO queue_turns VALUES ('{tenant}', 1);"
        ))
        .await;
    }
    own.run("ANALYZE").await;
    own
}

/// A transaction that says that it is this tenant's.
async fn serving(db: &DatabaseConnection, tenant: &str) -> DatabaseTransaction {
    let tx = db.begin().await.unwrap();
    tx.execute_unprepared(&format!("SET LOCAL app.tenant_id = '{tenant}'")).await.unwrap();
    tx
}

/// The first column of what a query answers, as text.
async fn column(tx: &DatabaseTransaction, sql: &str) -> Result<Vec<String>, DbErr> {
    let rows = tx.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}

/// The same, in a transaction of the first tenant that is not committed.
async fn texts(db: &DatabaseConnection, sql: &str) -> Result<Vec<String>, DbErr> {
    column(&serving(db, ONE).await, sql).await
}

/// What is said when a statement is refused.
async fn refusal(db: &DatabaseConnection, sql: &str) -> String {
    let refused = serving(db, ONE).await.execute_unprepared(sql).await;
    refused.expect_err(sql).to_string()
}

#[tokio::test]
async fn raw_sql_gets_nothing_that_is_another_tenants() {
    let own = furnished().await;
    let application = own.connect(APPLICATION).await;
    for sql in [
        "SELECT display_name FROM users",
        &format!("SELECT display_name FROM users WHERE tenant_id = '{OTHER}' OR true"),
        "SELECT u.display_name FROM tenants t JOIN users u ON u.tenant_id = t.id",
        "SELECT string_agg(display_name, ',') FROM users",
        "WITH x AS (SELECT * FROM users) SELECT display_name FROM x UNION SELECT display_name FROM users",
        "SELECT 'canary-' || slug FROM tenants",
        "SELECT task FROM runs",
        "SELECT resource FROM audit_records",
        "SELECT display_name FROM users TABLESAMPLE BERNOULLI (100)",
        "SELECT display_name FROM users TABLESAMPLE SYSTEM (100) REPEATABLE (1)",
        "SELECT display_name FROM ONLY users FOR UPDATE",
        "SELECT json_agg(users) -> 0 ->> 'display_name' FROM users",
        // A cheap function of the caller's is not asked about rows that the policy hides: it would fail on them.
        "SELECT display_name FROM users WHERE 1 / (CASE display_name WHEN 'canary-other' THEN 0 ELSE 1 END) = 1",
        "SELECT display_name FROM users WHERE CASE display_name WHEN 'canary-other' THEN display_name::int ELSE 1 END = 1",
        &format!(
            "SELECT display_name FROM users WHERE 1 / (CASE tenant_id WHEN '{OTHER}' THEN 0 ELSE 1 END) = 1"
        ),
    ] {
        assert_eq!(texts(&application, sql).await.unwrap(), ["canary-one"], "{sql}");
    }
    for sql in [
        &format!("UPDATE users SET display_name = 'mine' WHERE tenant_id = '{OTHER}' RETURNING 'changed'"),
        &format!("DELETE FROM users WHERE tenant_id = '{OTHER}' RETURNING 'deleted'"),
        &format!("UPDATE tenants SET name = 'mine' WHERE id = '{OTHER}' RETURNING 'renamed'"),
        &format!("UPDATE runs SET task = 'mine' WHERE id = '{OTHER}' RETURNING 'changed'"),
        &format!("SELECT 'locked' FROM users WHERE id = '{OTHER}' FOR UPDATE"),
        // Rows that show in what the planner knows of a table would be another's too.
        "SELECT most_common_vals::text FROM pg_stats WHERE tablename IN ('users', 'runs', 'agents', 'tenants')",
        "SELECT most_common_vals::text FROM pg_stats_ext",
    ] {
        assert_eq!(texts(&application, sql).await.unwrap(), Vec::<String>::new(), "{sql}");
    }
    // What a session may make for itself: a function that fails on what is not its tenant's, however cheap it says that
    // it is, and a view. Neither is asked before the policy.
    let tx = serving(&application, ONE).await;
    tx.execute_unprepared(
        "CREATE FUNCTION pg_temp.told(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN
            IF $1 <> 'canary-one' THEN RAISE EXCEPTION '%', $1; END IF;
            RETURN true;
        END $$;
        CREATE TEMP VIEW seen AS SELECT * FROM users WHERE pg_temp.told(display_name)",
    )
    .await
    .unwrap();
    for sql in
        ["SELECT display_name FROM users WHERE pg_temp.told(display_name)", "SELECT display_name FROM seen"]
    {
        assert_eq!(column(&tx, sql).await.unwrap(), ["canary-one"], "{sql}");
    }
    drop(tx);
    // As the other one, everything is still as it was.
    let tx = serving(&application, OTHER).await;
    assert_eq!(column(&tx, "SELECT display_name FROM users").await.unwrap(), ["canary-other"]);
}

#[tokio::test]
async fn raw_sql_cannot_change_the_rules() {
    let own = furnished().await;
    let application = own.connect(APPLICATION).await;
    for sql in [
        "SELECT current_digest::text FROM sessions",
        "SELECT digest::text FROM refresh_digests",
        "SELECT turn::text FROM queue_turns",
        "SET ROLE powerhouse_test_platform",
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION postgres",
        "ALTER TABLE users DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE users NO FORCE ROW LEVEL SECURITY",
        "ALTER POLICY tenant_isolation ON users USING (true)",
        "DROP POLICY tenant_isolation ON users",
        "CREATE POLICY open ON users USING (true)",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
        "CREATE FUNCTION pg_temp.leak(text) RETURNS boolean LANGUAGE sql LEAKPROOF AS 'SELECT true'",
        "CREATE VIEW v AS SELECT * FROM users",
        "CREATE MATERIALIZED VIEW v AS SELECT * FROM users",
        "CREATE TABLE t AS SELECT * FROM users",
        "CREATE STATISTICS s ON email, role FROM users",
        "CREATE INDEX i ON users (display_name)",
        "CREATE TRIGGER t BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE RULE r AS ON SELECT TO users DO INSTEAD SELECT * FROM users",
        "CREATE EXTENSION dblink",
        "ALTER ROLE powerhouse_test_application BYPASSRLS",
        "SET session_replication_role = replica",
        "COPY users TO PROGRAM 'cat'",
        "COPY users TO '/tmp/users'",
        "COPY users FROM '/etc/passwd'",
        "DELETE FROM tenants RETURNING name",
        "UPDATE audit_records SET resource = 'x'",
        "DELETE FROM audit_records",
        "TRUNCATE audit_records",
        "DELETE FROM audit_heads",
        "TRUNCATE users",
        "LOCK TABLE sessions",
        "SET row_security = off; SELECT display_name FROM users",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT lo_import('/etc/passwd')",
        "SELECT rolpassword FROM pg_authid",
        "SELECT stavalues1::text FROM pg_statistic",
    ] {
        let said = refusal(&application, sql).await;
        // Not for a mistake in what is asked here.
        let for_want_of_rights =
            ["permission denied", "must be owner", "superuser", "row-level security policy"];
        assert!(for_want_of_rights.iter().any(|reason| said.contains(reason)), "{sql}: {said}");
    }
    // The platform's role claims and signs in, and reads no content.
    let platform = own.connect(PLATFORM).await;
    for sql in [
        "SELECT task FROM runs",
        "SELECT state FROM runs",
        "SELECT * FROM runs",
        "SELECT runs FROM runs",
        "UPDATE runs SET task = 'x'",
        "UPDATE runs SET fencing_token = 1 RETURNING task",
        "SELECT * FROM run_events",
        "SELECT * FROM agents",
        "SELECT * FROM agent_versions",
        "SELECT * FROM run_feedback",
        "SELECT * FROM prices",
        "SELECT * FROM budgets",
        "SELECT * FROM budget_windows",
        "SELECT * FROM usage",
        "SELECT resource FROM audit_records",
        "UPDATE audit_records SET resource = 'x'",
        "DELETE FROM audit_records",
        "DELETE FROM users",
        "UPDATE users SET role = 'owner'",
    ] {
        let said = refusal(&platform, sql).await;
        assert!(said.contains("permission denied"), "{sql}: {said}");
    }
    platform.execute_unprepared("SELECT id, fencing_token FROM runs").await.unwrap();
    // Nobody reads a partition by its own name, past its parent's policy.
    let partitions = "SELECT relname::text FROM pg_class, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS right_to
        WHERE relispartition AND relkind IN ('r', 'p') AND has_table_privilege(pg_class.oid, right_to)";
    for db in [&application, &platform] {
        assert_eq!(texts(db, partitions).await.unwrap(), Vec::<String>::new());
    }
}

/// What a tenant may have said to be: none at all, and things that are none.
#[tokio::test]
async fn whoever_is_no_tenant_has_no_rows() {
    let own = furnished().await;
    let application = own.connect(APPLICATION).await;
    let tables = [
        "tenants",
        "users",
        "agents",
        "agent_versions",
        "runs",
        "run_events",
        "run_feedback",
        "prices",
        "budgets",
        "budget_windows",
        "usage",
        "audit_heads",
        "audit_records",
    ];
    let told = [
        None,
        Some(String::new()),
        Some(NONE.to_owned()),
        Some("not-a-uuid".to_owned()),
        Some(format!("{ONE}' OR '1")),
    ];
    for told in told {
        for table in tables {
            let tx = application.begin().await.unwrap();
            if let Some(told) = &told {
                let said = "SELECT set_config('app.tenant_id', $1, true)";
                let said = Statement::from_sql_and_values(DbBackend::Postgres, said, [told.into()]);
                tx.execute_raw(said).await.unwrap();
            }
            let seen = column(&tx, &format!("SELECT count(*)::text FROM {table}")).await;
            match &told {
                Some(told) if told.parse::<uuid::Uuid>().is_err() && !told.is_empty() => {
                    assert!(seen.is_err(), "{told}: {seen:?}");
                }
                _ => assert_eq!(seen.unwrap(), ["0"], "{told:?}"),
            }
        }
    }
    // The setting ends with its transaction, also where the session had none before.
    drop(serving(&application, ONE).await);
    let tx = application.begin().await.unwrap();
    assert_eq!(column(&tx, "SELECT count(*)::text FROM users").await.unwrap(), ["0"]);
}

/// A row that refers to another tenant's is refused as one that refers to nothing is; and a name that another tenant has
/// is free.
#[tokio::test]
async fn keys_tell_nothing_of_another_tenant() {
    let own = furnished().await;
    let application = own.connect(APPLICATION).await;
    let run = "(SELECT to_jsonb(runs) FROM runs)";
    let probes: [&dyn Fn(&str) -> String; 12] = [
        &|id: &str| format!("INSERT INTO agent_versions VALUES ('{ONE}', '{id}', 1, '{{}}', now())"),
        &|id: &str| format!("INSERT INTO run_events VALUES ('{ONE}', '{id}', 1, now(), '{{}}')"),
        &|id: &str| format!("INSERT INTO run_feedback VALUES ('{ONE}', '{id}', '{id}', 'good', '', now())"),
        // The tenant itself, and a row of another's: the policy comes before every key.
        &|id: &str| format!("UPDATE users SET tenant_id = '{id}'"),
        &|id: &str| {
            format!("INSERT INTO agents VALUES ('{id}', '{ONE}', 'agent-one', NULL, 1, NULL, 1, now())")
        },
        &|id: &str| format!("INSERT INTO agent_versions VALUES ('{id}', '{id}', 1, '{{}}', now())"),
        &|id: &str| format!("INSERT INTO run_events VALUES ('{id}', '{id}', 1, now(), '{{}}')"),
        &|id: &str| format!("INSERT INTO run_feedback VALUES ('{id}', '{id}', '{id}', 'good', '', now())"),
        &|id: &str| {
            format!(
                "INSERT INTO runs SELECT (jsonb_populate_record(NULL::runs, {run} || '{{\"tenant_id\": \"{id}\"}}')).*"
            )
        },
        &|id: &str| {
            format!(
                "INSERT INTO users SELECT '{id}', gen_random_uuid(), 'other@example.org', display_name, password_hash, \
                 role, joined_at, disabled_since, version, created_at, updated_at FROM users"
            )
        },
        &|id: &str| {
            format!(
                "INSERT INTO run_feedback VALUES ('{id}', '{id}', '{id}', 'good', '', now()) \
                 ON CONFLICT (tenant_id, run_id, user_id) DO UPDATE SET comment = 'mine'"
            )
        },
        &|id: &str| {
            format!(
                "INSERT INTO tenants VALUES ('{id}', 'other', 'n', 'free', 'active', NULL, NULL, 1, now(), now())"
            )
        },
    ];
    for probe in probes {
        let (theirs, nobodys) = (probe(OTHER), probe(NONE));
        assert_eq!(
            refusal(&application, &theirs).await,
            refusal(&application, &nobodys).await,
            "whether the row is there shows: {theirs}"
        );
    }
    for sql in [
        "UPDATE users SET email = 'other@example.org' RETURNING 'free'",
        "UPDATE agents SET name = 'agent-other' RETURNING 'free'",
        &format!(
            "INSERT INTO agents VALUES ('{ONE}', '{OTHER}', 'agent-other', NULL, 1, NULL, 1, now()) RETURNING 'free'"
        ),
    ] {
        assert_eq!(texts(&application, sql).await.unwrap(), ["free"], "{sql}");
    }
}

/// What outlives a statement, and what counts rows, is bound like everything else.
#[tokio::test]
async fn copies_cursors_prepared_statements_and_row_counts_are_bound_too() {
    let own = furnished().await;
    let mut connection = PgConnection::connect(own.role(APPLICATION).as_str()).await.unwrap();
    let say = async |connection: &mut PgConnection, sql: &str| {
        connection.execute(AssertSqlSafe(sql)).await.unwrap();
    };
    let begin = |tenant: &str| format!("BEGIN; SET LOCAL app.tenant_id = '{tenant}'");
    for copy in ["COPY users TO STDOUT", "COPY (SELECT * FROM users) TO STDOUT"] {
        say(&mut connection, &begin(ONE)).await;
        let copied = connection.copy_out_raw(copy).await;
        let copied: Vec<_> = copied.unwrap().try_collect().await.unwrap();
        let copied = String::from_utf8(copied.concat()).unwrap();
        assert!(copied.contains("canary-one") && !copied.contains("other"), "{copy}: {copied}");
        say(&mut connection, "ROLLBACK").await;
    }
    let names = async |connection: &mut PgConnection, sql: &str| -> Vec<String> {
        let rows = connection.fetch_all(AssertSqlSafe(sql)).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    };
    // A statement that was prepared for one tenant, and planned once for all, answers for the next.
    say(&mut connection, "SET plan_cache_mode = force_generic_plan").await;
    say(&mut connection, "PREPARE names AS SELECT display_name FROM users").await;
    for (tenant, slug) in [TENANTS, TENANTS].concat() {
        say(&mut connection, &begin(tenant)).await;
        assert_eq!(names(&mut connection, "EXECUTE names").await, [format!("canary-{slug}")]);
        say(&mut connection, "COMMIT").await;
        assert_eq!(names(&mut connection, "EXECUTE names").await, Vec::<String>::new());
    }
    // A cursor that is held has what was its tenant's when it was committed, for whoever has the session: the pool's
    // connections are shared, so our code declares none. That of another tenant's rows is as empty as the query.
    say(&mut connection, &begin(ONE)).await;
    say(&mut connection, "DECLARE held CURSOR WITH HOLD FOR SELECT display_name FROM users; COMMIT").await;
    say(&mut connection, &begin(OTHER)).await;
    assert_eq!(names(&mut connection, "FETCH ALL FROM held").await, ["canary-one"], "made as the first");
    say(&mut connection, "ROLLBACK").await;

    // What is counted on the way to an answer. By an index, nothing of another tenant's is met. Whoever may ask for the
    // plan of a scan from end to end is told how many rows were removed, of all tenants together: nobody can through
    // the API, and no more than their number shows.
    own.run(&format!(
        "INSERT INTO run_events SELECT '{OTHER}', '{OTHER}', n, now(), '{{}}' FROM generate_series(2, 500) n; ANALYZE"
    ))
    .await;
    for (scan, is_told) in
        [("enable_seqscan", false), ("enable_indexscan = off; SET LOCAL enable_bitmapscan", true)]
    {
        say(&mut connection, &begin(ONE)).await;
        say(&mut connection, &format!("SET LOCAL {scan} = off")).await;
        let sql = "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT body FROM run_events";
        let plan = names(&mut connection, sql).await.join("\n");
        assert_eq!(plan.contains("500"), is_told, "{plan}");
        assert!(plan.contains("actual rows=1"), "{plan}");
        say(&mut connection, "ROLLBACK").await;
    }
}
