//! Two walls between tenants, each proven without the other (S07): with every filter taken out of every statement,
//! row-level security keeps tenants apart; with every policy gone, the filters do; where one table has neither, tenants meet.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use powerhouse_domain::access::TenantScope;
use powerhouse_domain::runs::{Lease, Room, Run};
use powerhouse_domain::tenants::Plan;
use powerhouse_ports::platform::PlatformStore as _;
use powerhouse_ports::store::{Limit, Plain, StoreError, TenantStore, TenantTx, TenantView, Work};
use powerhouse_postgres::PostgresStore;
use powerhouse_rows::{Own, Transaction, store_error};
use powerhouse_sqlite::SqliteStore;
use powerhouse_tests::contract::sample::{agent, at, member, office, run};
use powerhouse_tests::contract::stores::{
    Stores, approvals, audit, catalogue, idempotency, isolation, knowledge, memories, schedules, secrets,
    selection, threads, tools, twins, webhooks,
};
use powerhouse_tests::own_database::{APPLICATION, OwnDatabase};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    ExecResult, QueryResult, SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait as _,
};

use super::{migrated, open};

/// Every table that a tenant's transaction filters by its tenant.
const TABLES: &[&str] = &[
    "approvals",
    "approval_rules",
    "selectors",
    "idempotency_keys",
    "tenants",
    "users",
    "agents",
    "agent_versions",
    "runs",
    "run_events",
    "run_feedback",
    "schedules",
    "data_keys",
    "secrets",
    "tools",
    "egress_rules",
    "webhooks",
    "webhook_deliveries",
    "model_providers",
    "collections",
    "documents",
    "document_chunks",
    "document_words",
    "masking_rules",
    "prices",
    "budgets",
    "budget_windows",
    "usage",
    "memories",
    "threads",
    "audit_heads",
    "audit_records",
];

/// What a tenant's transaction tells the database of its tenant.
#[derive(Clone, Copy, Debug)]
enum Told {
    /// The truth.
    Own,
    /// Nothing.
    Nobody,
    /// That it is another.
    Other(TenantScope),
}

/// The tenants' side as it is but for one mistake in it.
#[derive(Clone)]
struct Mutated {
    db: DatabaseConnection,
    /// The tables that are not filtered by the tenant.
    unfiltered: &'static [&'static str],
    told: Told,
    /// Whether the database compares vectors.
    compares: bool,
    seen: Arc<Seen>,
}

/// What was sent to the database.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The tables that lost a filter.
    mutated: Mutex<BTreeSet<&'static str>>,
    /// Statements that had none to lose.
    pub(super) bare: Mutex<Vec<String>>,
    /// How many statements of these had the database compare vectors.
    pub(super) compared: AtomicUsize,
}

impl Mutated {
    fn new(db: DatabaseConnection, unfiltered: &'static [&'static str], told: Told) -> Self {
        Self { db, unfiltered, told, compares: false, seen: Arc::default() }
    }

    async fn transaction(&self, scope: &TenantScope) -> Result<DatabaseTransaction, DbErr> {
        if self.db.get_database_backend() == DbBackend::Sqlite {
            let options = TransactionOptions {
                sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
                ..TransactionOptions::default()
            };
            return self.db.begin_with_options(options).await;
        }
        let tx = self.db.begin().await?;
        let told = match self.told {
            Told::Own => Some(*scope),
            Told::Nobody => None,
            Told::Other(scope) => Some(scope),
        };
        if let Some(scope) = told {
            let sql = format!("SET LOCAL app.tenant_id = '{}'", scope.tenant_id().as_uuid());
            tx.execute_unprepared(&sql).await?;
        }
        Ok(tx)
    }

    async fn own(&self, scope: &TenantScope) -> Result<Box<Own<MutatedTx>>, StoreError> {
        let tx = self.transaction(scope).await.map_err(store_error("transaction"))?;
        let seen = self.seen.clone();
        let tx = MutatedTx { tx, unfiltered: self.unfiltered, compares: self.compares, seen };
        Ok(Box::new(Own::new(tx, scope.tenant_id())))
    }
}

#[async_trait]
impl TenantStore for Mutated {
    async fn begin(&self, scope: &TenantScope) -> Result<Box<dyn TenantTx>, StoreError> {
        Ok(self.own(scope).await?)
    }

    async fn read(&self, scope: &TenantScope) -> Result<Box<dyn TenantView>, StoreError> {
        Ok(self.own(scope).await?)
    }

