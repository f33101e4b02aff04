//! A run of n steps takes space in proportion to n, and so does the reading that driving it takes: shown with 1,000 steps,
//! whose conversation grows with each of them.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "these are tests, also their helpers, and they measure"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::Utc;
use powerhouse_domain::access::Principal;
use powerhouse_domain::agents::{Agent, Definition};
use powerhouse_domain::idempotency::CallKey;
use powerhouse_domain::ids::{AgentId, RunId};
use powerhouse_domain::model::{ModelReply, StopReason, Usage};
use powerhouse_domain::runs::{Recording, Run, RunEvent, RunLimits, RunState, Task, explain, replay};
use powerhouse_domain::selection;
use powerhouse_domain::strategies::{AgentKind, Brief, Strategy};
use powerhouse_domain::tenants::Plan;
use powerhouse_domain::tools::{ToolCall, ToolOutput, ToolSpec};
use powerhouse_memory::{MemoryEventBus, SystemClock, UuidV7Source};
use powerhouse_models::{Scripted, ScriptedModel};
use powerhouse_ports::clock::IdSource as _;
use powerhouse_ports::tools::Tool;
use powerhouse_postgres::PoolSettings;
use powerhouse_sqlite::SqliteStore;
use powerhouse_tests::contract::sample::office;
use powerhouse_tests::contract::stores::Stores;
use powerhouse_tests::no_maker::NoMaker;
use powerhouse_tests::own_stores::{migrated, open};
use powerhouse_usecases::models::Models;
use powerhouse_usecases::runner::{Pulse, Settings, Worker, Workshop};
use powerhouse_usecases::tools::Resolver;
use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection, DbBackend, Statement};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Steps of the runs that are measured.
const STEPS: [u32; 3] = [250, 500, 1_000];
/// What a tool gives, in bytes.
const OUTPUT: usize = 100;
/// The most bytes of the journal that a step may take: its intent, its outcome, and what a database adds to two rows.
const BYTES_OF_A_STEP: u64 = 1_000;
const PATIENCE: Duration = Duration::from_mins(4);

/// A tool that gives as much each time.
struct Look;

#[async_trait]
impl Tool for Look {
    fn spec(&self) -> ToolSpec {
        ToolSpec { name: "look".into(), description: "Looks".into(), parameters: json!({"type": "object"}) }
    }

    fn is_safe_to_repeat(&self) -> bool {
        true
    }

    async fn call(&self, _: &CallKey, arguments: &Value) -> ToolOutput {
        ToolOutput::ok(format!("{:-<OUTPUT$}", arguments.to_string()))
    }
}

/// A turn in which the model says something, and calls the tool.
fn look(turn: u32) -> Scripted {
    let arguments = json!({ "turn": turn }).to_string();
    Scripted::reply(ModelReply {
        tool_calls: vec![ToolCall { id: format!("call-{turn}"), name: "look".into(), arguments }],
        stop: StopReason::ToolCalls,
        ..ModelReply::text("I have to look once more.", Usage::of_tokens(9, 9), "scripted")
    })
}

/// What a run of so many steps left behind.
#[derive(Debug)]
struct Measured {
    run: RunId,
    steps: u32,
    /// Events in its journal.
    events: u64,
    /// Bytes of the journal, as the database stores it; measured once all runs have ended.
    bytes: u64,
    /// Bytes of all that the model was sent.
    sent: u64,
    took: Duration,
}

