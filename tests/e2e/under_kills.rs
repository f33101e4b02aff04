//! Three servers on one PostgreSQL, one of which is killed (SIGKILL) each second and started again: no run is lost, nothing is
//! journalled twice, and no budget is passed.
//!
//! The short form runs with the other tests. `RUNS_UNDER_KILLS=2000 cargo test -p powerhouse --test e2e under_kills` is the long
//! one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use powerhouse_tests::own_database::OwnDatabase;
use powerhouse_tests::scale;
use powerhouse_tests::stub_model::{Answer, Received, StubModel};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::task::{JoinHandle, JoinSet};

use crate::postgres::{migrated, settings, urls};
use crate::server::{Caller, Server};

const SERVERS: usize = 3;
/// Runs at a time in each server.
const AT_A_TIME: &str = "32";
/// Model calls and tool calls of a run.
const STEPS: usize = 5;
/// What a call of the model uses.
const INPUT: u64 = 500;
const OUTPUT: u64 = 50;
const PATIENCE: Duration = Duration::from_mins(10);

/// As many runs as the environment says, or as many as a short test has time for.
fn runs(short: usize) -> usize {
    scale("RUNS_UNDER_KILLS").unwrap_or(short)
}

/// Calls a tool twice, and answers then. It takes its time, so that there is something to kill, and needs many tokens.
fn speak(call: &Received) -> Answer {
    let messages = call.body["messages"].as_array().into_iter().flatten();
    let said = match messages.filter(|message| message["role"] == "tool").count() {
        0 | 1 => Answer::call("current_time", &json!({}), INPUT, OUTPUT),
        _ => Answer::text(["It is late."], INPUT, OUTPUT),
    };
    Answer::stream().pause(Duration::from_millis(300)).then(said)
}

/// Servers, one of which is killed each second until it is told to stop; then how many were.
struct Killer {
    stop: Arc<AtomicBool>,
    killing: JoinHandle<(Vec<Server>, usize)>,
}

impl Killer {
    fn of(mut servers: Vec<Server>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let killing = tokio::task::spawn_blocking(move || {
            let mut kills = 0;
            while !told.load(Ordering::Relaxed) {
                let server = &mut servers[kills % SERVERS];
                server.kill();
                server.restart();
                kills += 1;
                std::thread::sleep(Duration::from_secs(1));
            }
            (servers, kills)
        });
        Self { stop, killing }
    }

    async fn stop(self) -> (Vec<Server>, usize) {
        self.stop.store(true, Ordering::Relaxed);
        self.killing.await.unwrap()
    }
}

fn servers(own: &OwnDatabase, stub: &StubModel) -> Vec<Server> {
    let urls = urls(own);
    let base_url = stub.base_url();
    let mut settings = settings(&urls, &base_url);
    settings.push(("POWERHOUSE__WORKER__CONCURRENCY", AT_A_TIME));
    settings.push(("POWERHOUSE__MODEL__NAME", "stub-1"));
    let first = Server::with(&settings);
    let others: Vec<_> = (1..SERVERS).map(|_| first.beside()).collect();
    std::iter::once(first).chain(others).collect()
}

