//! Vectors that the database compares: the same promises, both walls, and how a database comes to compare them.
//!
//! Needs `TEST_PGVECTOR_URL`, a superuser's on a server that has `pgvector`; `./scripts/test` sets it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use powerhouse_domain::access::TenantScope;
use powerhouse_domain::ids::{DocumentId, TenantId};
use powerhouse_ports::store::KnowledgeRepository as _;
use powerhouse_postgres::{Compared, PoolSettings, PostgresStore, Roles, migrate};
use powerhouse_rows::{Own, Transaction};
use powerhouse_tests::contract::stores::knowledge::{put, with_collections};
use powerhouse_tests::contract::stores::{Harness, Stores};
use powerhouse_tests::own_database::{APPLICATION, OwnDatabase, PASSWORD};
use powerhouse_tests::own_stores;
use powerhouse_tests::store_contract;
use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult, Statement,
    TransactionTrait as _,
};
use serde_json::Value;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::mutations::on_postgres;
use super::open;
use super::plans::flatten;

async fn migrated() -> OwnDatabase {
    let own = OwnDatabase::with_pgvector().await;
    assert_eq!(own_stores::migrate(&own).await, Compared::ByDatabase);
    own
}

struct OnPgvector(tokio::sync::Mutex<Vec<OwnDatabase>>);

#[async_trait]
impl Harness for OnPgvector {
    async fn stores(&self) -> Stores {
        let own = migrated().await;
        let store = Arc::new(open(&own).await);
        self.0.lock().await.push(own);
        Stores { tenants: store.clone(), platform: store, open_at_once: 1 }
    }
}

store_contract!(@ OnPgvector(tokio::sync::Mutex::default());
    knowledge: documents_survive, documents_are_their_tenants_own, what_is_in_a_collection_is_counted, the_nearest_are_found;
);

/// The documents whose chunks are found in the collection of that name.
async fn nearest(stores: &Stores, scope: &TenantScope) -> Vec<DocumentId> {
    let mut view = stores.tenants.read(scope).await.unwrap();
    let found = view.knowledge().nearest(&["a".parse().unwrap()], "m", &[0.6, -0.8], 99).await.unwrap();
    found.into_iter().map(|(place, _)| place.document).collect()
}

/// With one wall gone, the other keeps tenants apart; without both, tenants meet.
#[tokio::test]
async fn s07_both_walls_hold_where_the_database_compares() {
    let own = migrated().await;
    let (unfiltered, seen) = on_postgres(&own, &["document_chunks"]).await;
    let store = Arc::new(open(&own).await);
    let filtered = Stores { tenants: store.clone(), platform: store, open_at_once: 1 };
    let (ours, theirs) =
        (with_collections(&filtered, &["a"]).await, with_collections(&filtered, &["a"]).await);
    let document = put(&filtered, &ours, "a", "Ours").await.id;
    let other = put(&filtered, &theirs, "a", "Theirs").await.id;
    let scope = ours.principal.scope();
    assert_eq!(nearest(&filtered, &scope).await, [document], "with both walls");
    assert_eq!(nearest(&unfiltered, &scope).await, [document], "with row-level security alone");
    assert!(seen.compared.load(Ordering::Relaxed) > 0, "the database was not asked to compare");
    assert_eq!(*seen.bare.lock().unwrap(), Vec::<String>::new(), "each statement names the tenant");
    own.run("ALTER TABLE document_chunks DISABLE ROW LEVEL SECURITY").await;
    assert_eq!(nearest(&filtered, &scope).await, [document], "with the filter alone");
    assert_eq!(nearest(&unfiltered, &scope).await, [document, other], "with neither");
}

/// Keeps what is sent to the database.
struct Overheard {
    tx: DatabaseTransaction,
    sent: Arc<Mutex<Vec<Statement>>>,
}

