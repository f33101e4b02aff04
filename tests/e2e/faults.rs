//! What callers see when the database is cut off, or silent; and that nobody has to restart the server.

use std::time::{Duration, Instant};

use powerhouse_tests::own_database::{APPLICATION, OwnDatabase, PLATFORM};
use powerhouse_tests::proxy::{Mode, Proxy};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;
use url::Url;

use crate::postgres::migrated;
use crate::server::{Caller, Server};

struct Scene {
    proxy: Proxy,
    server: Server,
    ada: Caller,
    // Dropped last.
    _database: OwnDatabase,
}

impl Scene {
    async fn new() -> Self {
        let database = migrated().await;
        let owner = database.owner();
        let target = format!("{}:{}", owner.host_str().unwrap(), owner.port().unwrap_or(5432));
        let proxy = Proxy::to(target.parse().unwrap()).await.unwrap();
        let through = |mut url: Url| {
            url.set_host(Some("127.0.0.1")).unwrap();
            url.set_port(Some(proxy.port())).unwrap();
            url.to_string()
        };
        let server = Server::with(&[
            ("DATABASE_URL", &through(database.role(APPLICATION))),
            ("POWERHOUSE__DATABASE__PLATFORM_URL", &through(database.role(PLATFORM))),
            ("POWERHOUSE__DATABASE__ACQUIRE_SECONDS", "1"),
            ("POWERHOUSE__DATABASE__STATEMENT_SECONDS", "1"),
            ("POWERHOUSE__WORKER__LEASE_SECONDS", "3"),
            ("POWERHOUSE__MODEL__PROVIDER", "offline"),
        ]);
        let ada = server.tenant("acme").await;
        Self { proxy, server, ada, _database: database }
    }

    /// A request that cannot be served: refused in time, in words, with when to come back.
    async fn refused(&self, method: Method, path: &str, body: Option<Value>) {
        let started = Instant::now();
        let mut request = self.ada.request(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {problem}");
        assert_eq!(problem["code"], "unavailable");
        assert!(headers["retry-after"].to_str().unwrap().parse::<u32>().unwrap() >= 1);
        assert!(started.elapsed() < Duration::from_secs(10), "{path} took {:?}", started.elapsed());
    }

    async fn recovers(&self) {
        let started = Instant::now();
        while self.ada.request(Method::GET, "/v1/me").send().await.unwrap().status() != StatusCode::OK {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "it does not recover: {}",
                self.server.log()
            );
            sleep(Duration::from_millis(50)).await;
        }
        let run = self.ada.run(&json!({"task": "2 + 2"})).await;
        assert_eq!(run["status"], "succeeded");
    }
}

async fn fails_and_recovers(mode: Mode) {
    let scene = Scene::new().await;
    scene.recovers().await;
    let runs = scene.ada.get("/v1/runs").await["items"].as_array().unwrap().len();
    scene.proxy.set(mode);
    scene.refused(Method::GET, "/v1/me", None).await;
    scene.refused(Method::POST, "/v1/runs", Some(json!({"task": "1 + 1"}))).await;
    let health = Client::new().get(scene.server.url("/health")).send().await.unwrap();
    assert_eq!(health.status(), StatusCode::SERVICE_UNAVAILABLE);
    let live = Client::new().get(scene.server.url("/health/live")).send().await.unwrap();
    assert_eq!(live.status(), StatusCode::OK, "the process need not be restarted");
    let live = live.json::<Value>().await.unwrap();
    assert!(live["worker"]["claim_age_seconds"].as_f64().unwrap() < 10.0, "it tries all the while: {live}");
    scene.proxy.set(Mode::Open);
    scene.recovers().await;
    let after = scene.ada.get("/v1/runs").await["items"].as_array().unwrap().len();
    assert_eq!(after, runs + 1, "what was refused was not done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_cut_off_is_503_until_it_is_back() {
    fails_and_recovers(Mode::Cut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_silent_is_503_until_it_is_back() {
    fails_and_recovers(Mode::Silent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_hangs_up_is_503_until_it_is_back() {
    fails_and_recovers(Mode::HalfClosed).await;
}

/// A slow network is no failure.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_slow_is_waited_for() {
    let scene = Scene::new().await;
    scene.proxy.set(Mode::Slow(Duration::from_millis(20)));
    let run = scene.ada.run(&json!({"task": "2 + 2"})).await;
    assert_eq!(run["status"], "succeeded");
    scene.proxy.set(Mode::Open);
    scene.recovers().await;
}

/// The worker writes again and again, and the run goes on where it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_survives_a_cut() {
    let scene = Scene::new().await;
    for _ in 0..5 {
        let run = scene.ada.post("/v1/runs", &json!({"task": "Rent or buy?"})).await;
        scene.proxy.set(Mode::Cut);
        sleep(Duration::from_millis(120)).await;
        scene.proxy.set(Mode::Open);
        let id = run["id"].as_str().unwrap();
        let started = Instant::now();
        loop {
            let answer = scene.ada.request(Method::GET, &format!("/v1/runs/{id}")).send().await.unwrap();
            if answer.status() == StatusCode::OK
                && answer.json::<Value>().await.unwrap()["status"] == "succeeded"
            {
                break;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "the run is stuck: {}", scene.server.log());
            sleep(Duration::from_millis(50)).await;
        }
    }
}
