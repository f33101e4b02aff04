//! How the database answers what the API and the queue ask: the plans that it really ran, for the serving roles and
//! with row-level security in force, on tables so large that reading one from end to end would be slow (S06).

use std::fmt::{Debug, Write as _};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveTime, TimeDelta, Utc};
use powerhouse_domain::access::{Principal, Role};
use powerhouse_domain::audit::{AuditAction, AuditPlace, Entry};
use powerhouse_domain::catalogue::Provider;
use powerhouse_domain::ids::{
    AgentId, ApprovalId, BudgetId, DataKeyId, DocumentId, MemoryId, MessageId, ModelProviderId, RunId,
    ScheduleId, SessionId, TenantId, ThreadId, UserId, WebhookId,
};
use powerhouse_domain::knowledge::{CollectionName, Place};
use powerhouse_domain::masking::Classes;
use powerhouse_domain::memory::{MemoryKind, Whose};
use powerhouse_domain::model::Usage;
use powerhouse_domain::money::{BudgetWindow, Grouping};
use powerhouse_domain::runs::{EventBody, Feedback, FencingToken, Lease, Room, Verdict};
use powerhouse_domain::schedules::PauseReason;
use powerhouse_domain::threads::Summary;
use powerhouse_domain::tools::{SourceKind, ToolName};
use powerhouse_ports::platform::{PlatformStore, Rotation};
use powerhouse_ports::store::{AuditFilter, Limit, NewEvent, TenantStore as _, TenantTx};
use powerhouse_postgres::{PoolSettings, PostgresStore};
use powerhouse_tests::own_database::{APPLICATION, OwnDatabase, PLATFORM};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use uuid::Uuid;

use super::migrated;

