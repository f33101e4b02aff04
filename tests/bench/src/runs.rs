//! `powerhouse-bench runs`: how many durable steps a second, what they cost in log, and how soon a run starts.

#![expect(clippy::print_stdout, reason = "what was measured is printed")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use sqlx::{PgConnection, Row as _};
use tokio::time::{Instant, interval_at};

use crate::http::Connection;
use crate::model;
use crate::site::{PASSWORD, Site, say};

/// How long the runs of one measurement may take.
const PATIENCE: Duration = Duration::from_mins(5);
/// Connections that submit.
const CALLERS: usize = 16;

/// How runs are measured.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    /// Runs that are queued before the servers begin.
    pub(crate) runs: u64,
    /// Tools that a run calls: a run of n calls has 2n + 1 steps.
    pub(crate) calls: u64,
    /// Tenants whose runs these are.
    pub(crate) tenants: u64,
    /// Runs at the same time in each server.
    pub(crate) concurrency: u64,
    pub(crate) servers: u64,
    /// Runs submitted in a second when it is measured how soon they start.
    pub(crate) per_second: u64,
    pub(crate) seconds: u64,
}

/// Whose runs they are.
struct Submitter {
    token: String,
    agent: Value,
}

/// Makes the database, measures, and drops it.
pub(crate) async fn bench(load: Load) -> anyhow::Result<()> {
    let model = match std::env::var("BENCH_MODEL_URL") {
        Ok(url) => url,
        Err(_) => format!("http://{}/v1", model::serve(load.calls)?),
    };
    let name = format!("stub:steps={}", load.calls);
    let concurrency = load.concurrency.to_string();
    let settings = [
        ("MODEL__PROVIDER", "openai_compatible"),
        ("MODEL__BASE_URL", model.as_str()),
        ("MODEL__NAME", name.as_str()),
        ("WORKER__CONCURRENCY", concurrency.as_str()),
    ];
    let mut site = Site::make(&settings).await?;
    let measured = runs(&mut site, load).await;
    site.clear().await?;
    measured
}

async fn runs(site: &mut Site, load: Load) -> anyhow::Result<()> {
    let mut addresses = Vec::new();
    for _ in 0..load.servers {
        addresses.push(site.serve(&[])?);
    }
    let mut db = site.connect().await?;
    let synchronous: String = sqlx::query_scalar("SHOW synchronous_commit").fetch_one(&mut db).await?;
    let fsync: String = sqlx::query_scalar("SHOW fsync").fetch_one(&mut db).await?;
    println!(
        "{} servers of {} runs at a time, {} tenants; PostgreSQL with synchronous_commit={synchronous}, fsync={fsync}; \
         generator, servers, model, PostgreSQL and Redis share {} cores",
        load.servers,
        load.concurrency,
        load.tenants,
        std::thread::available_parallelism()?
    );
    let submitters: Arc<[Submitter]> = submitters(addresses[0], load.tenants).await?.into();
    backlog(site, &mut db, addresses[0], &submitters, load).await?;
    starts(&mut db, addresses[0], &submitters, load).await
}

/// A tenant each, with an agent that calls a tool.
async fn submitters(address: SocketAddr, tenants: u64) -> anyhow::Result<Vec<Submitter>> {
    say("signing up")?;
    let mut http = Connection::open(address).await?;
    let mut submitters = Vec::new();
    for tenant in 0..tenants {
        let slug = format!("tenant-{tenant}");
        let email = "owner@example.org";
        let owner = json!({"email": email, "display_name": "Owner", "password": PASSWORD});
        http.post("/v1/tenants", None, &json!({"slug": slug, "name": "Tenant", "owner": owner})).await?;
        let session = json!({"tenant": slug, "email": email, "password": PASSWORD});
        let session: Value = serde_json::from_str(&http.post("/v1/sessions", None, &session).await?)?;
        let token = session["access_token"].as_str().context("no access token")?.to_owned();
        let definition = json!({"kind": "react", "description": "Looks at the clock", "tools": ["current_time"],
            "limits": {"steps": 10_000}});
        let agent = json!({"name": "clock", "definition": definition});
        let agent: Value = serde_json::from_str(&http.post("/v1/agents", Some(&token), &agent).await?)?;
        let path = format!("/v1/agents/{}/publish", agent["id"].as_str().context("no id")?);
        http.post(&path, Some(&token), &Value::Null).await?;
        submitters.push(Submitter { token, agent: agent["id"].clone() });
    }
    Ok(submitters)
}