#[async_trait]
impl ConnectionTrait for Overheard {
    fn get_database_backend(&self) -> DbBackend {
        self.tx.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.tx.execute_raw(statement).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.tx.execute_unprepared(sql).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.tx.query_one_raw(statement).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.sent.lock().unwrap().push(statement.clone());
        self.tx.query_all_raw(statement).await
    }
}

#[async_trait]
impl Transaction for Overheard {
    async fn commit(self) -> Result<(), DbErr> {
        self.tx.commit().await
    }

    fn compares_vectors(&self) -> bool {
        true
    }
}

/// 40 tenants with 300 chunks each; those of tenant 7 by one model are 200 of one length and 50 of another.
const ROWS: &str = "
    CREATE FUNCTION id(n bigint) RETURNS uuid LANGUAGE sql AS $$ SELECT lpad(to_hex(n), 32, '0')::uuid $$;
    INSERT INTO tenants SELECT id(t), 'tenant-' || t, 'n', 'team', 'active', NULL, NULL, 1, now(), now()
        FROM generate_series(1, 40) t;
    INSERT INTO collections SELECT id(t), 'c', '', 1, 300, 0, id(1), now() FROM generate_series(1, 40) t;
    INSERT INTO documents SELECT id(t), 'c', id(t), 't', '', 'text/plain', '', 1, 300, 0, 'm', 1, id(1), now()
        FROM generate_series(1, 40) t;
    INSERT INTO document_chunks SELECT id(t), 'c', id(t), n, 0, 1, '[]', 'x', CASE WHEN n < 250 THEN 'm' ELSE 'other' END,
            CASE WHEN n < 200 THEN decode('0000803f00000000', 'hex') ELSE decode('0000803f', 'hex') END,
            CASE WHEN n < 200 THEN '[1,0]'::vector ELSE '[1]'::vector END
        FROM generate_series(1, 40) t, generate_series(0, 299) n;
    ANALYZE";

/// The tenant's key is used before a distance is computed, and of the tenant's rows only those are compared that can be.
#[tokio::test]
async fn s06_only_a_tenants_own_vectors_are_compared() {
    let own = migrated().await;
    own.run(ROWS).await;
    let db = own.connect(APPLICATION).await;
    let tenant = Uuid::from_u128(7);
    for mode in ["force_custom_plan", "force_generic_plan"] {
        let tx = db.begin().await.unwrap();
        tx.execute_unprepared(&format!(
            "SET LOCAL app.tenant_id = '{tenant}'; SET LOCAL plan_cache_mode = {mode}"
        ))
        .await
        .unwrap();
        let sent = Arc::new(Mutex::new(Vec::new()));
        let mut asked = Own::new(Overheard { tx, sent: sent.clone() }, TenantId::from_uuid(tenant));
        let found = asked.nearest(&["c".parse().unwrap()], "m", &[1.0, 0.0], 50).await.unwrap();
        assert_eq!(found.len(), 50);
        drop(asked);
        let Statement { sql, values, .. } = sent.lock().unwrap().remove(0);
        assert!(sql.contains("<=>"), "{sql}");

        let tx = db.begin().await.unwrap();
        tx.execute_unprepared(&format!(
            "SET LOCAL app.tenant_id = '{tenant}'; SET LOCAL plan_cache_mode = {mode}"
        ))
        .await
        .unwrap();
        let sql = format!("EXPLAIN (ANALYZE, VERBOSE, FORMAT JSON) {sql}");
        let explain = Statement { sql, values, db_backend: DbBackend::Postgres };
        let plan: Value = tx.query_one_raw(explain).await.unwrap().unwrap().try_get_by_index(0).unwrap();
        // Distances are computed of what comes from the index, which is this tenant's by this model of this length.
        let mut nodes = Vec::new();
        flatten(&plan[0]["Plan"], &mut nodes);
        let scan = nodes.iter().find(|node| node["Relation Name"] == "document_chunks").unwrap();
        assert!(
            ["Index Scan", "Bitmap Heap Scan"].contains(&scan["Node Type"].as_str().unwrap()),
            "{plan:#}"
        );
        let index = nodes.iter().find(|node| node["Index Name"] == "document_chunks_pkey").unwrap();
        assert!(index["Index Cond"].as_str().unwrap().contains("tenant_id ="), "{plan:#}");
        assert_eq!(scan["Actual Rows"].as_f64().unwrap().to_string(), "200", "{plan:#}");
        // What is wanted is read once.
        assert!(!scan["Output"].to_string().contains("CAST"), "{plan:#}");
    }
}

