//! A tenant that queues thousands of runs does not hold another one up.
//!
//! `QUEUED_RUNS=20000 cargo test --release --workspace --test e2e holds_no_other_up -- --nocapture` queues so many runs of
//! 200 users, has the other tenant submit one each second for a minute, first alone and then beside them, and prints how
//! soon its runs began.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use powerhouse_domain::ids::RunId;
use powerhouse_tests::own_database::OwnDatabase;
use powerhouse_tests::scale;
use powerhouse_tests::stub_model::{Answer, StubModel};
use serde_json::{Value, json};
use tokio::time::{sleep, sleep_until};

use crate::postgres::{migrated, settings, urls};
use crate::server::{Caller, Server};

const SERVERS: usize = 2;
const PATIENCE: Duration = Duration::from_mins(1);
const FAR: &str = "2027-11-01T00:00:00Z";

/// How much there is of everything.
struct Scale {
    runs: usize,
    users: usize,
    /// Runs at the same time in one server.
    concurrency: usize,
    /// How long the model takes, in the mean: from half to one and a half of it, so that runs do not end all at once.
    takes: Duration,
    /// Runs of the small tenant, and how often it submits one.
    own: u32,
    every: Duration,
}

impl Scale {
    fn chosen() -> Self {
        let (seconds, millis) = (Duration::from_secs, Duration::from_millis);
        match scale("QUEUED_RUNS") {
            None => {
                Self { runs: 400, users: 10, concurrency: 4, takes: millis(100), own: 8, every: millis(200) }
            }
            Some(runs) => {
                Self { runs, users: 200, concurrency: 64, takes: millis(500), own: 60, every: seconds(1) }
            }
        }
    }
}

/// Queues runs of a tenant, in equal parts of its users, who come with them. Each is the copy of one that was accepted and
/// put off, without the delay.
async fn queue(own: &OwnDatabase, caller: &Caller, agent: &str, scale: &Scale) {
    let body = json!({"task": "Work.", "agent": agent, "not_before": FAR});
    let accepted = caller.post("/v1/runs", &body).await["id"].as_str().unwrap().to_owned();
    let id = accepted.parse::<RunId>().unwrap().as_uuid();
    let Scale { runs, users, .. } = scale;
    own.run(&format!(
        "INSERT INTO users
         SELECT (jsonb_populate_record(users, jsonb_build_object(
                    'id', gen_random_uuid(), 'email', 'user' || number || '@example.org'))).*
         FROM users, generate_series(1, {users}) AS number
         WHERE tenant_id = (SELECT tenant_id FROM runs WHERE id = '{id}');

         INSERT INTO runs
         SELECT (jsonb_populate_record(accepted, jsonb_build_object(
                    'id', gen_random_uuid(), 'requested_by', people.ids[1 + number % cardinality(people.ids)],
                    'created_at', now(), 'due_at', now(), 'not_before', NULL))).*
         FROM runs AS accepted, generate_series(1, {runs}) AS number,
              LATERAL (SELECT array_agg(id) AS ids FROM users WHERE tenant_id = accepted.tenant_id) AS people
         WHERE accepted.id = '{id}';

         INSERT INTO run_events
         SELECT (jsonb_populate_record(queued, jsonb_build_object('run_id', runs.id, 'at', runs.created_at))).*
         FROM run_events AS queued JOIN runs ON runs.tenant_id = queued.tenant_id AND runs.id <> queued.run_id
         WHERE queued.run_id = '{id}'"
    ))
    .await;
    caller.post(&format!("/v1/runs/{accepted}/cancel"), &Value::Null).await;
}