async fn submit(ada: &Caller, runs: usize) {
    let definition = json!({"kind": "react", "description": "Looks at the clock", "tools": ["current_time"]});
    let body = json!({"task": "What time is it?", "agent": ada.publish("clock", &definition).await});
    let mut submitting = JoinSet::new();
    for _ in 0..8 {
        let (ada, body) = (ada.clone(), body.clone());
        submitting.spawn(async move {
            for _ in 0..runs.div_ceil(8) {
                // A tenant may only ask so often.
                while ada.request(Method::POST, "/v1/runs").json(&body).send().await.unwrap().status()
                    == StatusCode::TOO_MANY_REQUESTS
                {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        });
    }
    submitting.join_all().await;
}

/// How many runs there are in each state.
async fn states(own: &OwnDatabase) -> Vec<String> {
    own.ask("SELECT status || ' ' || count(*) FROM runs GROUP BY status ORDER BY status").await
}

/// Waits until every run has ended, and looks at something now and then.
async fn ended(own: &OwnDatabase, mut look: impl AsyncFnMut()) {
    let patience = Instant::now() + PATIENCE;
    let open = "SELECT count(*)::text FROM runs WHERE status IN ('queued', 'running', 'waiting')";
    while own.ask(open).await != ["0"] {
        assert!(Instant::now() < patience, "{:?}", states(own).await);
        look().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_run_ends_and_each_step_is_journalled_once() {
    let runs = runs(160).next_multiple_of(8);
    let stub = StubModel::answering(speak).await.unwrap();
    let own = migrated().await;
    let servers = servers(&own, &stub);
    submit(&servers[0].tenant("acme").await, runs).await;
    let begun = Instant::now();
    let killer = Killer::of(servers);
    ended(&own, async || {}).await;
    let took = begun.elapsed();
    let (_, kills) = killer.stop().await;

    let why = own.ask("SELECT body::text FROM run_events WHERE body->>'type' = 'failed'").await;
    assert_eq!(
        states(&own).await,
        [format!("succeeded {runs}")],
        "every run, and well: {why:?}, {kills} kills"
    );
    let wrong = own
        .ask(
            "SELECT run_id || ': ' || string_agg(seq || ' ' || (body->>'type'), ', ' ORDER BY seq) FROM run_events
             GROUP BY run_id
             HAVING max(seq) <> count(*)
                 OR count(*) FILTER (WHERE body->>'type' = 'step_ended') <> 5
                 OR count(DISTINCT body->>'key') FILTER (WHERE body->>'type' = 'step_ended') <> 5
                 OR count(*) FILTER (WHERE body->>'type' = 'succeeded') <> 1",
        )
        .await;
    assert!(wrong.is_empty(), "without gaps, each step and each end once: {}", wrong.join("\n"));
    // What was on its way when a server was killed is asked again, and nothing else.
    let (calls, needed) = (stub.received().len(), runs * STEPS.div_ceil(2));
    let most: usize = kills * AT_A_TIME.parse::<usize>().unwrap();
    assert!((needed..=needed + most).contains(&calls), "{calls} calls, {needed} are needed, {kills} kills");
    println!(
        "{runs} runs of {STEPS} steps in {took:.1?}, {kills} kills, {} calls made again",
        calls - needed
    );
}

/// Three quarters of the runs are too many for the budget.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_spent_never_passes_a_budget() {
    let runs = runs(48).next_multiple_of(8);
    let stub = StubModel::answering(speak).await.unwrap();
    let own = migrated().await;
    let servers = servers(&own, &stub);
    let ada = servers[0].tenant("acme").await;
    let price = json!({"model": "stub-1", "effective_from": "2026-01-01T00:00:00Z", "input_micros": 1_000_000,
        "output_micros": 1_000_000, "max_output_tokens": 50});
    let put = ada.request(Method::PUT, "/v1/prices").json(&json!({"items": [price]})).send().await.unwrap();
    assert_eq!(put.status(), StatusCode::OK, "{}", put.text().await.unwrap());
    // A token costs a millionth of a dollar, and a run has three calls.
    let cap = runs as u64 / 4 * 3 * (INPUT + OUTPUT);
    for period in ["day", "total"] {
        ada.post("/v1/budgets", &json!({"scope": "tenant", "period": period, "cap_micros": cap})).await;
    }
    submit(&ada, runs).await;
    let killer = Killer::of(servers);
    let passed = "SELECT (spent_micros + reserved_micros)::text FROM budget_windows JOIN budgets
                  ON budgets.tenant_id = budget_windows.tenant_id AND budgets.id = budget_id
                  WHERE spent_micros + reserved_micros > cap_micros";
    let mut looks = 0;
    ended(&own, async || {
        assert!(own.ask(passed).await.is_empty(), "a budget is passed");
        looks += 1;
    })
    .await;
    let (_, kills) = killer.stop().await;
    assert!(own.ask(passed).await.is_empty(), "a budget is passed");
    let spent = own.ask("SELECT spent_micros || ' ' || reserved_micros FROM budget_windows").await;
    let used = own.ask("SELECT sum(cost_micros) || ' 0' FROM usage").await.remove(0);
    assert_eq!(spent, [used.clone(), used], "what was used was spent, and nothing is set aside any more");
    let spent: u64 = spent[0].split(' ').next().unwrap().parse().unwrap();
    assert!(spent > cap / 2 && spent <= cap, "{spent} of {cap}");
    let ends = states(&own).await;
    assert!(ends.iter().all(|end| end.starts_with("succeeded") || end.starts_with("failed")), "{ends:?}");
    let why = own.ask("SELECT DISTINCT body->>'code' FROM run_events WHERE body->>'type' = 'failed'").await;
    assert_eq!(why, ["limit_reached"], "it is what the budget could not pay");
    println!("{runs} runs, cap {cap}, spent {spent}, {ends:?}, {looks} looks, {kills} kills");
}
