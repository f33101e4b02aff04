//! What is kept by month on PostgreSQL: the journal, usage and the audit trail; who makes and drops them, and with which rights (S05).
//!
//! Needs `TEST_DATABASE_URL`, a superuser's; `./scripts/test` sets it.

#![expect(clippy::unwrap_used, reason = "these are tests, also their helpers")]

use powerhouse_ports::platform::PlatformStore as _;
use powerhouse_postgres::{PoolSettings, PostgresStore, Roles, migrate};
use powerhouse_tests::own_database::{APPLICATION, OwnDatabase, PASSWORD, PLATFORM};
use powerhouse_tests::own_stores;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement};
use zeroize::Zeroizing;

const TENANT: &str = "00000000-0000-0000-0000-000000000001";

async fn migrated() -> (OwnDatabase, DatabaseConnection) {
    let own = own_stores::migrated().await;
    let owner = Database::connect(own.owner().as_str()).await.unwrap();
    (own, owner)
}

async fn open(own: &OwnDatabase) -> PostgresStore {
    own_stores::open(own, PoolSettings::default()).await
}

async fn column(db: &impl ConnectionTrait, sql: &str) -> Vec<String> {
    let rows = db.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await.unwrap();
    rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

async fn months(db: &impl ConnectionTrait) -> Vec<String> {
    months_of(db, "run_events").await
}

async fn months_of(db: &impl ConnectionTrait, table: &str) -> Vec<String> {
    let parts = format!(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = '{table}'::regclass
         AND inhrelid <> '{table}_default'::regclass ORDER BY 1"
    );
    column(db, &parts).await
}

/// Where each row of usage is.
async fn usage_in(db: &impl ConnectionTrait) -> Vec<String> {
    column(db, "SELECT tableoid::regclass::text FROM usage ORDER BY day").await
}

fn used_on(day: &str) -> String {
    format!("INSERT INTO usage VALUES ('{TENANT}', ({day})::date, '{TENANT}', '{TENANT}', 'm', 1, 1, 1, 1);")
}

async fn found_tenant(own: &OwnDatabase) {
    own.run(&format!(
        "INSERT INTO tenants VALUES ('{TENANT}', 'one', 'n', 'free', 'active', NULL, NULL, 1, now(), now());"
    ))
    .await;
}

/// As far on as when the month after the next begins, and a day.
const IN_TWO_MONTHS: &str = "date_trunc('month', now() AT TIME ZONE 'UTC') + interval '2 months 1 day'";

async fn in_two_months(db: &impl ConnectionTrait) -> chrono::DateTime<chrono::Utc> {
    let sql = format!("SELECT to_char({IN_TWO_MONTHS}, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')");
    column(db, &sql).await[0].parse().unwrap()
}

#[tokio::test]
async fn usage_has_its_months_and_they_go_when_they_were_over_long_enough() {
    let (own, owner) = migrated().await;
    found_tenant(&own).await;
    let store = open(&own).await;
    let made = months_of(&owner, "usage").await;
    assert_eq!(made.len(), 4, "this month and three more");
    // A month that came late takes what has strayed into the default.
    own.run(&format!("DROP TABLE {}; {}", made[2], used_on(IN_TWO_MONTHS))).await;
    assert_eq!(usage_in(&owner).await, ["usage_default"]);
    futures::future::join_all((0..4).map(|_| store.make_room())).await.into_iter().for_each(Result::unwrap);
    assert_eq!(months_of(&owner, "usage").await, made);
    assert_eq!(usage_in(&owner).await, [made[2].as_str()]);
    let guarded = "SELECT relname::text FROM pg_class JOIN pg_policies ON tablename = relname
        WHERE relrowsecurity AND relforcerowsecurity AND policyname = 'tenant_isolation' AND relname ~ '^usage'";
    assert_eq!(column(&owner, guarded).await.len(), 6);
    // Of before the first month, of now, and of what was there before it could be kept by month.
    own.run(&format!("{} {}", used_on("now() - interval '400 days'"), used_on("now() AT TIME ZONE 'UTC'")))
        .await;
    assert_eq!(usage_in(&owner).await, [made[0].as_str(), &made[0], &made[2]]);
    let in_two_months = in_two_months(&owner).await;
    assert_eq!(
        store.purge_usage(chrono::Utc::now(), 10).await.unwrap(),
        1,
        "what is older than the first month"
    );
    assert_eq!(months_of(&owner, "usage").await, made, "no month is over");
    assert_eq!(store.purge_usage(in_two_months, 10).await.unwrap(), 0, "none one by one");
    assert_eq!(months_of(&owner, "usage").await, made[2..]);
    assert_eq!(usage_in(&owner).await, [made[2].as_str()]);
    own.run("DELETE FROM tenants").await;
    assert_eq!(usage_in(&owner).await, Vec::<String>::new(), "usage goes with its tenant, in every month");
}

/// A run of `month`, with one event.
fn run_of(month: &str, status: &str) -> String {
    format!(
        "INSERT INTO runs (tenant_id, id, requested_by, task, agent_id, agent_version, selection, limits, status, state,
             input_tokens, output_tokens, cost_micros, created_at, version, fencing_token, next_seq)
         VALUES ('{TENANT}', run_id_bound({month}), '{TENANT}', 't', '{TENANT}', 1, '{{}}', '{{}}', '{status}', '{{}}',
                 0, 0, 0, now(), 1, 0, 2);
         INSERT INTO run_events VALUES ('{TENANT}', run_id_bound({month}), 1, now(), '{{}}');"
    )
}