/// Submits so many runs, each with this in its body; one after the other on each connection, or at this pace.
async fn submit(
    address: SocketAddr,
    submitters: &Arc<[Submitter]>,
    runs: u64,
    with: &Value,
    pace: Option<Duration>,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut submitting = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        let (submitters, with) = (Arc::clone(submitters), with.clone());
        submitting.spawn(async move {
            let mut http = Connection::open(address).await?;
            for number in (caller..usize::try_from(runs)?).step_by(CALLERS) {
                if let Some(pace) = pace {
                    tokio::time::sleep_until(begun + pace * u32::try_from(number)?).await;
                }
                let Submitter { token, agent } = &submitters[number % submitters.len()];
                let mut body = json!({"task": "What time is it?", "agent": agent});
                if let (Some(body), Some(with)) = (body.as_object_mut(), with.as_object()) {
                    body.extend(with.clone());
                }
                http.post("/v1/runs", Some(token), &body).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(submitted) = submitting.join_next().await {
        submitted??;
    }
    Ok(())
}

/// Waits until every run has ended, and well.
async fn ended(db: &mut PgConnection, runs: u64) -> anyhow::Result<()> {
    let patience = Instant::now() + PATIENCE;
    let mut tick = interval_at(Instant::now(), Duration::from_millis(200));
    loop {
        tick.tick().await;
        let row = sqlx::query(
            "SELECT count(*) FILTER (WHERE status = 'succeeded'),
                    count(*) FILTER (WHERE status NOT IN ('succeeded', 'queued', 'running')) FROM runs",
        );
        let row = row.fetch_one(&mut *db).await?;
        let (well, ill): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        ensure!(ill == 0, "{ill} runs did not succeed");
        if u64::try_from(well)? == runs {
            return Ok(());
        }
        ensure!(Instant::now() < patience, "only {well} of {runs} runs have ended");
    }
}

/// How fast a backlog is worked off.
async fn backlog(
    site: &Site,
    db: &mut PgConnection,
    address: SocketAddr,
    submitters: &Arc<[Submitter]>,
    load: Load,
) -> anyhow::Result<()> {
    say("queueing")?;
    let later = sqlx::query_scalar("SELECT to_json(now() + interval '1 day') #>> '{}'");
    let later: String = later.fetch_one(&mut *db).await?;
    submit(address, submitters, load.runs, &json!({"not_before": later}), None).await?;
    site.run("CHECKPOINT").await?;
    let before: String =
        sqlx::query_scalar("SELECT pg_current_wal_insert_lsn()::text").fetch_one(&mut *db).await?;
    say("working")?;
    site.run("UPDATE runs SET due_at = now(), not_before = NULL").await?;
    ended(db, load.runs).await?;
    let measured = sqlx::query(
        "SELECT count(*) FILTER (WHERE body->>'type' = 'step_ended'),
                extract(epoch FROM max(at) FILTER (WHERE body->>'type' = 'succeeded')
                    - min(at) FILTER (WHERE body->>'type' = 'started'))::float8,
                (pg_current_wal_insert_lsn() - $1::pg_lsn)::float8, sum(pg_column_size(body))::float8
         FROM run_events",
    );
    let row = measured.bind(before).fetch_one(&mut *db).await?;
    let (steps, seconds, log, journal): (i64, f64, f64, f64) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
    let (steps, runs) = (f64::from(i32::try_from(steps)?), f64::from(u32::try_from(load.runs)?));
    println!(
        "a backlog of {} runs of {} steps: {:.0} steps/s, {:.0} runs/s; {:.0} bytes of log and {:.0} of journal per step",
        load.runs,
        2 * load.calls + 1,
        steps / seconds,
        runs / seconds,
        log / steps,
        journal / steps
    );
    site.run("TRUNCATE runs, run_events CASCADE").await
}

/// How soon a run starts when there is room.
async fn starts(
    db: &mut PgConnection,
    address: SocketAddr,
    submitters: &Arc<[Submitter]>,
    load: Load,
) -> anyhow::Result<()> {
    say("submitting at a pace")?;
    let runs = load.per_second * load.seconds;
    let pace = Duration::from_secs(1) / u32::try_from(load.per_second)?;
    submit(address, submitters, runs, &json!({}), Some(pace)).await?;
    ended(db, runs).await?;
    let measured = sqlx::query(
        "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY took), percentile_cont(0.99) WITHIN GROUP (ORDER BY took),
                percentile_cont(0.99) WITHIN GROUP (ORDER BY whole)
         FROM (SELECT extract(epoch FROM min(at) FILTER (WHERE body->>'type' = 'step_started') - min(created_at))::float8
                          * 1000 AS took,
                      extract(epoch FROM max(at) - min(created_at))::float8 * 1000 AS whole
               FROM run_events JOIN runs ON runs.tenant_id = run_events.tenant_id AND runs.id = run_id
               GROUP BY run_id) AS started",
    );
    let row = measured.fetch_one(db).await?;
    let (median, p99, whole): (f64, f64, f64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    println!(
        "{} runs a second for {} s: from its acceptance to its first step p50 {median:.1} ms, p99 {p99:.1} ms; \
         to its end p99 {whole:.1} ms",
        load.per_second, load.seconds
    );
    Ok(())
}
