//! What the contract suites cannot see: the file, its settings, other processes, and rows that are broken.

use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use powerhouse_domain::access::{Principal, Role};
use powerhouse_domain::agents::{Agent, Definition};
use powerhouse_domain::ids::{AgentId, RunId, SessionId, TenantId, UserId};
use powerhouse_domain::runs::{Feedback, Run, RunLimits, Task, Verdict};
use powerhouse_domain::selection;
use powerhouse_domain::strategies::Strategy;
use powerhouse_domain::tenants::{Plan, Tenant};
use powerhouse_domain::users::{Membership, User};
use powerhouse_ports::platform::PlatformStore;
use powerhouse_ports::store::{StoreError, TenantStore, TenantTx};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use tempfile::TempDir;
use uuid::Uuid;

use crate::SqliteStore;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 123_456_789).unwrap()
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// The caller in every test.
fn caller() -> Principal {
    let (tenant, user) = (TenantId::from_uuid(id(1)), UserId::from_uuid(id(2)));
    Principal::verified(tenant, user, SessionId::from_uuid(id(3)), Role::Owner)
}

async fn file(folder: &TempDir) -> SqliteStore {
    SqliteStore::open(&folder.path().join("powerhouse.db")).await.unwrap()
}

async fn begin(store: &SqliteStore) -> Box<dyn TenantTx> {
    store.begin(&caller().scope()).await.unwrap()
}

fn limits() -> RunLimits {
    RunLimits { steps: 20, tokens: 10_000, cost_micros: 0, wall_clock: Duration::from_mins(5) }
}

fn agent(number: u128) -> Agent {
    let definition = Definition {
        description: String::new(),
        strategy: Strategy::direct(),
        instructions: String::new(),
        model: None,
        tools: Vec::new(),
        capabilities: Vec::new(),
        approvals: Vec::new(),
        examples: Vec::new(),
        limits: limits(),
        max_concurrent_runs: None,
        formation: None,
        agents: Vec::new(),
    };
    let name = format!("agent-{number}").parse().unwrap();
    let draft = Agent::draft(AgentId::from_uuid(id(number)), name, definition, now()).unwrap();
    draft.publish(now()).unwrap()
}

fn run() -> Run {
    let selection = selection::named(agent(4).id(), 1);
    let task = Task::new("2 + 2").unwrap();
    Run::accept(RunId::from_uuid(id(5)), caller().user_id(), task, selection, limits(), now())
}

/// One row in every table.
async fn furnish(store: &SqliteStore) {
    let tenant = Tenant::found(
        caller().tenant_id(),
        "office".parse().unwrap(),
        "The Office".parse().unwrap(),
        Plan::Team,
        now(),
    );
    let email = "owner@example.org".parse().unwrap();
    let owner = User::register(caller().user_id(), email, "The Owner".parse().unwrap(), now());
    let membership = Membership::new(tenant.id(), owner.id(), Role::Owner, now());
    store.provision(&tenant, &owner, &membership, "hash").await.unwrap();
    store.open_session(&caller(), &[7; 32], now(), now() + Duration::from_hours(1)).await.unwrap();
    let mut tx = begin(store).await;
    tx.agents().add(&agent(4)).await.unwrap();
    tx.runs().add(&run()).await.unwrap();
    let word = Feedback::new(caller().user_id(), Verdict::Good, String::new(), now()).unwrap();
    tx.runs().put_feedback(run().id(), &word).await.unwrap();
    tx.commit().await.unwrap();
}

/// Reads every row of every table.
async fn read_all(store: &SqliteStore) -> Result<(), StoreError> {
    let mut tx = store.begin(&caller().scope()).await?;
    tx.tenant().await?;
    tx.users().find(caller().user_id()).await?;
    tx.agents().find(agent(4).id()).await?;
    tx.agents().version(agent(4).id(), 1).await?;
    tx.runs().find(run().id()).await?;
    tx.runs().events(run().id(), 0, 10).await?;
    tx.runs().feedback(run().id(), caller().user_id()).await?;
    drop(tx);
    store.session(&caller().scope(), caller().session_id()).await?;
    store.standing(&caller().scope(), caller().user_id()).await?;
    Ok(())
}

#[tokio::test]
async fn a_row_that_the_domain_refuses_is_named_by_table_and_column() {
    for (table, column, value) in [
        ("tenants", "slug", "'NO'"),
        ("tenants", "name", "''"),
        ("tenants", "plan", "'golden'"),
        ("tenants", "status", "'lost'"),
        ("tenants", "version", "-1"),
        ("tenants", "created_at", "'yesterday'"),
        ("users", "email", "'nobody'"),
        ("users", "role", "'king'"),
        ("users", "updated_at", "x'00'"),
        ("agents", "name", "'A B'"),
        ("agents", "draft", "'{'"),
        ("agents", "draft", "'{}'"),
        ("agents", "current_version", "7"),
        ("agents", "current_version", "NULL"),
        ("agent_versions", "definition", "'{\"kind\":\"oracle\"}'"),
        ("runs", "task", "' '"),
        ("runs", "state", "'{\"status\":\"resting\"}'"),
        ("runs", "selection", "'[]'"),
        ("runs", "limits", "'not json'"),
        ("runs", "cost_micros", "-1"),
        ("run_events", "body", "'{\"type\":\"unheard_of\"}'"),
        ("run_feedback", "verdict", "'so-so'"),
        ("sessions", "expires_at", "'soon'"),
    ] {
        let folder = TempDir::new().unwrap();
        let store = file(&folder).await;
        furnish(&store).await;
        read_all(&store).await.unwrap();
        store.writer.execute_unprepared(&format!("UPDATE {table} SET {column} = {value}")).await.unwrap();
        let error = read_all(&store).await.expect_err(value);
        assert!(
            matches!(error, StoreError::CorruptRow { table: t, column: c } if (t, c) == (table, column)),
            "{table}.{column} = {value}: {error:?}"
        );
    }
}