    async fn record_plain<'a>(&self, work: &[Plain<'a>]) -> Result<Vec<Option<u64>>, StoreError> {
        Ok(vec![None; work.len()])
    }
}

struct MutatedTx {
    tx: DatabaseTransaction,
    unfiltered: &'static [&'static str],
    compares: bool,
    seen: Arc<Seen>,
}

/// The filter of a table, up to its value.
fn filter(table: &str) -> String {
    let column = if table == "tenants" { "id" } else { "tenant_id" };
    format!("\"{table}\".\"{column}\" = ")
}

/// The statement with each filter of this table made one that every row passes; and how many these are.
fn unfiltered(sql: &str, table: &str) -> (String, usize) {
    let filter = filter(table);
    let mut parts = sql.split(filter.as_str());
    let mut mutated = parts.next().unwrap_or_default().to_owned();
    let mut count = 0;
    for part in parts {
        let end = part.find(|c: char| !matches!(c, '$' | '?' | '0'..='9')).unwrap_or(part.len());
        let (value, rest) = part.split_at(end);
        // A join, say.
        if value.is_empty() {
            let _ = write!(mutated, "{filter}{rest}");
            continue;
        }
        let _ = write!(mutated, "({filter}{value} OR TRUE){rest}");
        count += 1;
    }
    (mutated, count)
}

impl MutatedTx {
    fn mutated(&self, mut statement: Statement) -> Statement {
        let is_filtered = TABLES.iter().any(|table| statement.sql.contains(&filter(table)));
        if !is_filtered && !statement.sql.starts_with("INSERT ") {
            self.seen.bare.lock().unwrap().push(statement.sql.clone());
        }
        for table in self.unfiltered {
            let (sql, count) = unfiltered(&statement.sql, table);
            statement.sql = sql;
            if count > 0 {
                self.seen.mutated.lock().unwrap().insert(table);
                self.seen.compared.fetch_add(statement.sql.contains("<=>").into(), Ordering::Relaxed);
            }
        }
        statement
    }
}

#[async_trait]
impl ConnectionTrait for MutatedTx {
    fn get_database_backend(&self) -> DbBackend {
        self.tx.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.tx.execute_raw(self.mutated(statement)).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.tx.execute_unprepared(sql).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.tx.query_one_raw(self.mutated(statement)).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.tx.query_all_raw(self.mutated(statement)).await
    }
}

#[async_trait]
impl Transaction for MutatedTx {
    async fn commit(self) -> Result<(), DbErr> {
        self.tx.commit().await
    }

    fn compares_vectors(&self) -> bool {
        self.compares
    }

    async fn protect(&self) -> Result<(), DbErr> {
        self.tx.execute_unprepared("SAVEPOINT refusable").await.map(drop)
    }

    async fn recover(&self) -> Result<(), DbErr> {
        self.tx.execute_unprepared("ROLLBACK TO SAVEPOINT refusable").await.map(drop)
    }
}

/// Every repository method with another tenant's ids, and with ids that two tenants have in common.
async fn isolate(stores: &Stores) {
    twins::twins_never_meet(stores).await;
    isolation::no_method_shows_or_changes_another_tenants_rows(stores).await;
    schedules::schedules_are_their_tenants_own(stores).await;
    approvals::rules_are_their_tenants_own(stores).await;
    idempotency::a_key_has_its_answer_for_its_user_only(stores).await;
    secrets::secrets_are_their_tenants_own(stores).await;
    tools::tools_are_their_tenants_own(stores).await;
    knowledge::documents_are_their_tenants_own(stores).await;
    webhooks::webhooks_are_their_tenants_own(stores).await;
    catalogue::providers_are_their_tenants_own(stores).await;
    catalogue::what_is_masked_survives(stores).await;
    audit::trails_are_their_tenants_own(stores).await;
    selection::knowledge_is_its_tenants_own(stores).await;
    memories::memories_are_their_tenants_own(stores).await;
    threads::threads_are_their_tenants_own(stores).await;
}

/// Whether they do. What is said on the way is that of the assertion that failed.
async fn do_isolate(stores: &Stores) -> bool {
    AssertUnwindSafe(isolate(stores)).catch_unwind().await.is_ok()
}