/// 100 tenants with 300 rows each in every table, among 3,000 that have none. Ids are numbers, so that the ones below are
/// known: the thousands name the tenant. Of each tenant's runs ten wait, one was given up, and the others have ended.
const ROWS: &str = "
    CREATE FUNCTION id(n bigint) RETURNS uuid LANGUAGE sql AS $$ SELECT lpad(to_hex(n), 32, '0')::uuid $$;
    INSERT INTO tenants SELECT id(t), 'tenant-' || t, 'n', 'team', 'active', NULL, NULL, 1, now(), now()
        FROM generate_series(1, 3000) t;
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
                      input_tokens, output_tokens, cost_micros, created_at, version, fencing_token, lease_expires_at,
                      next_seq, due_at, thread_id, turn)
        SELECT id(t), id(t * 1000 + n), id(t * 1000 + 100 + n % 10), 'Work', id(t * 1000 + n), 1,
            jsonb_build_object('agent', 'agent_00000000000000000000000001', 'agent_version', 1, 'reason', 'r',
                               'scores', '[]'::jsonb),
            $${\"steps\": 1, \"tokens\": 1, \"cost_micros\": 0, \"wall_clock_ms\": 1000}$$,
            CASE WHEN n <= 10 THEN 'queued' WHEN n = 11 THEN 'running' ELSE 'cancelled' END,
            jsonb_build_object('status', 'cancelled', 'by', 'user_00000000000000000000000001',
                               'started_at', NULL, 'ended_at', '2026-01-01T00:00:00Z'),
            0, 0, 0, now(), 1, 1, CASE WHEN n = 11 THEN now() - interval '1 hour' END, 3,
            CASE WHEN n <= 10 THEN now() END, id(t * 1000 + n), 1
        FROM generate_series(1, 100) t, generate_series(1, 300) n;
    INSERT INTO run_events SELECT tenant_id, id, seq, now(), $${\"type\": \"queued\"}$$
        FROM runs, generate_series(1, 3) seq;
    INSERT INTO approvals SELECT tenant_id, id, id, '0',
        $${\"question\": \"tool_call\", \"name\": \"pay\", \"arguments\": {}}$$, now(), now(),
        CASE WHEN id > id(50250) THEN NULL ELSE
            $${\"decision\": {\"decision\": \"approve\"}, \"by\": null, \"at\": \"2026-01-01T00:00:00Z\"}$$::jsonb END
        FROM runs;
    INSERT INTO run_feedback SELECT tenant_id, id, requested_by, 'good', '', now() FROM runs;
    INSERT INTO prices SELECT id(t), 'm' || n, now(), 1, 1, 1 FROM generate_series(1, 100) t, generate_series(1, 300) n;
    INSERT INTO budgets SELECT id(t), id(t * 1000 + n), 'user', id(t * 1000 + 100 + n % 10), 'day', 1000, NULL, now(), 1
        FROM generate_series(1, 100) t, generate_series(1, 300) n;
    INSERT INTO budget_windows SELECT tenant_id, id, '2026-01-01', 0, 0, 0, 0 FROM budgets;
    INSERT INTO usage SELECT id(t), '2026-01-01'::date + n, id(t), id(t), 'm', 1, 1, 1, 1
        FROM generate_series(1, 100) t, generate_series(1, 300) n;
    INSERT INTO audit_heads SELECT id(t), 300, date_trunc('month', now(), 'UTC') + interval '2800 hours',
            decode(lpad('', 64, '0'), 'hex') FROM generate_series(1, 3000) t;
    INSERT INTO audit_records SELECT id(t), date_trunc('month', now(), 'UTC') + n * interval '9 hours', n,
            CASE n WHEN 9 THEN 'user_00000000000000000000000009' ELSE 'platform' END, NULL,
            'user.added', 'user_' || n, NULL, '{}', decode(lpad('', 64, '0'), 'hex'), decode(lpad('', 64, '0'), 'hex')
        FROM generate_series(1, 100) t, generate_series(1, 300) n;
    INSERT INTO sessions SELECT id(t), id(t * 1000 + n), id(t * 1000 + n),
        decode(lpad(to_hex(t * 1000 + n), 64, '0'), 'hex'), NULL, now(),
        now() + CASE WHEN n = 300 THEN interval '-1 day' ELSE interval '1 day' END, NULL
        FROM generate_series(1, 100) t, generate_series(1, 300) n;
    INSERT INTO refresh_digests SELECT tenant_id, current_digest, id FROM sessions;
    INSERT INTO schedules SELECT id(t), id(t * 1000 + n), id(t * 1000 + 1), 'n', $${\"cron\": \"0 0 * * *\", \"zone\": \"UTC\",
        \"missed\": \"once\", \"task\": \"t\", \"target\": {\"agent\": \"agent_00000000000000000000000001\"}, \"priority\": 0}$$,
        now() + CASE WHEN n <= 10 THEN interval '0' ELSE interval '1 day' END, NULL, NULL, NULL, NULL, now(), 1
        FROM generate_series(1, 100) t, generate_series(1, 300) n;
    INSERT INTO webhooks SELECT id(t), id(t * 1000 + n), 'https://example.org', '', NULL, NULL, '', NULL, NULL,
        id(t * 1000 + 1), now(), 1 FROM generate_series(1, 100) t, generate_series(1, 300) n;
    INSERT INTO model_providers SELECT id(t), id(t * 1000 + n), 'p' || n, 'openai', 'https://example.org', false,
        '[{\"name\": \"m\"}]', id(t * 1000 + 1), now(), 1, 's' || n FROM generate_series(1, 100) t, generate_series(1, 300) n;
    INSERT INTO webhook_deliveries (tenant_id, webhook_id, id, event, payload, attempts, before_replay, status, next_at,
                                    ended_at, created_at)
        SELECT id(t), id(t * 1000 + 107), id(t * 1000 + n), 'run.failed', '{}', 0, 0,
            CASE WHEN n <= 10 THEN 'pending' ELSE 'dead' END, CASE WHEN n <= 10 THEN now() END,
            CASE WHEN n > 10 THEN now() - CASE WHEN n = 300 THEN interval '40 days' ELSE interval '0' END END, now()
        FROM generate_series(1, 100) t, generate_series(1, 300) n;
    INSERT INTO selectors SELECT id(t), 1, NULL, NULL,
        $${\"at\": null, \"record\": [], \"lesson\": \"\", \"threshold\": null}$$ FROM generate_series(1, 3000) t;
    INSERT INTO data_keys SELECT id(t), id(t * 1000 + n), 'm', '' FROM generate_series(1, 100) t, generate_series(1, 300) n;
    INSERT INTO secrets SELECT id(t), 's' || n, id(t * 1000 + n), '', id(t * 1000 + 1), now(), now(), 1
        FROM generate_series(1, 100) t, generate_series(1, 300) n;
    INSERT INTO tools SELECT id(t), 't' || n, CASE WHEN n <= 150 THEN 'http' ELSE 'mcp' END, $${\"url\": \"https://a.org/\",
        \"description\": \"d\", \"parameters\": {}, \"method\": \"GET\", \"query\": [], \"headers\": {}, \"seconds\": 1,
        \"bytes\": 1, \"safe_to_repeat\": true, \"tools\": []}$$, id(t * 1000 + 1), now(), now(), 1
        FROM generate_series(1, 100) t, generate_series(1, 300) n;
    INSERT INTO collections SELECT id(t), 'c' || n, '', 3, 9, 99, id(t * 1000 + 1), now()
        FROM generate_series(1, 100) t, generate_series(1, 30) n;
    INSERT INTO documents SELECT id(t), 'c' || n % 30 + 1, id(t * 1000 + n), 't', '', 'text/plain',
        decode(lpad(to_hex(n), 64, '0'), 'hex'), 1, 3, 9, 'm', 1, id(t * 1000 + 1), now()
        FROM generate_series(1, 100) t, generate_series(1, 300) n;
    INSERT INTO document_chunks SELECT tenant_id, collection, id, n, 0, 1, '[]', 'x', 'm', decode('0000803f', 'hex')
        FROM documents, generate_series(0, 2) n;
    INSERT INTO document_words SELECT tenant_id, collection, 'w' || n, id, decode(lpad('', 24, '0'), 'hex')
        FROM documents, generate_series(1, 5) n;
    INSERT INTO egress_rules SELECT id(t), '[]', 1 FROM generate_series(1, 3000) t;
    INSERT INTO masking_rules SELECT id(t), '[]', 1 FROM generate_series(1, 3000) t;
    INSERT INTO approval_rules SELECT id(t), '[]', 1 FROM generate_series(1, 3000) t;
    INSERT INTO memories SELECT id(t), id(t * 1000 + n), id(t * 1000 + 1 + n % 3), id(t * 1000 + 100 + n % 10), 'fact', 'x', 5,
        now(), now(), NULL, NULL, NULL FROM generate_series(1, 100) t, generate_series(1, 300) n;
    INSERT INTO threads SELECT id(t), id(t * 1000 + n), id(t * 1000 + 100 + n % 10), NULL, 0, NULL, NULL, NULL, now(), now(), 1
        FROM generate_series(1, 100) t, generate_series(1, 300) n;
    INSERT INTO idempotency_keys SELECT id(t), id(t * 1000 + n), decode(lpad(to_hex(n), 64, '0'), 'hex'), '',
        now() + CASE WHEN n = 300 THEN interval '-1 day' ELSE interval '1 day' END
        FROM generate_series(1, 100) t, generate_series(1, 300) n;
    ANALYZE";

/// Small by their nature: there is one row for each tenant, and the queue looks at all of them.
const SMALL: [&str; 2] = ["tenants", "queue_turns"];

/// What the database tells its client on the way: with `auto_explain` loaded, each plan, after its statement's end.
#[derive(Clone, Default)]
struct Notices(Arc<Mutex<Vec<String>>>);

impl Notices {
    /// The plans since the last time.
    fn take(&self) -> Vec<Value> {
        let notices = std::mem::take(&mut *self.0.lock().unwrap());
        let plans = notices.iter().filter_map(|notice| notice.split_once("plan:\n"));
        plans.map(|(_, json)| serde_json::from_str(json).unwrap()).collect()
    }
}

impl Visit for &Notices {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0.lock().unwrap().push(format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.0.lock().unwrap().push(value.to_owned());
        }
    }
}

/// sqlx says what the database tells as an event.
impl Subscriber for Notices {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::postgres::notice"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut &*self);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// A store of one connection for each role, whose plans are watched.
struct Watched {
    store: PostgresStore,
    notices: Notices,
    caller: Principal,
    wrong: Vec<String>,
}

impl Watched {
    /// Plans are made as `mode` says: for the values at hand, or once for all.
    async fn new(own: &OwnDatabase, notices: &Notices, caller: Principal, mode: &str) -> Self {
        own.run(&format!(
            "DO $$ BEGIN
                EXECUTE format('ALTER DATABASE %I SET session_preload_libraries = auto_explain', current_database());
                EXECUTE format('ALTER DATABASE %I SET auto_explain.log_min_duration = 0', current_database());
                EXECUTE format('ALTER DATABASE %I SET auto_explain.log_nested_statements = on', current_database());
                EXECUTE format('ALTER DATABASE %I SET auto_explain.log_format = json', current_database());
                EXECUTE format('ALTER DATABASE %I SET auto_explain.log_level = notice', current_database());
                EXECUTE format('ALTER DATABASE %I SET plan_cache_mode = {mode}', current_database());
            END $$"
        ))
        .await;
        let settings = PoolSettings { connections: 1, platform_connections: 1, ..PoolSettings::default() };
        let (application, platform) = (own.role(APPLICATION), own.role(PLATFORM));
        let store = PostgresStore::open(application.as_str(), platform.as_str(), settings).await.unwrap();
        let mut watched = Self { store, notices: notices.clone(), caller, wrong: Vec::new() };
        watched.plans().await;
        watched
    }

    /// The plans of what ran since the last time. A statement's plan comes when the next one begins, and a transaction
    /// that was dropped ends when its connection begins the next.
    async fn plans(&mut self) -> Vec<Value> {
        drop(self.store.begin(&self.caller.scope()).await.unwrap());
        self.store.ping().await.unwrap();
        self.notices.take()
    }

    /// Does something in a tenant's transaction that is not committed; it should use these indexes and no others.
    async fn own(&mut self, call: &str, indexes: &[&str], work: impl AsyncFnOnce(&mut dyn TenantTx)) {
        let mut tx = self.store.begin(&self.caller.scope()).await.unwrap();
        work(&mut *tx).await;
        drop(tx);
        let plans = self.plans().await;
        self.wrong.extend(violations(call, indexes, &plans, true));
    }

    /// Does something across tenants.
    async fn across(&mut self, call: &str, indexes: &[&str], work: impl AsyncFnOnce(&dyn PlatformStore)) {
        work(&self.store).await;
        let plans = self.plans().await;
        self.wrong.extend(violations(call, indexes, &plans, false));
    }
}

/// What is wrong with the plans of a call: a table that is read from end to end, an index that is not the one meant, or,
/// in a tenant's transaction, one that is searched without the tenant, and rows that are sorted after they are read.
/// `one or another` are indexes that serve equally well.
fn violations(call: &str, indexes: &[&str], plans: &[Value], is_own: bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut used = Vec::new();
    for plan in plans {
        let mut nodes = Vec::new();
        flatten(&plan["Plan"], &mut nodes);
        let mut wrong = Vec::new();
        // A plan for any run or day does not know which month it will be: what is there is sorted.
        let is_of_any_month = nodes.iter().any(|node| node["Node Type"] == "Append");
        for node in nodes {
            let text = |key: &str| node[key].as_str().unwrap_or_default().to_owned();
            let (kind, table, index) = (text("Node Type"), text("Relation Name"), text("Index Name"));
            // The database's own tables.
            if table.starts_with("pg_") || index.starts_with("pg_") {
                continue;
            }
            // What has strayed is little.
            let is_small = SMALL.contains(&table.as_str()) || table.ends_with("_default");
            if kind == "Seq Scan" && !is_small {
                wrong.push(format!("reads {table} from end to end"));
            }
            // A claim costs no more than the head of the queue, and looks up whose runs wait there.
            let is_looked_up = ["tenants_pkey", "queue_turns_pkey"].contains(&index.as_str());
            if call == "claim"
                && (kind.starts_with("Bitmap") || is_looked_up && text("Index Cond").is_empty())
            {
                wrong.push(format!("reads all of {table}"));
            }
            // A price list is short, and read whole. No index has the order of what is compared.
            let may_sort = is_of_any_month || call.starts_with("prices.") || call == "nearest";
            if is_own && kind.ends_with("Sort") && !may_sort {
                wrong.push("sorts what it has read".to_owned());
            }
            if index.is_empty() || index.starts_with("queue_turns_") {
                continue;
            }
            if is_own && !text("Index Cond").contains("tenant_id") && !index.starts_with("tenants_") {
                wrong.push(format!("searches {index} without the tenant"));
            }
            // Each month has its part of the key.
            let parted = ["run_events", "usage", "audit_records"]
                .into_iter()
                .find(|whole| table.starts_with(&format!("{whole}_")));
            used.push(parted.map_or(index, |whole| format!("{whole}_pkey")));
        }
        if !wrong.is_empty() {
            found.push(format!("{call}: {}\n{plan:#}", wrong.join(", ")));
        }
    }
    used.sort_unstable();
    used.dedup();
    let serves = |meant: &&str, index: &String| meant.split(" or ").any(|one| one == index);
    let is_meant = used.iter().all(|index| indexes.iter().any(|meant| serves(meant, index)))
        && indexes.iter().all(|meant| used.iter().any(|index| serves(meant, index)));
    if !is_meant {
        let mut text = format!("{call}: uses {used:?} instead of {indexes:?}");
        for plan in plans {
            let _ = write!(text, "\n{plan:#}");
        }
        found.push(text);
    }
    found
}

/// A plan's nodes.
pub(super) fn flatten<'a>(node: &'a Value, into: &mut Vec<&'a Value>) {
    into.push(node);
    for child in node["Plans"].as_array().into_iter().flatten() {
        flatten(child, into);
    }
}

#[tokio::test]
async fn s06_every_query_of_the_api_and_the_queue_uses_the_index_meant_for_it() {
    let notices = Notices::default();
    let _subscribed = tracing::subscriber::set_default(notices.clone());
    let own = migrated().await;
    own.run(ROWS).await;
    let number = |n: u128| Uuid::from_u128(50_000 + n);
    let tenant = TenantId::from_uuid(Uuid::from_u128(50));
    let session = SessionId::from_uuid(number(107));
    let caller = Principal::verified(tenant, UserId::from_uuid(number(107)), session, Role::Member);
    // Of a plan made once for all no values are known: it is what a long-lived connection comes to have.
    for mode in ["force_custom_plan", "force_generic_plan"] {
        let mut watched = Watched::new(&own, &notices, caller, mode).await;
        members(&mut watched).await;
        agents(&mut watched).await;
        runs(&mut watched).await;
        money(&mut watched).await;
        signing_in(&mut watched).await;
        queue(&mut watched).await;
        schedules(&mut watched).await;
        secrets(&mut watched).await;
        tools(&mut watched).await;
        knowledge(&mut watched).await;
        webhooks(&mut watched).await;
        model_providers(&mut watched).await;
        memories(&mut watched).await;
        threads(&mut watched).await;
        idempotency(&mut watched).await;
        audit(&mut watched).await;
        assert!(watched.wrong.is_empty(), "{mode}:\n{}", watched.wrong.join("\n\n"));

        // It is seen when an index goes. The index comes back for the next round.
        own.run("DROP INDEX runs_by_requester").await;
        runs(&mut watched).await;
        assert!(watched.wrong.iter().any(|wrong| wrong.starts_with("runs.list of an owner")), "{mode}");
        own.run("CREATE INDEX runs_by_requester ON runs (tenant_id, requested_by, id)").await;
        watched.store.close().await;
    }
}

/// A plan may be made while there are hardly any runs, and kept until they are counted again.
#[tokio::test]
async fn a_queue_that_has_grown_is_not_read_from_end_to_end() {
    let notices = Notices::default();
    let _subscribed = tracing::subscriber::set_default(notices.clone());
    let own = migrated().await;
    own.run("ANALYZE").await;
    let (tenant, user) = (TenantId::from_uuid(Uuid::nil()), UserId::from_uuid(Uuid::nil()));
    let caller = Principal::verified(tenant, user, SessionId::from_uuid(Uuid::nil()), Role::Member);
    let mut watched = Watched::new(&own, &notices, caller, "force_generic_plan").await;
    let claim = async |store: &dyn PlatformStore| {
        store.claim(Room::for_anyone(10), Utc::now(), Duration::from_mins(1)).await.unwrap().len()
    };
    assert_eq!(claim(&watched.store).await, 0);
    let rows = ROWS.strip_suffix("ANALYZE").unwrap();
    // How these come in is nobody's question.
    own.run(&format!("SET auto_explain.log_min_duration = -1; {rows}")).await;
    watched.plans().await;
    watched.across("claim", &CLAIMING, async |store| assert_eq!(claim(store).await, 10)).await;
    assert!(watched.wrong.is_empty(), "{}", watched.wrong.join("\n\n"));
    watched.store.close().await;
}

/// The indexes that a claim uses.
const CLAIMING: [&str; 3] = ["runs_due", "runs_leased", "tenants_pkey"];

fn page() -> Limit {
    Limit::new(20).unwrap()
}

async fn members(watched: &mut Watched) {
    let user = watched.caller.user_id();
    watched
        .own("tenant", &["tenants_pkey"], async |tx| {
            let tenant = tx.tenant().await.unwrap().unwrap();
            tx.update_tenant(&tenant.rename("New".parse().unwrap(), Utc::now()).unwrap()).await.unwrap();
        })
        .await;
    watched
        .own("users.find and update", &["users_pkey"], async |tx| {
            let (user, membership) = tx.users().find(user).await.unwrap().unwrap();
            let renamed = user.rename("New".parse().unwrap(), Utc::now());
            tx.users().update(&renamed, &membership, 1).await.unwrap();
        })
        .await;
    watched
        .own("users.find_by_email", &["users_by_email"], async |tx| {
            let email = "u9@example.org".parse().unwrap();
            assert!(tx.users().find_by_email(&email).await.unwrap().is_some());
        })
        .await;
    watched
        .own("users.list", &["users_pkey"], async |tx| {
            assert_eq!(tx.users().list(None, page()).await.unwrap().items.len(), 20);
        })
        .await;
    watched
        .own("users.list after one", &["users_pkey"], async |tx| {
            assert_eq!(tx.users().list(Some(user), page()).await.unwrap().items.len(), 20);
        })
        .await;
    watched
        .own("users.count", &["users_pkey"], async |tx| assert_eq!(tx.users().count().await.unwrap(), 300))
        .await;
    watched
        .own("users.owners", &["users_pkey"], async |tx| assert_eq!(tx.users().owners().await.unwrap(), 0))
        .await;
    // With a user go their sessions, and the tokens of these.
    let indexes = ["refresh_digests_by_session", "sessions_by_user", "users_pkey"];
    watched.own("users.remove", &indexes, async |tx| assert!(tx.users().remove(user).await.unwrap())).await;
}

async fn agents(watched: &mut Watched) {
    let agent = AgentId::from_uuid(watched.caller.user_id().as_uuid());
    let both = ["agent_versions_pkey", "agents_pkey"];
    watched
        .own("agents.find and update", &both, async |tx| {
            let agent = tx.agents().find(agent).await.unwrap().unwrap();
            tx.agents().update(&agent.archive(Utc::now()).unwrap()).await.unwrap();
        })
        .await;
    watched
        .own("agents.find_by_name", &["agent_versions_pkey", "agents_by_name"], async |tx| {
            assert!(tx.agents().find_by_name(&"a9".parse().unwrap()).await.unwrap().is_some());
        })
        .await;
    watched
        .own("agents.list", &both, async |tx| {
            assert_eq!(tx.agents().list(None, page()).await.unwrap().items.len(), 20);
        })
        .await;
    watched
        .own("agents.list after one", &both, async |tx| {
            assert_eq!(tx.agents().list(Some(agent), page()).await.unwrap().items.len(), 20);
        })
        .await;
    watched
        .own("agents.count_in_use", &["agents_pkey"], async |tx| {
            assert_eq!(tx.agents().count_in_use().await.unwrap(), 300);
        })
        .await;
    watched
        .own("agents.version", &["agent_versions_pkey"], async |tx| {
            assert!(tx.agents().version(agent, 1).await.unwrap().is_some());
        })
        .await;
    watched
        .own("agents.runnable", &both, async |tx| {
            assert_eq!(tx.agents().runnable(50).await.unwrap().len(), 50);
        })
        .await;
}

async fn runs(watched: &mut Watched) {
    let (tenant, user) = (watched.caller.tenant_id(), watched.caller.user_id());
    let run = RunId::from_uuid(user.as_uuid());
    watched
        .own("runs.find", &["runs_pkey or runs_by_id"], async |tx| {
            assert!(tx.runs().find(run).await.unwrap().is_some());
        })
        .await;
    watched
        .own("runs.list", &["runs_pkey"], async |tx| {
            assert_eq!(tx.runs().list(None, None, page()).await.unwrap().items.len(), 20);
        })
        .await;
    watched
        .own("runs.list before one", &["runs_pkey"], async |tx| {
            assert_eq!(tx.runs().list(None, Some(run), page()).await.unwrap().items.len(), 20);
        })
        .await;
    watched
        .own("runs.list of an owner", &["runs_by_requester"], async |tx| {
            assert_eq!(tx.runs().list(Some(user), None, page()).await.unwrap().items.len(), 20);
        })
        .await;
    watched
        .own("runs.list of an owner before one", &["runs_by_requester"], async |tx| {
            let newest = RunId::from_uuid(Uuid::from_u128(50_000 + 300));
            assert_eq!(tx.runs().list(Some(user), Some(newest), page()).await.unwrap().items.len(), 20);
        })
        .await;
    watched
        .own("runs.events", &["run_events_pkey"], async |tx| {
            assert_eq!(tx.runs().events(run, 1, 100).await.unwrap().len(), 2);
        })
        .await;
    // Its version is that of the row, as if nothing had changed: the statement runs, and writes nothing.
    watched
        .own("runs.update", &["runs_pkey or runs_by_id"], async |tx| {
            let run = tx.runs().find(run).await.unwrap().unwrap();
            assert!(tx.runs().update(&run, &[]).await.is_err());
        })
        .await;
    watched
        .own("runs.record", &["runs_pkey or runs_by_id", "webhooks_pkey"], async |tx| {
            let found = tx.runs().find(run).await.unwrap().unwrap();
            let lease = Lease::granted(tenant, run, FencingToken(1), Utc::now(), 0);
            let event = NewEvent { at: Utc::now(), body: EventBody::Queued };
            assert!(tx.runs().record(&lease, &found, &[event]).await.is_err(), "it has ended");
        })
        .await;
    watched
        .own("approvals", &["approvals_open", "approvals_pkey"], async |tx| {
            let id = ApprovalId::from_uuid(user.as_uuid());
            let found = tx.approvals().find(id).await.unwrap().unwrap();
            assert_eq!(tx.approvals().list(false, None, page()).await.unwrap().items.len(), 20);
            assert_eq!(tx.approvals().list(true, None, page()).await.unwrap().items.len(), 20);
            assert!(tx.approvals().answer(&found).await.is_err(), "it has been answered");
        })
        .await;
    // The key of the feedback refers to the run.
    watched
        .own("approval_rules", &["approval_rules_pkey"], async |tx| {
            let rules = tx.approval_rules().read().await.unwrap();
            tx.approval_rules().replace(&rules.replaced(Vec::new()).unwrap()).await.unwrap();
        })
        .await;
    watched
        .own("runs.tree", &["runs_by_root", "runs_pkey or runs_by_id"], async |tx| {
            assert!(!tx.runs().tree(run, 20).await.unwrap().is_empty());
            assert!(tx.runs().ended_among(&[run]).await.unwrap().len() <= 1);
        })
        .await;
    watched
        .own("selection", &["selectors_pkey"], async |tx| {
            let selector = tx.selection().read().await.unwrap();
            tx.selection().replace(&selector.forget(Utc::now())).await.unwrap();
        })
        .await;
    let since = Some(DateTime::UNIX_EPOCH);
    watched
        .own("selection.outcomes", &["runs_pkey"], async |tx| {
            assert!(tx.selection().outcomes(None, 50).await.unwrap().is_empty());
            assert!(tx.selection().outcomes(since, 50).await.unwrap().is_empty());
            assert!(tx.selection().decisions(None, 50).await.unwrap().is_empty());
            assert!(tx.selection().decisions(since, 50).await.unwrap().is_empty());
        })
        .await;
    watched
        .own("selection.praised", &["run_feedback_by_verdict", "runs_pkey or runs_by_id"], async |tx| {
            assert_eq!(tx.selection().praised(None, 50, 9).await.unwrap().len(), 50);
            assert_eq!(tx.selection().praised(since, 50, 9).await.unwrap().len(), 50);
        })
        .await;
    watched
        .own("runs.feedback", &["run_feedback_pkey", "runs_pkey or runs_by_id"], async |tx| {
            assert!(tx.runs().feedback(run, user).await.unwrap().is_some());
            let other = UserId::from_uuid(Uuid::from_u128(50_001));
            let word = Feedback::new(other, Verdict::Good, String::new(), Utc::now()).unwrap();
            tx.runs().put_feedback(run, &word).await.unwrap();
        })
        .await;
}

async fn money(watched: &mut Watched) {
    let (user, day) = (watched.caller.user_id(), |n| NaiveDate::from_ymd_opt(2026, 1, n).unwrap());
    let agent = AgentId::from_uuid(user.as_uuid());
    let id = BudgetId::from_uuid(user.as_uuid());
    let window = BudgetWindow { budget: id, start: day(1).and_time(NaiveTime::MIN).and_utc() };
    watched
        .own("prices.list", &["prices_pkey"], async |tx| {
            assert_eq!(tx.prices().list().await.unwrap().len(), 300);
        })
        .await;
    watched
        .own("budgets.find, list and update", &["budgets_pkey"], async |tx| {
            let budget = tx.budgets().find(id).await.unwrap().unwrap();
            let caps = budget.caps;
            tx.budgets().update(&budget.capped(caps)).await.unwrap();
            assert_eq!(tx.budgets().list(Some(id), page()).await.unwrap().items.len(), 20);
            assert_eq!(tx.budgets().count().await.unwrap(), 300);
        })
        .await;
    watched
        .own("budgets.applying", &["budgets_pkey"], async |tx| {
            assert_eq!(tx.budgets().applying(user, Some(agent)).await.unwrap().len(), 30);
        })
        .await;
    let both = ["budget_windows_pkey", "budgets_pkey"];
    watched
        .own("budgets.reserve and settle", &both, async |tx| {
            let budget = tx.budgets().find(id).await.unwrap().unwrap();
            let amount = Usage::of_tokens(1, 1).at_cost(1);
            tx.budgets().hold(window).await.unwrap();
            assert!(tx.budgets().reserve(&budget, window, amount).await.unwrap());
            tx.budgets().settle(window, amount, amount).await.unwrap();
            tx.budgets().give_back(window, amount).await.unwrap();
            tx.budgets().hold(window).await.unwrap();
            assert!(tx.budgets().reserve(&budget, window, amount).await.unwrap());
            tx.budgets().settle(window, amount, amount).await.unwrap();
            assert_eq!(tx.budgets().spending(window).await.unwrap().spent.micros, 1);
        })
        .await;
    watched
        .own("usage.sums", &["usage_pkey"], async |tx| {
            let by = Grouping { day: true, ..Grouping::default() };
            assert_eq!(tx.usage().sums(day(2), day(9), by, 99).await.unwrap().len(), 8);
        })
        .await;
}

async fn signing_in(watched: &mut Watched) {
    let now = Utc::now();
    let caller = watched.caller;
    // The session's first token, or one that nobody had before.
    let digest = |is_first: bool| {
        let mut digest = [0; 32];
        digest[16..].copy_from_slice(caller.session_id().as_uuid().as_bytes());
        if !is_first {
            digest[..16].copy_from_slice(Uuid::new_v4().as_bytes());
        }
        digest
    };
    watched
        .across("credentials", &["tenants_slug_key", "users_by_email"], async |store| {
            let (slug, email) = ("tenant-9".parse().unwrap(), "u9@example.org".parse().unwrap());
            assert!(store.credentials(&slug, &email).await.unwrap().is_some());
        })
        .await;
    watched
        .across("session", &["sessions_pkey or sessions_by_id"], async |store| {
            assert!(store.session(&caller.scope(), caller.session_id()).await.unwrap().is_some());
        })
        .await;
    let standing = ["tenants_pkey", "users_pkey"];
    watched
        .across("standing", &standing, async |store| {
            assert!(store.standing(&caller.scope(), caller.user_id()).await.unwrap().is_some());
        })
        .await;
    let rotating =
        ["refresh_digests_by_digest", "sessions_pkey or sessions_by_id", "tenants_pkey", "users_pkey"];
    watched
        .across("rotate", &rotating, async |store| {
            // In the second round it is a retry with the token before.
            let rotated = store.rotate(&digest(true), &digest(false), now).await.unwrap();
            assert_eq!(rotated, Rotation::Rotated(caller));
        })
        .await;
    watched
        .across("end_session", &["sessions_by_id", "audit_heads_pkey", "tenants_pkey"], async |store| {
            // Another one each time: one that has ended is not written down again.
            static NEXT: AtomicU32 = AtomicU32::new(50_200);
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            let other = SessionId::from_uuid(Uuid::from_u128(next.into()));
            store.end_session(other, now).await.unwrap();
        })
        .await;
    let purging =
        ["refresh_digests_by_session", "sessions_by_expiry", "sessions_by_id or sessions_by_expiry"];
    watched
        .across("purge_sessions", &purging, async |store| {
            assert_eq!(store.purge_sessions(now, 10).await.unwrap(), 10);
        })
        .await;
}

async fn queue(watched: &mut Watched) {
    let now = Utc::now();
    let minute = Duration::from_mins(1);
    let mut leases = Vec::new();
    watched
        .across("claim", &CLAIMING, async |store| {
            leases = store.claim(Room::for_anyone(10), now, minute).await.unwrap();
            assert_eq!(leases.len(), 10);
        })
        .await;
    let purging =
        ["approvals_by_run", "runs_by_id", "runs_pkey or runs_by_id", "run_feedback_pkey", "run_events_pkey"];
    watched
        .across("purge_runs", &purging, async |store| {
            assert_eq!(store.purge_runs(now, 10).await.unwrap(), 10);
        })
        .await;
    watched
        .across("extend and release", &["runs_pkey or runs_by_id"], async |store| {
            store.extend(&leases[0], now + TimeDelta::minutes(2)).await.unwrap();
            for lease in &leases {
                store.release(lease).await.unwrap();
            }
        })
        .await;
}

async fn schedules(watched: &mut Watched) {
    let id = ScheduleId::from_uuid(watched.caller.user_id().as_uuid());
    watched
        .own("schedules", &["schedules_pkey"], async |tx| {
            let schedule = tx.schedules().find(id).await.unwrap().unwrap();
            tx.schedules().update(&schedule.pause(PauseReason::Asked, Utc::now())).await.unwrap();
            assert_eq!(tx.schedules().list(None, page()).await.unwrap().items.len(), 20);
            assert_eq!(tx.schedules().list(Some(id), page()).await.unwrap().items.len(), 20);
            assert_eq!(tx.schedules().count().await.unwrap(), 300);
            assert!(tx.schedules().remove(id).await.unwrap());
        })
        .await;
    let claiming = ["schedules_due", "schedules_pkey or schedules_due", "tenants_pkey"];
    watched
        .across("claim_schedules", &claiming, async |store| {
            let due = store.claim_schedules(10, Utc::now(), Duration::from_mins(1)).await.unwrap();
            assert_eq!(due.len(), 10);
        })
        .await;
}

async fn memories(watched: &mut Watched) {
    let user = watched.caller.user_id();
    let id = MemoryId::from_uuid(user.as_uuid());
    let whose = Whose { agent: AgentId::from_uuid(Uuid::from_u128(50_003)), user: Some(user) };
    watched
        .own("memories", &["memories_pkey", "agents_pkey", "tenants_pkey"], async |tx| {
            let memory = tx.memories().find(id).await.unwrap().unwrap();
            assert!(tx.memories().update(&memory).await.unwrap());
            tx.memories().touch(&[id], Utc::now()).await.unwrap();
            assert!(tx.memories().remove(id).await.unwrap());
            tx.memories().add(&memory).await.unwrap();
        })
        .await;
    let of = ["memories_of"];
    watched
        .own("memories of somebody", &of, async |tx| {
            assert_eq!(tx.memories().all(whose).await.unwrap().len(), 10);
            assert_eq!(tx.memories().worth(whose).await.unwrap().len(), 10);
            assert_eq!(tx.memories().list(whose, None, None, page()).await.unwrap().items.len(), 10);
            let facts = tx.memories().list(whose, Some(MemoryKind::Fact), Some(id), page()).await.unwrap();
            assert!(facts.items.len() < 10);
        })
        .await;
    watched
        .own("memories that go", &["memories_of"], async |tx| {
            assert_eq!(tx.memories().erase(whose).await.unwrap(), 10);
            assert_eq!(tx.memories().erase_user(user).await.unwrap(), 20);
        })
        .await;
}

async fn threads(watched: &mut Watched) {
    let user = watched.caller.user_id();
    let id = ThreadId::from_uuid(user.as_uuid());
    watched
        .own("threads", &["threads_pkey or threads_by_owner", "runs_by_thread", "tenants_pkey"], async |tx| {
            let thread = tx.threads().find(id).await.unwrap().unwrap();
            let (longer, _) = thread.continued(RunId::from_uuid(id.as_uuid()), Utc::now()).unwrap();
            tx.threads().update(&longer).await.unwrap();
            let summary = Summary { text: "s".into(), through: 1 };
            assert!(tx.threads().summarise(id, &summary).await.unwrap());
            assert_eq!(tx.threads().list(None, None, page()).await.unwrap().items.len(), 20);
            assert_eq!(tx.threads().count().await.unwrap(), 300);
            assert_eq!(tx.threads().turns(id, 0, 9).await.unwrap(), []);
            assert!(tx.threads().remove(id).await.unwrap());
        })
        .await;
    watched
        .own("threads of somebody", &["threads_by_owner"], async |tx| {
            assert_eq!(tx.threads().list(Some(user), None, page()).await.unwrap().items.len(), 20);
            assert_eq!(tx.threads().list(Some(user), Some(id), page()).await.unwrap().items.len(), 10);
            assert_eq!(tx.threads().remove_of(user).await.unwrap(), 30);
        })
        .await;
}

async fn model_providers(watched: &mut Watched) {
    let id = ModelProviderId::from_uuid(watched.caller.user_id().as_uuid());
    let keys = ["tenants_pkey", "model_providers_pkey", "model_providers_by_name", "secrets_pkey"];
    watched
        .own("model_providers", &keys, async |tx| {
            let providers = tx.model_providers();
            let provider = providers.find(id).await.unwrap().unwrap();
            let changed = Provider { version: 2, ..provider.clone() };
            providers.update(&changed).await.unwrap();
            assert_eq!(providers.list(None, page()).await.unwrap().items.len(), 20);
            assert_eq!(providers.list(Some(id), page()).await.unwrap().items.len(), 20);
            assert_eq!(providers.catalogue().await.unwrap().len(), 300);
            assert_eq!(providers.count().await.unwrap(), 300);
            assert!(providers.remove(id).await.unwrap());
            providers.add(&provider).await.unwrap();
        })
        .await;
    watched
        .own("masking_rules", &["masking_rules_pkey"], async |tx| {
            let rules = tx.model_providers().masking().await.unwrap();
            tx.model_providers().replace_masking(&rules.replaced(Classes::ALL)).await.unwrap();
        })
        .await;
}

async fn secrets(watched: &mut Watched) {
    let tenant = watched.caller.tenant_id();
    let id = DataKeyId::from_uuid(watched.caller.user_id().as_uuid());
    watched
        .own("secrets", &["data_keys_pkey", "secrets_pkey"], async |tx| {
            let name = "s9".parse().unwrap();
            let (secret, value) = tx.secrets().value(&name).await.unwrap().unwrap();
            tx.secrets().update(&secret.changed(Utc::now()), &value).await.unwrap();
            assert_eq!(tx.secrets().list(None, page()).await.unwrap().items.len(), 20);
            assert_eq!(tx.secrets().list(Some("s1".parse().unwrap()), page()).await.unwrap().items.len(), 20);
            assert_eq!(tx.secrets().count().await.unwrap(), 300);
            assert!(tx.secrets().data_key(id).await.unwrap().is_some());
            assert!(tx.secrets().newest_data_key().await.unwrap().is_some());
            assert!(tx.secrets().remove(&name).await.unwrap());
        })
        .await;
    let mut keys = Vec::new();
    watched
        .across("data_keys", &["data_keys_pkey"], async |store| {
            keys = store.data_keys(Some((tenant, id)), 10).await.unwrap();
            assert_eq!(keys.len(), 10);
        })
        .await;
    watched
        .across("rewrap", &["audit_heads_pkey", "data_keys_pkey", "tenants_pkey"], async |store| {
            assert!(store.rewrap(&keys[0], &keys[0].key, Utc::now()).await.unwrap());
        })
        .await;
}

async fn knowledge(watched: &mut Watched) {
    let name = || "c9".parse::<CollectionName>().unwrap();
    // The 300 documents of a tenant are in 30 collections: number 8 is in the ninth.
    let id = DocumentId::from_uuid(Uuid::from_u128(50_008));
    watched
        .own("collections", &["collections_pkey"], async |tx| {
            assert!(tx.knowledge().collection(&name()).await.unwrap().is_some());
            assert_eq!(tx.knowledge().collections().await.unwrap().len(), 30);
        })
        .await;
    watched
        .own("documents", &["documents_pkey"], async |tx| {
            assert!(tx.knowledge().document(&name(), id).await.unwrap().is_some());
            assert_eq!(tx.knowledge().documents(&name(), None, page()).await.unwrap().items.len(), 10);
            assert_eq!(tx.knowledge().documents(&name(), Some(id), page()).await.unwrap().items.len(), 9);
        })
        .await;
    let places = |document| (0..3).map(move |ordinal| Place { collection: name(), document, ordinal });
    let places: Vec<_> = places(id).collect();
    watched
        .own("documents_of", &["documents_pkey or documents_by_content"], async |tx| {
            assert_eq!(tx.knowledge().documents_of(&places).await.unwrap().len(), 1);
        })
        .await;
    watched
        .own("chunks", &["document_chunks_pkey"], async |tx| {
            assert_eq!(tx.knowledge().chunks(&name(), id).await.unwrap().len(), 3);
            assert_eq!(tx.knowledge().found(&places).await.unwrap().len(), 3);
        })
        .await;
    let compared = ["document_chunks_pkey or document_chunks_not_compared"];
    watched
        .own("nearest", &compared, async |tx| {
            assert_eq!(tx.knowledge().nearest(&[name()], "m", &[1.0], 99).await.unwrap().len(), 30);
        })
        .await;
    watched
        .own("postings", &["document_words_pkey"], async |tx| {
            let words = ["w1".to_owned(), "w4".to_owned(), "none".to_owned()];
            let found = tx.knowledge().postings(&[name(), "c1".parse().unwrap()], &words).await.unwrap();
            assert_eq!(found.len(), 40);
        })
        .await;
    let indexes =
        ["collections_pkey", "document_chunks_pkey", "document_words_by_document", "documents_pkey"];
    watched
        .own("documents.remove", &indexes, async |tx| {
            let document = tx.knowledge().document(&name(), id).await.unwrap().unwrap();
            assert!(tx.knowledge().remove_document(&document).await.unwrap());
        })
        .await;
}

async fn tools(watched: &mut Watched) {
    let name = || "t9".parse::<ToolName>().unwrap();
    watched
        .own("tools", &["tools_pkey"], async |tx| {
            let tool = tx.tools().find(&name()).await.unwrap().unwrap();
            let source = tool.source.clone();
            tx.tools().update(&tool.changed(source, Utc::now())).await.unwrap();
            let names = [name(), "t200".parse().unwrap()];
            assert_eq!(tx.tools().named(&names).await.unwrap().len(), 2);
            assert!(tx.tools().remove(&name()).await.unwrap());
        })
        .await;
    watched
        .own("tools.count", &["tools_pkey or tools_by_kind"], async |tx| {
            assert_eq!(tx.tools().count().await.unwrap(), 300);
        })
        .await;
    watched
        .own("tools.list", &["tools_by_kind or tools_pkey"], async |tx| {
            assert_eq!(tx.tools().list(SourceKind::Http, None, page()).await.unwrap().items.len(), 20);
            let after = Some("t1".parse().unwrap());
            assert_eq!(tx.tools().list(SourceKind::Mcp, after, page()).await.unwrap().items.len(), 20);
        })
        .await;
    watched
        .own("egress_rules", &["egress_rules_pkey"], async |tx| {
            let rules = tx.tools().egress().await.unwrap();
            tx.tools().replace_egress(&rules.replaced(None).unwrap()).await.unwrap();
        })
        .await;
}

async fn webhooks(watched: &mut Watched) {
    let id = WebhookId::from_uuid(watched.caller.user_id().as_uuid());
    let message = MessageId::from_uuid(watched.caller.user_id().as_uuid());
    watched
        .own("webhooks", &["tenants_pkey", "webhooks_pkey"], async |tx| {
            let endpoint = tx.webhooks().find(id).await.unwrap().unwrap();
            tx.webhooks().update(&endpoint.gone(Utc::now())).await.unwrap();
            let secrets = tx.webhooks().secrets(id).await.unwrap().unwrap();
            tx.webhooks().put_secrets(id, &secrets).await.unwrap();
            assert_eq!(tx.webhooks().list(None, page()).await.unwrap().items.len(), 20);
            assert_eq!(tx.webhooks().list(Some(id), page()).await.unwrap().items.len(), 20);
            assert_eq!(tx.webhooks().count().await.unwrap(), 300);
        })
        .await;
    let both = ["webhook_deliveries_pkey", "webhooks_pkey"];
    watched.own("webhooks.remove", &both, async |tx| assert!(tx.webhooks().remove(id).await.unwrap())).await;
    watched
        .own("deliveries", &["webhook_deliveries_pkey"], async |tx| {
            let delivery = tx.webhooks().delivery(id, message).await.unwrap().unwrap();
            tx.webhooks().replay(&delivery.replay(Utc::now()).unwrap()).await.unwrap();
            assert_eq!(tx.webhooks().deliveries(id, None, page()).await.unwrap().items.len(), 20);
            assert_eq!(tx.webhooks().deliveries(id, Some(message), page()).await.unwrap().items.len(), 20);
        })
        .await;
    let claiming =
        ["tenants_pkey", "webhook_deliveries_due", "webhook_deliveries_pkey or webhook_deliveries_due"];
    watched
        .across("claim_deliveries", &claiming, async |store| {
            let due = store.claim_deliveries(10, Utc::now(), Duration::from_mins(1)).await.unwrap();
            assert_eq!(due.len(), 10);
        })
        .await;
    let purging = ["webhook_deliveries_ended", "webhook_deliveries_pkey or webhook_deliveries_ended"];
    watched
        .across("purge_deliveries", &purging, async |store| {
            assert_eq!(store.purge_deliveries(Utc::now() - TimeDelta::days(30), 10).await.unwrap(), 10);
        })
        .await;
}

async fn idempotency(watched: &mut Watched) {
    let user = watched.caller.user_id();
    watched
        .own("idempotency", &["idempotency_keys_pkey", "tenants_pkey"], async |tx| {
            let (key, now) = ("k".parse().unwrap(), Utc::now());
            assert_eq!(tx.idempotency().claim(user, &key, now, now).await.unwrap(), None);
            tx.idempotency().answer(user, &key, b"done").await.unwrap();
        })
        .await;
    let purging = ["idempotency_keys_expired", "idempotency_keys_pkey or idempotency_keys_expired"];
    watched
        .across("purge_idempotency_keys", &purging, async |store| {
            assert_eq!(store.purge_idempotency_keys(Utc::now(), 10).await.unwrap(), 10);
        })
        .await;
}

async fn audit(watched: &mut Watched) {
    let caller = watched.caller;
    let month = Utc::now().date_naive().with_day(1).unwrap().and_time(NaiveTime::MIN).and_utc();
    let place = AuditPlace { at: month + TimeDelta::hours(9 * 96), seq: 96 };
    let all = AuditFilter::default;
    watched
        .own("audit.append", &["audit_heads_pkey", "tenants_pkey"], async |tx| {
            let entry = Entry::by(&caller, AuditAction::UserAdded, caller.user_id(), Utc::now());
            tx.audit().append(entry).await.unwrap();
        })
        .await;
    watched
        .own("audit.head", &["audit_heads_pkey"], async |tx| {
            assert!(tx.audit().head().await.unwrap().unwrap().seq >= 300);
        })
        .await;
    for before in [None, Some(place)] {
        watched
            .own("audit.list", &["audit_records_pkey"], async |tx| {
                assert_eq!(tx.audit().list(&all(), before, page()).await.unwrap().items.len(), 20);
            })
            .await;
    }
    watched
        .own("audit.records after one", &["audit_records_pkey"], async |tx| {
            assert!(tx.audit().records(&all(), Some(place), 500).await.unwrap().len() >= 204);
        })
        .await;
    for filter in [
        AuditFilter { from: Some(place.at), until: Some(place.at + TimeDelta::hours(1)), ..all() },
        AuditFilter { actor: Some("user_00000000000000000000000009".to_owned()), ..all() },
        AuditFilter { resource: Some("user_9".to_owned()), ..all() },
    ] {
        watched
            .own("audit.list of something", &["audit_records_pkey"], async |tx| {
                assert_eq!(tx.audit().list(&filter, None, page()).await.unwrap().items.len(), 1);
            })
            .await;
    }
}