async fn pragma(db: &DatabaseConnection, name: &str) -> String {
    let statement = Statement::from_string(DbBackend::Sqlite, format!("PRAGMA {name}"));
    let row = db.query_one_raw(statement).await.unwrap().unwrap();
    row.try_get_by_index::<String>(0)
        .or_else(|_| row.try_get_by_index(0).map(|n: i64| n.to_string()))
        .unwrap()
}

#[tokio::test]
async fn each_connection_to_a_file_is_durable_and_keeps_foreign_keys_and_readers_cannot_write() {
    let folder = TempDir::new().unwrap();
    let store = file(&folder).await;
    for db in [&store.writer, &store.readers] {
        for (name, value) in
            [("journal_mode", "wal"), ("synchronous", "2"), ("foreign_keys", "1"), ("busy_timeout", "5000")]
        {
            assert_eq!(pragma(db, name).await, value, "{name}");
        }
    }
    assert!(store.readers.execute_unprepared("DELETE FROM tenants").await.is_err());
}

#[tokio::test]
async fn what_was_committed_is_there_after_opening_again_whatever_the_path() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("50% of ?a=b #c é.db");
    let store = SqliteStore::open(&path).await.unwrap();
    furnish(&store).await;
    drop(store);
    assert!(path.exists());
    let store = SqliteStore::open(&path).await.unwrap();
    read_all(&store).await.unwrap();
    assert_eq!(begin(&store).await.runs().find(run().id()).await.unwrap(), Some(run()), "to the nanosecond");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_without_its_contents() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "these are my notes, and nobody's database; ".repeat(100)).unwrap();
    let refused = SqliteStore::open(&path).await.unwrap_err();
    assert_eq!(refused.to_string(), "the database file cannot be opened or migrated");
    assert!(SqliteStore::open(Path::new("/nowhere/at/all.db")).await.is_err());
}

#[tokio::test]
async fn another_processs_lock_is_unavailable_and_passes() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("powerhouse.db");
    let store = SqliteStore::open_waiting(&path, Duration::from_millis(50)).await.unwrap();
    furnish(&store).await;
    let other = SqliteStore::open(&path).await.unwrap();
    let lock = begin(&other).await;
    let refused = store.begin(&caller().scope()).await.err();
    assert!(matches!(refused, Some(StoreError::Unavailable(_))), "{refused:?}");
    assert!(
        store.standing(&caller().scope(), caller().user_id()).await.unwrap().is_some(),
        "readers wait for nobody"
    );
    drop(lock);
    // The lock is given up by the connection's own thread, a moment later.
    for _ in 0..100 {
        if store.begin(&caller().scope()).await.is_ok() {
            return;
        }
    }
    panic!("the store did not recover");
}

#[tokio::test]
async fn who_calls_is_checked_while_a_transaction_is_open() {
    let folder = TempDir::new().unwrap();
    let store = file(&folder).await;
    furnish(&store).await;
    let mut open = begin(&store).await;
    open.agents().add(&agent(9)).await.unwrap();
    let checks = async {
        store.ping().await.unwrap();
        let slug = "office".parse().unwrap();
        store.credentials(&slug, &"owner@example.org".parse().unwrap()).await.unwrap().unwrap();
        store.standing(&caller().scope(), caller().user_id()).await.unwrap().unwrap()
    };
    let standing = tokio::time::timeout(Duration::from_secs(2), checks).await.expect("nobody waits");
    assert_eq!(standing.role, caller().role());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_that_is_abandoned_halfway_leaves_nothing_and_blocks_nobody() {
    let folder = TempDir::new().unwrap();
    let store = file(&folder).await;
    furnish(&store).await;
    for round in 0..200 {
        let store = store.clone();
        let work = tokio::spawn(async move {
            let mut tx = begin(&store).await;
            tx.agents().add(&agent(100 + 2 * round)).await.unwrap();
            tx.agents().add(&agent(101 + 2 * round)).await.unwrap();
            tx.commit().await.unwrap();
        });
        tokio::time::sleep(Duration::from_micros(u64::try_from(round).unwrap() * 20)).await;
        work.abort();
        let _ = work.await;
    }
    let mut tx = begin(&store).await;
    let count = tx.agents().count_in_use().await.unwrap();
    assert_eq!(count % 2, 1, "beside the first agent, each transaction left two or none: {count}");
    tx.agents().add(&agent(99)).await.unwrap();
    tx.commit().await.unwrap();
}