/// A database that gets the extension later compares what is stored, too, once it is migrated again; and whatever a server
/// puts that has not noticed is found all the same.
#[tokio::test]
async fn a_database_that_gets_the_extension_later_is_brought_up_by_migrating() {
    let (own, other) = (OwnDatabase::with_pgvector().await, OwnDatabase::with_pgvector().await);
    let name = |role: &str| format!("{role}_{}", Uuid::new_v4().simple());
    let (owner, application, platform) = (name("owner"), name("application"), name("platform"));
    other.run(&format!("CREATE ROLE {owner} LOGIN CREATEROLE")).await;
    let database = own.owner().path().trim_start_matches('/').to_owned();
    other.run(&format!("ALTER DATABASE {database} OWNER TO {owner}")).await;
    let mut url = own.owner();
    url.set_username(&owner).unwrap();
    let password = || Some(Zeroizing::new(PASSWORD.to_owned()));
    let roles = Roles::new((&application, password()), (&platform, password()));
    let open = async || {
        let (application, platform) = (own.role(&application), own.role(&platform));
        let store = PostgresStore::open(application.as_str(), platform.as_str(), PoolSettings::default());
        let store = Arc::new(store.await.unwrap());
        Stores { tenants: store.clone(), platform: store, open_at_once: 1 }
    };
    let missing = "SELECT count(*)::text FROM document_chunks WHERE embedding IS NULL";

    assert_eq!(migrate(url.as_str(), &roles).await.unwrap(), Compared::ByUsUntilCreated);
    let before = open().await;
    let office = with_collections(&before, &["a"]).await;
    let scope = office.principal.scope();
    let mut all = vec![put(&before, &office, "a", "One").await.id];
    assert_eq!(nearest(&before, &scope).await, all);

    own.run("CREATE EXTENSION vector").await;
    assert_eq!(migrate(url.as_str(), &roles).await.unwrap(), Compared::ByDatabase);
    assert_eq!(own.ask(missing).await, ["0"]);
    assert_eq!(own.ask("SELECT embedding::text FROM document_chunks").await, ["[0.6,-0.8]"]);
    let policies = "SELECT polname::text FROM pg_policy WHERE polrelid = 'document_chunks'::regclass";
    assert_eq!(own.ask(policies).await, ["tenant_isolation"], "the owner is bound again");

    // A server that was there before does not know.
    all.push(put(&before, &office, "a", "Two").await.id);
    assert_eq!(own.ask(missing).await, ["1"]);
    let after = open().await;
    all.push(put(&after, &office, "a", "Three").await.id);
    assert_eq!(own.ask(missing).await, ["1"]);
    for stores in [&before, &after] {
        assert_eq!(nearest(stores, &scope).await, all);
    }
    assert_eq!(migrate(url.as_str(), &roles).await.unwrap(), Compared::ByDatabase);
    assert_eq!(own.ask(missing).await, ["0"]);

    // Without it, nothing is lost.
    own.run("DROP EXTENSION vector CASCADE").await;
    assert_eq!(migrate(url.as_str(), &roles).await.unwrap(), Compared::ByUsUntilCreated);
    assert_eq!(nearest(&open().await, &scope).await, all);

    drop((before, after, own));
    for role in [&application, &platform, &format!("{platform}_partitions"), &owner] {
        other.run(&format!("DROP ROLE {role}")).await;
    }
}