/// Submits at the scale's pace, and no run before the one before it has begun: each has the queue to itself.
async fn submit(caller: &Caller, agent: &str, scale: &Scale) {
    let begun = tokio::time::Instant::now();
    for number in 0..scale.own {
        sleep_until(begun + scale.every * number).await;
        let run = caller.post("/v1/runs", &json!({"task": "Work.", "agent": agent})).await;
        let path = format!("/v1/runs/{}", run["id"].as_str().unwrap());
        let submitted = Instant::now();
        while caller.get(&path).await["started_at"].is_null() {
            assert!(submitted.elapsed() < PATIENCE, "it does not begin");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Of each run of the small tenant, the oldest first, how many milliseconds it waited, and how many of the other's began
/// meanwhile.
async fn waits(own: &OwnDatabase) -> Vec<(f64, u64)> {
    let rows = own.rows(
        "WITH begun AS (
             SELECT tenant_id, run_id, min(at) AS at FROM run_events WHERE body->>'type' = 'started' GROUP BY 1, 2
         )
         SELECT extract(epoch FROM begun.at - runs.created_at) * 1000 AS waited,
                (SELECT count(*) FROM begun AS other WHERE other.tenant_id <> runs.tenant_id
                     AND other.at BETWEEN runs.created_at AND begun.at) AS passed_by
         FROM runs JOIN tenants ON tenants.id = tenant_id AND slug = 'small' JOIN begun ON run_id = runs.id
         ORDER BY runs.created_at",
    );
    let number = |row: &Value| (row["waited"].as_f64().unwrap(), row["passed_by"].as_u64().unwrap());
    rows.await.iter().map(number).collect()
}

/// The median and the 99th percentile, in milliseconds.
fn percentiles(waits: &[(f64, u64)]) -> (f64, f64) {
    let mut waited: Vec<f64> = waits.iter().map(|(waited, _)| *waited).collect();
    waited.sort_by(f64::total_cmp);
    let at = |percent: usize| waited[(waited.len() * percent).div_ceil(100) - 1];
    (at(50), at(99))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_with_a_long_queue_holds_no_other_up() {
    let scale = Scale::chosen();
    let (takes, calls) = (scale.takes, AtomicU32::new(0));
    let stub = StubModel::answering(move |_| {
        let part = calls.fetch_add(1, Ordering::Relaxed) * 37 % 101;
        Answer::stream().pause(takes / 2 + takes * part / 100).then(Answer::text(["Done."], 10, 2))
    })
    .await
    .unwrap();
    let own = migrated().await;
    let (urls, model, concurrency) = (urls(&own), stub.base_url(), scale.concurrency.to_string());
    let mut shared = settings(&urls, &model);
    shared.extend([
        ("POWERHOUSE__WORKER__CONCURRENCY", concurrency.as_str()),
        ("POWERHOUSE__WORKER__LEASE_SECONDS", "30"),
        ("POWERHOUSE__TOKENS__LIFETIME_SECONDS", "3600"),
    ]);
    let first = Server::with(&shared);
    let _second = first.beside();
    let (large, small) = (first.tenant("large").await, first.tenant("small").await);
    let definition = json!({"kind": "direct", "description": "Works", "model": "stub-1"});
    let (for_large, for_small) =
        (large.publish("worker", &definition).await, small.publish("worker", &definition).await);

    submit(&small, &for_small, &scale).await;
    queue(&own, &large, &for_large, &scale).await;
    let slots = SERVERS * scale.concurrency;
    let started = Instant::now();
    let under_way = "SELECT count(*) AS count FROM runs WHERE status = 'running'";
    while own.rows(under_way).await[0]["count"].as_u64().unwrap() < slots as u64 / 2 {
        assert!(started.elapsed() < PATIENCE, "the servers are not busy");
        sleep(Duration::from_millis(20)).await;
    }
    submit(&small, &for_small, &scale).await;
    let waits = waits(&own).await;
    let (alone, beside) = waits.split_at(waits.len() / 2);
    // Of what had begun to be claimed when it was submitted, and of the claim that took it.
    let most = 2 * slots as u64;
    assert!(beside.iter().all(|(_, passed_by)| *passed_by <= most), "more than {most} pass by: {beside:?}");
    let left = own.rows("SELECT count(*) AS count FROM runs WHERE status = 'queued'").await;
    let left = left[0]["count"].as_u64().unwrap();
    assert!(left > slots as u64, "the queue was too short to hold anybody up: {left} are left");
    let ((p50, p99), (p50_beside, p99_beside)) = (percentiles(alone), percentiles(beside));
    println!(
        "{} runs of about {takes:?} queued, {left} left; {slots} slots, {} submitted: began after {p50:.1} ms (p99 {p99:.1} ms) \
         alone, and after {p50_beside:.1} ms (p99 {p99_beside:.1} ms) beside them: {:.1} times; at most {} passed by",
        scale.runs,
        scale.own,
        p99_beside / p99,
        beside.iter().map(|(_, passed_by)| *passed_by).max().unwrap()
    );
}