#[tokio::test]
async fn months_come_in_time_and_what_strayed_is_put_there() {
    let (own, owner) = migrated().await;
    assert_eq!(months(&owner).await.len(), 4, "this month and three more");
    found_tenant(&own).await;
    let later = "now() + interval '3 months'";
    let last = months(&owner).await.pop().unwrap();
    own.run(&format!("DROP TABLE {last}; {}", run_of(later, "queued"))).await;
    assert_eq!(
        column(&owner, "SELECT tableoid::regclass::text FROM run_events").await,
        ["run_events_default"]
    );
    let store = open(&own).await;
    futures::future::join_all((0..4).map(|_| store.make_room())).await.into_iter().for_each(Result::unwrap);
    assert_eq!(months(&owner).await.len(), 4);
    assert_eq!(column(&owner, "SELECT tableoid::regclass::text FROM run_events").await, [last.as_str()]);
    // A month that came later is guarded as the others are, and its rows go with their runs.
    let guarded = "SELECT relname::text FROM pg_class JOIN pg_policies ON tablename = relname
        WHERE relrowsecurity AND relforcerowsecurity AND policyname = 'tenant_isolation' AND relname ~ '^run_events'";
    assert_eq!(column(&owner, guarded).await.len(), 6);
    own.run("DELETE FROM runs").await;
    assert_eq!(column(&owner, "SELECT 'left' FROM run_events").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_month_is_dropped_when_no_run_up_to_its_end_is_under_way() {
    let (own, owner) = migrated().await;
    found_tenant(&own).await;
    let first = months(&owner).await.remove(0);
    own.run(&run_of("now() - interval '40 days'", "running")).await;
    own.run(&run_of("now()", "succeeded")).await;
    let store = open(&own).await;
    let in_two_months = chrono::Utc::now() + chrono::TimeDelta::days(62);
    store.purge_runs(in_two_months, 1).await.unwrap();
    assert_eq!(months(&owner).await[0], first, "a run of before is under way");
    own.run("UPDATE runs SET status = 'failed'").await;
    let next = chrono::Utc::now() - chrono::TimeDelta::days(1);
    store.purge_runs(next, 1).await.unwrap();
    assert_eq!(months(&owner).await[0], first, "the month is not over");
    store.purge_runs(in_two_months, 10).await.unwrap();
    assert!(!months(&owner).await.contains(&first));
    for table in ["runs", "run_events"] {
        assert_eq!(column(&owner, &format!("SELECT 'left' FROM {table}")).await, Vec::<String>::new());
    }
}

/// As usage: the months of the audit trail come in time, and go as whole parts.
#[tokio::test]
async fn the_audit_trail_has_its_months_too() {
    let (own, owner) = migrated().await;
    found_tenant(&own).await;
    let store = open(&own).await;
    let made = months_of(&owner, "audit_records").await;
    assert_eq!(made.len(), 4, "this month and three more");
    let written = |at: &str, seq: u32| {
        format!(
            "INSERT INTO audit_records VALUES ('{TENANT}', {at}, {seq}, 'platform', NULL, 'user.added', 'x', NULL, '{{}}', '', '');"
        )
    };
    let written_in = "SELECT tableoid::regclass::text FROM audit_records ORDER BY at";
    own.run(&format!("DROP TABLE {}; {} {}", made[2], written("now()", 1), written(IN_TWO_MONTHS, 2))).await;
    assert_eq!(column(&owner, written_in).await, [made[0].as_str(), "audit_records_default"]);
    store.make_room().await.unwrap();
    assert_eq!(column(&owner, written_in).await, [made[0].as_str(), &made[2]]);
    store.purge_audit(in_two_months(&owner).await, 10).await.unwrap();
    assert_eq!(column(&owner, written_in).await, [made[2].as_str()]);
}

/// An owner that is no superuser can migrate, again and again.
#[tokio::test]
async fn an_owner_needs_no_more_than_to_own_the_database_and_to_make_roles() {
    let (own, other) = (OwnDatabase::empty().await, OwnDatabase::empty().await);
    let name = |role: &str| format!("{role}_{}", uuid::Uuid::new_v4().simple());
    let (owner, application, platform) = (name("owner"), name("application"), name("platform"));
    other.run(&format!("CREATE ROLE {owner} LOGIN CREATEROLE")).await;
    other
        .run(&format!("ALTER DATABASE {} OWNER TO {owner}", own.owner().path().trim_start_matches('/')))
        .await;
    let mut url = own.owner();
    url.set_username(&owner).unwrap();
    for _ in 0..2 {
        let password = || Some(Zeroizing::new(PASSWORD.to_owned()));
        let roles = Roles::new((&application, password()), (&platform, password()));
        migrate(url.as_str(), &roles).await.unwrap();
    }
    let (application, platform) = (own.role(&application), own.role(&platform));
    let store = PostgresStore::open(application.as_str(), platform.as_str(), PoolSettings::default()).await;
    store.unwrap().make_room().await.unwrap();
    drop(own);
    for role in
        [application.username(), platform.username(), &format!("{}_partitions", platform.username()), &owner]
    {
        other.run(&format!("DROP ROLE {role}")).await;
    }
}

/// The functions belong to a role that can do nothing else, and only the platform may call them.
#[tokio::test]
async fn months_are_kept_by_a_role_of_their_own() {
    let (own, owner) = migrated().await;
    let definers =
        "SELECT concat(proname, ' ', rolname, ' ', rolcanlogin, ' ', rolsuper, ' ', rolbypassrls, ' ',
            EXISTS (SELECT FROM unnest(proconfig) AS set WHERE set LIKE 'search_path=%'))
        FROM pg_proc JOIN pg_roles ON pg_roles.oid = proowner
        WHERE prosecdef AND pronamespace = 'public'::regnamespace ORDER BY proname";
    assert_eq!(
        column(&owner, definers).await,
        ["add_months", "add_run_event_months", "drop_run_event_months", "purge_months"]
            .map(|name| format!("{name} {PLATFORM}_partitions f f f t"))
    );
    let application = own.connect(APPLICATION).await;
    let platform = own.connect(PLATFORM).await;
    for call in [
        "SELECT add_run_event_months(1)",
        "SELECT drop_run_event_months(now())",
        "SELECT add_months('usage', 1)",
        "SELECT purge_months('usage', now(), 1)",
    ] {
        assert!(application.execute_unprepared(call).await.is_err(), "{call}");
    }
    platform.execute_unprepared("SELECT add_run_event_months(0), add_months('usage', 0)").await.unwrap();
    for other in ["users", "run_events", "x; DROP TABLE users"] {
        for call in
            [format!("SELECT add_months('{other}', 0)"), format!("SELECT purge_months('{other}', now(), 1)")]
        {
            let refused = platform.execute_unprepared(&call).await.unwrap_err();
            assert!(refused.to_string().contains("not kept by month"), "{call}: {refused}");
        }
    }
    let part = months(&owner).await.remove(0);
    for role in [&application, &platform] {
        for sql in [
            &format!("SELECT * FROM {part}"),
            "SELECT * FROM run_events_default",
            "SELECT * FROM usage_default",
            "SELECT * FROM audit_records_default",
            &format!("DROP TABLE {part}"),
            &format!("SET ROLE {PLATFORM}_partitions"),
        ] {
            assert!(role.execute_unprepared(sql).await.is_err(), "this was allowed: {sql}");
        }
    }
}