/// A run that calls a tool and the model in turn, so many times, and what it takes.
async fn measure(stores: &Stores, steps: u32) -> Measured {
    let office = office(&*stores.platform, Plan::Enterprise).await;
    let strategy = Strategy::from_parameters(AgentKind::React, &json!({"max_turns": 512})).unwrap();
    let limits =
        RunLimits { steps: 2_000, tokens: u64::MAX, cost_micros: 0, wall_clock: Duration::from_hours(1) };
    let definition = Definition {
        description: "Looks".into(),
        strategy: strategy.clone(),
        instructions: String::new(),
        model: None,
        tools: vec!["look".into()],
        capabilities: Vec::new(),
        approvals: Vec::new(),
        examples: Vec::new(),
        limits,
        max_concurrent_runs: None,
        formation: None,
        agents: Vec::new(),
    };
    let (now, ids) = (Utc::now(), UuidV7Source);
    let agent = Agent::draft(AgentId::from_uuid(ids.next()), "worker".parse().unwrap(), definition, now);
    let agent = agent.unwrap().publish(now).unwrap();
    let (selection, task) = (selection::named(agent.id(), 1), Task::new("Look around").unwrap());
    let run = Run::accept(RunId::from_uuid(ids.next()), office.owner.id(), task, selection, limits, now);
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.unwrap();
    tx.agents().add(&agent).await.unwrap();
    tx.runs().add(&run).await.unwrap();
    tx.commit().await.unwrap();

    // A turn is two steps, and then there is the answer.
    let turns = (0..steps / 2).map(look).chain([Scripted::say("Seen.")]);
    let model = Arc::new(ScriptedModel::new(turns));
    let workshop = Workshop {
        store: Arc::clone(&stores.tenants),
        platform: Arc::clone(&stores.platform),
        models: Models::of(model.clone(), "scripted"),
        tools: Resolver {
            built_in: Arc::new(BTreeMap::from([("look".to_owned(), Arc::new(Look) as Arc<dyn Tool>)])),
            made: Arc::default(),
            maker: Arc::new(NoMaker),
        },
        bus: Arc::new(MemoryEventBus::default()),
        clock: Arc::new(SystemClock),
        ids: Arc::new(UuidV7Source),
        wake: Arc::new(Notify::new()),
        pulse: Pulse::new(Arc::new(SystemClock), Duration::from_mins(1)),
        settings: Settings { poll_every: Duration::from_millis(50), ..Settings::default() },
    };
    let began = Instant::now();
    let stop = CancellationToken::new();
    let worker = Worker { workshop: Arc::new(workshop) };
    let working = tokio::spawn(worker.run(stop.clone()));
    let run = timeout(PATIENCE, ended(stores, &office.principal, run.id())).await.expect("it ends");
    let took = began.elapsed();
    stop.cancel();
    working.await.unwrap();

    let RunState::Succeeded { answer, .. } = run.state() else { panic!("{:?}", run.state()) };
    assert_eq!(answer, "Seen.");
    let events = journal(stores, &office.principal, run.id()).await;
    let told = explain(&run, &events);
    assert_eq!(told.steps.len(), steps as usize + 1, "so many steps, and the answer");
    let brief = Brief::of(&run, &agent.runnable().unwrap().definition, vec![Look.spec()]);
    let replayed = replay(&Recording::of(strategy, brief, events.clone()));
    assert_eq!((replayed.difference, replayed.hash), (None, told.hash));
    let asked = model.asked();
    let sent = asked.iter().map(|(_, request)| serde_json::to_string(request).unwrap().len() as u64).sum();
    Measured { run: run.id(), steps, events: events.len() as u64, bytes: 0, sent, took }
}

async fn ended(stores: &Stores, principal: &Principal, id: RunId) -> Run {
    loop {
        sleep(Duration::from_millis(50)).await;
        let mut view = stores.tenants.read(&principal.scope()).await.unwrap();
        let run = view.runs().find(id).await.unwrap().unwrap();
        if run.state().name().is_final() {
            return run;
        }
    }
}

async fn journal(stores: &Stores, principal: &Principal, id: RunId) -> Vec<RunEvent> {
    let mut view = stores.tenants.read(&principal.scope()).await.unwrap();
    view.runs().events(id, 0, 100_000).await.unwrap()
}

