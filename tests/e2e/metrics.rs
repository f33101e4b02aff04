//! The operations listener: what it says, what it never says, and where it is not.

use std::time::{Duration, Instant};

use powerhouse_tests::own_redis::OwnRedis;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::postgres::{migrated, settings, urls};
use crate::server::{Server, binary};

const ON_A_FREE_PORT: (&str, &str) = ("POWERHOUSE__OPERATIONS__ADDRESS", "127.0.0.1:0");
/// How long a metric may take to say what is.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the operations listener is, as the server said when it was ready.
fn listener(server: &Server) -> String {
    let line = server.greeting.lines().find(|line| line.trim_start().starts_with("metrics"));
    let url = line.and_then(|line| line.split_whitespace().nth(1)).expect("the server says where");
    url.trim_end_matches("/metrics").to_owned()
}

async fn metrics(server: &Server) -> String {
    let answer = Client::new().get(format!("{}/metrics", listener(server))).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    answer.text().await.unwrap()
}

/// The sum over the series of this name that have all of these labels.
fn value(text: &str, name: &str, labels: &[&str]) -> f64 {
    let of_it = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']))?;
        let (found, value) = rest.rsplit_once(' ')?;
        labels.iter().all(|label| found.contains(label)).then(|| value.parse::<f64>().expect("a number"))
    });
    of_it.sum()
}