/// Stores that do not filter these tables.
pub(super) async fn on_postgres(
    own: &OwnDatabase,
    unfiltered: &'static [&'static str],
) -> (Stores, Arc<Seen>) {
    let column = "SELECT attname::text FROM pg_attribute WHERE attrelid = 'document_chunks'::regclass AND attname = 'embedding'";
    let compares = !own.ask(column).await.is_empty();
    let told = Told::Own;
    let mutated = Mutated { compares, ..Mutated::new(own.connect(APPLICATION).await, unfiltered, told) };
    let seen = mutated.seen.clone();
    (Stores { tenants: Arc::new(mutated), platform: Arc::new(open(own).await), open_at_once: 1 }, seen)
}

#[tokio::test]
async fn s07_without_any_filter_row_level_security_keeps_tenants_apart() {
    let own = migrated().await;
    let (stores, seen) = on_postgres(&own, TABLES).await;
    isolate(&stores).await;
    assert_eq!(
        *seen.mutated.lock().unwrap(),
        TABLES.iter().copied().collect(),
        "some statement filters each"
    );
    assert_eq!(*seen.bare.lock().unwrap(), Vec::<String>::new(), "each statement names the tenant");
}

#[tokio::test]
async fn s07_without_any_policy_the_filters_keep_tenants_apart() {
    let own = migrated().await;
    // Opened before: it would refuse to serve.
    let store = Arc::new(open(&own).await);
    for table in TABLES {
        own.run(&without_policy(table)).await;
    }
    isolate(&Stores { tenants: store.clone(), platform: store, open_at_once: 1 }).await;
}