/// Bytes for each step, and events, are the same in short runs and in long ones; what was sent is not.
fn check(measured: &[Measured]) {
    let first = &measured[0];
    for one in measured {
        let of_a_step = one.bytes / u64::from(one.steps);
        let sent = one.sent / u64::from(one.steps);
        eprintln!(
            "{:>5} steps: {:>5} events, {:>7} bytes of journal, {of_a_step} a step; {:>9} bytes were sent, {sent} a step; \
             {:?}",
            one.steps, one.events, one.bytes, one.sent, one.took
        );
        assert!(of_a_step <= BYTES_OF_A_STEP, "{one:?}");
        // Within 5 %: a long run's sequence numbers and keys have more digits.
        let (grown, expected) = (one.bytes * u64::from(first.steps), first.bytes * u64::from(one.steps));
        assert!(grown <= expected + expected / 20, "{one:?} against {first:?}");
        // The intent and the outcome of each step, and of every other one its text in pieces.
        assert!(one.events <= 3 * u64::from(one.steps) + 10, "{one:?}");
    }
    let last = measured.last().unwrap();
    let times = u64::from(last.steps / first.steps);
    assert!(last.sent > 3 * times * first.sent, "what the model is sent does grow faster than the steps");
    assert!(last.sent > 50 * last.bytes, "and it is not stored");
}

async fn number(db: &DatabaseConnection, backend: DbBackend, sql: &str) -> u64 {
    let row = db.query_one_raw(Statement::from_string(backend, sql)).await.unwrap().unwrap();
    u64::try_from(row.try_get_by_index::<i64>(0).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_run_takes_space_in_proportion() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("powerhouse.db");
    let store = Arc::new(SqliteStore::open(&file).await.unwrap());
    let stores = Stores { tenants: store.clone(), platform: store, open_at_once: 1 };
    let db = Database::connect(format!("sqlite://{}?mode=ro", file.display())).await.unwrap();
    let mut measured = Vec::new();
    for steps in STEPS {
        measured.push(measure(&stores, steps).await);
    }
    for one in &mut measured {
        let sql = format!(
            "SELECT sum(length(CAST(body AS BLOB)) + length(tenant_id) + length(run_id) + length(at) + 8) \
             FROM run_events WHERE hex(run_id) = upper('{}')",
            one.run.as_uuid().simple()
        );
        one.bytes = number(&db, DbBackend::Sqlite, &sql).await;
    }
    check(&measured);
}

/// On PostgreSQL the rows that are read are counted too: by the database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_run_on_postgresql_takes_space_and_reading_in_proportion() {
    let own = migrated().await;
    // A table as small as this one PostgreSQL may prefer to read from end to end.
    own.run("DO $do$ BEGIN EXECUTE format('ALTER DATABASE %I SET enable_seqscan = off', current_database()); END $do$")
        .await;
    let db = Database::connect(own.owner().as_str()).await.unwrap();
    let mut measured = Vec::new();
    for steps in STEPS {
        let before = read_and_written(&db).await;
        let store = Arc::new(open(&own, PoolSettings::default()).await);
        let stores = Stores { tenants: store.clone(), platform: store.clone(), open_at_once: 8 };
        let one = measure(&stores, steps).await;
        // The counts of a connection are there when it has ended.
        store.close().await;
        let read = timeout(PATIENCE, async {
            loop {
                let after = read_and_written(&db).await;
                let (read, written) = (after.0 - before.0, after.1 - before.1);
                // Different connections read and write, and what this test has read is counted at least.
                if written == one.events && read >= one.events {
                    return read;
                }
                sleep(Duration::from_millis(100)).await;
            }
        });
        let read = read.await.expect("the database has counted what was written");
        eprintln!("{steps:>5} steps: {read} rows of the journal were read");
        // Once by this test, whole. The worker reads when it begins, and then only what others have written.
        assert!(read <= one.events + 5, "{read} rows were read of {one:?}");
        measured.push(one);
    }
    for one in &mut measured {
        let sql = format!(
            "SELECT sum(pg_column_size(run_events.*))::bigint FROM run_events WHERE run_id = '{}'",
            one.run.as_uuid()
        );
        one.bytes = number(&db, DbBackend::Postgres, &sql).await;
    }
    check(&measured);
}

/// Rows of the journal that were read and written, ever.
async fn read_and_written(db: &DatabaseConnection) -> (u64, u64) {
    let of = |columns: &str| {
        format!(
            "SELECT coalesce(sum({columns}), 0)::bigint FROM pg_stat_all_tables \
             WHERE relname LIKE 'run_events%' AND schemaname = 'public'"
        )
    };
    let read = number(db, DbBackend::Postgres, &of("seq_tup_read + idx_tup_fetch")).await;
    (read, number(db, DbBackend::Postgres, &of("n_tup_ins")).await)
}