#[track_caller]
fn assert_at_least(text: &str, name: &str, labels: &[&str], least: f64) {
    let found = value(text, name, labels);
    assert!(found >= least, "{name} {labels:?} is {found}, not {least}, in: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_runs_are_measured_and_nobody_is_named() {
    let server = Server::with(&[("POWERHOUSE__MODEL__PROVIDER", "offline"), ON_A_FREE_PORT]);
    let ada = server.tenant("canary-tenant").await;
    let run = ada.run(&json!({"task": "canarytask: what is 6 * 7?"})).await;
    assert_eq!(run["status"], "succeeded");
    let id = run["id"].as_str().unwrap();
    for path in ["/v1/runs/run_01h455vb4pex5vsknk084sn02q", "/nowhere/canarypath", "/docs/canaryfile"] {
        assert_eq!(ada.request(Method::GET, path).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    }
    let brewed = ada.request(Method::from_bytes(b"CANARYBREW").unwrap(), "/v1/me").send().await.unwrap();
    assert_eq!(brewed.status(), StatusCode::METHOD_NOT_ALLOWED);

    let text = metrics(&server).await;
    let requests = "powerhouse_http_requests_total";
    let of_run = r#"route="/v1/runs/{run_id}""#;
    assert_at_least(&text, requests, &[r#"method="POST""#, r#"route="/v1/runs""#, r#"status="202""#], 1.0);
    assert_at_least(&text, requests, &[of_run, r#"status="200""#], 1.0);
    assert_at_least(&text, requests, &[of_run, r#"status="404""#], 1.0);
    assert_at_least(&text, requests, &[r#"route="unmatched""#, r#"status="404""#], 1.0);
    assert_at_least(&text, requests, &[r#"method="other""#, r#"status="405""#], 1.0);
    let took = "powerhouse_http_request_duration_seconds";
    assert_at_least(&text, &format!("{took}_bucket"), &[of_run, r#"le="+Inf""#], 2.0);
    assert_at_least(&text, &format!("{took}_sum"), &[of_run], f64::MIN_POSITIVE);
    assert!(text.contains("powerhouse_http_requests_in_flight 0\n"), "{text}");

    assert_at_least(&text, "powerhouse_rate_limit_decisions_total", &["tenant", "admitted"], 1.0);
    assert_at_least(&text, "powerhouse_rate_limit_decisions_total", &["address", "admitted"], 2.0);
    assert_at_least(&text, "powerhouse_cache_hits_total", &[r#"tier="near""#], 1.0);
    assert_at_least(&text, "powerhouse_cache_loads_total", &[], 2.0);
    assert_at_least(&text, "powerhouse_cache_near_entries", &[], 0.0);
    for name in ["powerhouse_runs_submitted_total", "powerhouse_runs_claimed_total"] {
        assert_at_least(&text, name, &[], 1.0);
    }
    assert_at_least(&text, "powerhouse_runs_ended_total", &[r#"status="succeeded""#], 1.0);
    assert_at_least(&text, "powerhouse_run_drives_total", &[r#"end="ended""#], 1.0);
    let effects = "powerhouse_run_effect_duration_seconds_count";
    assert_at_least(&text, effects, &[r#"kind="model""#, r#"outcome="ok""#], 2.0);
    assert_at_least(&text, effects, &[r#"kind="tool""#, r#"outcome="ok""#], 1.0);
    assert_at_least(&text, "powerhouse_database_connections", &[r#"role="writer""#], 1.0);

    let me = ada.get("/v1/me").await;
    for secret in [me["user"]["id"].as_str().unwrap(), me["tenant"]["id"].as_str().unwrap(), id] {
        assert!(!text.contains(secret), "{secret} is in: {text}");
    }
    for secret in ["canary", "@", "example.org", "127.0.0.1", "run_01", "\"Acme"] {
        assert!(!text.to_lowercase().contains(&secret.to_lowercase()), "{secret} is in: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_not_on_the_apis_port_and_health_is_on_both() {
    let server = Server::with(&[("POWERHOUSE__MODEL__PROVIDER", "offline"), ON_A_FREE_PORT]);
    let get = async |url: String| Client::new().get(url).send().await.unwrap().status();
    assert_eq!(get(server.url("/metrics")).await, StatusCode::NOT_FOUND);
    let operations = listener(&server);
    let live =
        Client::new().get(server.url("/health/live")).send().await.unwrap().json::<Value>().await.unwrap();
    assert_eq!((&live["status"], &live["worker"]["runs_held"]), (&json!("ok"), &json!(0)), "{live}");
    assert!(live["worker"]["last_claim_at"].is_string() && live["worker"]["last_heartbeat_at"].is_null());
    for path in ["/health", "/health/live", "/health/ready"] {
        assert_eq!(get(server.url(path)).await, StatusCode::OK);
        assert_eq!(get(format!("{operations}{path}")).await, StatusCode::OK);
    }
    for path in ["/v1/me", "/openapi.json", "/docs"] {
        assert_eq!(get(format!("{operations}{path}")).await, StatusCode::NOT_FOUND);
    }
    let quiet = Server::start();
    assert_eq!(get(quiet.url("/metrics")).await, StatusCode::NOT_FOUND);
    assert!(!quiet.greeting.contains("  metrics  "), "nothing is served that nobody asked for");
}

#[test]
fn an_address_that_is_taken_is_named_with_its_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut command = binary(folder.path());
    command.env("POWERHOUSE__MODEL__PROVIDER", "offline").env("POWERHOUSE__SERVER__ADDRESS", "127.0.0.1:0");
    command.env("POWERHOUSE__OPERATIONS__ADDRESS", taken.local_addr().unwrap().to_string());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("set operations.address"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_and_the_connections_of_both_roles_are_measured_as_they_come_and_go() {
    let (own, mut redis) = (migrated().await, OwnRedis::start());
    let (urls, redis_url) = (urls(&own), redis.url());
    let mut shared = settings(&urls, "offline");
    shared.extend([("REDIS_URL", redis_url.as_str()), ON_A_FREE_PORT]);
    let server = Server::with(&shared);
    let until_up = async |is_up: f64| {
        let started = Instant::now();
        loop {
            let text = metrics(&server).await;
            if text.contains("powerhouse_redis_up")
                && (value(&text, "powerhouse_redis_up", &[]) - is_up).abs() < 0.5
            {
                return text;
            }
            assert!(started.elapsed() < PATIENCE, "powerhouse_redis_up is not {is_up}: {text}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    until_up(1.0).await;
    let ada = server.tenant("acme").await;
    assert_eq!(ada.run(&json!({"task": "1 + 1"})).await["status"], "succeeded");
    redis.kill();
    assert_eq!(ada.run(&json!({"task": "2 + 2"})).await["status"], "succeeded");
    let away = until_up(0.0).await;
    assert_at_least(&away, "powerhouse_redis_breaker_openings_total", &[], 1.0);
    assert_eq!(ada.run(&json!({"task": "3 + 3"})).await["status"], "succeeded");
    redis.restart();
    let text = until_up(1.0).await;

    let decisions = "powerhouse_redis_rate_limit_decisions_total";
    assert_at_least(&text, decisions, &[r#"by="redis""#, r#"decision="admitted""#], 1.0);
    assert_at_least(&text, decisions, &[r#"by="fallback""#, r#"decision="admitted""#], 1.0);
    assert_at_least(&text, "powerhouse_runs_ended_total", &[r#"status="succeeded""#], 3.0);
    assert_at_least(&text, "powerhouse_event_bus_dropped_total", &[r#"reason="redis_away""#], 1.0);
    for role in [r#"role="application""#, r#"role="platform""#] {
        assert_at_least(&text, "powerhouse_database_connections", &[role], 1.0);
    }
}