fn without_policy(table: &str) -> String {
    format!("ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
}

/// The mistakes above are mistakes: with both walls gone of any one table, the suite fails.
#[tokio::test]
async fn s07_without_filter_and_policy_tenants_meet() {
    // Dozens of failures are meant here: each is told in a line, not with where in the program it was.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let template = migrated().await;
    for table in TABLES {
        let own = template.copied().await;
        let (stores, _) = on_postgres(&own, std::slice::from_ref(table)).await;
        own.run(&without_policy(table)).await;
        assert!(!do_isolate(&stores).await, "on PostgreSQL, nothing is seen of an unfiltered {table}");
    }
    for unfiltered in TABLES.iter().map(std::slice::from_ref).chain([[].as_slice()]) {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("powerhouse.db");
        let platform = Arc::new(SqliteStore::open(&file).await.unwrap());
        let mut options = ConnectOptions::new(format!("sqlite://{}", file.display()));
        options.max_connections(1).sqlx_logging(false);
        let db = Database::connect(options).await.unwrap();
        let tenants = Arc::new(Mutated::new(db, unfiltered, Told::Own));
        let stores = Stores { tenants, platform, open_at_once: 1 };
        assert_eq!(do_isolate(&stores).await, unfiltered.is_empty(), "on SQLite, without {unfiltered:?}");
    }
}

/// A transaction that forgot to say whose it is, or says that it is another's, has nothing and writes nothing: its
/// statements still name the tenant.
#[tokio::test]
async fn s07_a_transaction_of_nobody_or_of_another_has_nothing() {
    let own = migrated().await;
    let store = open(&own).await;
    let (ours, theirs) = (office(&store, Plan::Team).await, office(&store, Plan::Team).await);
    let mut agents = Vec::new();
    for office in [&ours, &theirs] {
        let helper = agent("helper");
        let mut tx = store.begin(&office.principal.scope()).await.unwrap();
        tx.agents().add(&helper).await.unwrap();
        tx.runs().add(&run(office.owner.id(), &helper, 5)).await.unwrap();
        tx.commit().await.unwrap();
        agents.push(helper);
    }
    let all = Limit::new(100).unwrap();
    let db = own.connect(APPLICATION).await;
    for told in [Told::Nobody, Told::Other(theirs.principal.scope())] {
        let mutated = Mutated::new(db.clone(), &[], told);
        let mut tx = mutated.begin(&ours.principal.scope()).await.unwrap();
        assert_eq!(tx.tenant().await.unwrap(), None, "{told:?}");
        for user in [ours.owner.id(), theirs.owner.id()] {
            assert_eq!(tx.users().find(user).await.unwrap(), None, "{told:?}");
            assert!(!tx.users().remove(user).await.unwrap(), "{told:?}");
        }
        assert!(tx.users().list(None, all).await.unwrap().items.is_empty(), "{told:?}");
        for agent in &agents {
            assert_eq!(tx.agents().find(agent.id()).await.unwrap(), None, "{told:?}");
            assert!(tx.agents().update(&agent.clone().archive(at(7)).unwrap()).await.is_err(), "{told:?}");
        }
        assert!(tx.runs().list(None, None, all).await.unwrap().items.is_empty(), "{told:?}");
        let (user, membership) = member(&ours, "new@example.org");
        assert!(tx.users().add(&user, &membership, "hash").await.is_err(), "{told:?}");
        assert!(tx.agents().add(&agent("new")).await.is_err(), "{told:?}");
        assert!(tx.runs().add(&run(ours.owner.id(), &agents[0], 6)).await.is_err(), "{told:?}");
    }
}

/// A run that was claimed, and a lease of it that names another tenant than its own.
async fn claimed_by_another(store: &PostgresStore) -> (Run, Lease) {
    let (ours, theirs) = (office(store, Plan::Team).await, office(store, Plan::Team).await);
    let accepted = run(theirs.owner.id(), &agent("helper"), 5);
    let mut tx = store.begin(&theirs.principal.scope()).await.unwrap();
    tx.runs().add(&accepted).await.unwrap();
    tx.commit().await.unwrap();
    let granted = store.claim(Room::for_anyone(1), at(6), Duration::from_hours(1)).await.unwrap().remove(0);
    let forged = Lease::granted(ours.tenant.id(), granted.run(), granted.token(), granted.expires_at(), 0);
    (accepted, forged)
}

/// The function says itself whose each row is, so it has the same two walls: a lease that names the wrong tenant gets
/// nothing with either of them, and something only without both.
#[tokio::test]
async fn s07_the_function_that_records_work_has_both_walls() {
    const FILTER: &str = "tenant_id = tenant AND id = item.id";
    let own = migrated().await;
    let store = open(&own).await;
    let (accepted, forged) = claimed_by_another(&store).await;
    let work = Work { lease: forged, run: accepted.start(at(7)).unwrap(), events: Vec::new(), rules: None };
    let tried = async || {
        let plain = Plain { work: &work, seen: 1, is_free: false, used: &[] };
        store.record_plain(&[plain]).await.unwrap()[0]
    };
    let walls = async |rls: &str, filter: &str| {
        own.run(&format!("ALTER TABLE runs {rls} ROW LEVEL SECURITY")).await;
        own.run(&format!(
            "DO $do$ BEGIN EXECUTE replace(pg_get_functiondef('record_work'::regproc), '{FILTER}', '{filter}'); END $do$"
        ))
        .await;
    };
    assert_eq!(tried().await, None, "with both walls");
    walls("DISABLE", FILTER).await;
    assert_eq!(tried().await, None, "with the filter alone");
    walls("ENABLE", "id = item.id").await;
    assert_eq!(tried().await, None, "with row-level security alone");
    walls("DISABLE", "id = item.id").await;
    assert_eq!(tried().await, Some(1), "with neither");
}

/// So does the one that reads what was claimed.
#[tokio::test]
async fn s07_the_function_that_reads_claimed_runs_has_both_walls() {
    let own = migrated().await;
    let store = open(&own).await;
    let (_, forged) = claimed_by_another(&store).await;
    let db = own.connect(APPLICATION).await;
    let wanted = format!(
        r#"[{{"tenant": "{}", "id": "{}"}}]"#,
        forged.scope().tenant_id().as_uuid(),
        forged.run().as_uuid()
    );
    let sql = format!("SELECT COUNT(*) FROM read_claimed('{wanted}', 64)");
    let told = async || {
        let row = db.query_one_raw(Statement::from_string(DbBackend::Postgres, sql.as_str())).await.unwrap();
        row.unwrap().try_get_by_index::<i64>(0).unwrap()
    };
    let walls = async |rls: &str, is_filtered: bool| {
        own.run(&format!("ALTER TABLE runs {rls} ROW LEVEL SECURITY")).await;
        own.run(&format!("ALTER TABLE run_events {rls} ROW LEVEL SECURITY")).await;
        let (now, then) = ("tenant_id = tenant AND", "true AND");
        let (now, then) = if is_filtered { (then, now) } else { (now, then) };
        own.run(&format!(
            "DO $do$ BEGIN EXECUTE replace(pg_get_functiondef('read_claimed'::regproc), '{now}', '{then}'); END $do$"
        ))
        .await;
    };
    assert_eq!(told().await, 0, "with both walls");
    walls("DISABLE", true).await;
    assert_eq!(told().await, 0, "with the filters alone");
    walls("ENABLE", false).await;
    assert_eq!(told().await, 0, "with row-level security alone");
    walls("DISABLE", false).await;
    assert_eq!(told().await, 1, "with neither");
    assert!(
        store.read_claimed(&[forged]).await.unwrap()[0].is_none(),
        "it is not given to a lease of another tenant"
    );
}
