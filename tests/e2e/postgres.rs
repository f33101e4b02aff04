//! The binary on PostgreSQL: migrated by its owner, served by roles that own nothing, by several replicas.

use powerhouse_tests::own_database::{APPLICATION, OwnDatabase, PLATFORM};
use powerhouse_tests::own_redis::OwnRedis;
use powerhouse_tests::stub_model::{Answer, StubModel};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::redis::until_it_says;
use crate::server::{Caller, PASSWORD, Server, binary};

/// Runs `powerhouse migrate` as the owner.
pub(crate) async fn migrated() -> OwnDatabase {
    let own = OwnDatabase::empty().await;
    let folder = tempfile::tempdir().unwrap();
    let mut command = binary(folder.path());
    command.arg("migrate").env("POWERHOUSE__DATABASE__OWNER_URL", own.owner().as_str());
    command.envs(urls(&own).iter().map(|(key, value)| (*key, value.as_str())));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    own
}

pub(crate) fn urls(own: &OwnDatabase) -> [(&'static str, String); 2] {
    [
        ("DATABASE_URL", own.role(APPLICATION).to_string()),
        ("POWERHOUSE__DATABASE__PLATFORM_URL", own.role(PLATFORM).to_string()),
    ]
}

pub(crate) fn settings<'a>(urls: &'a [(&'static str, String); 2], model: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut settings: Vec<_> = urls.iter().map(|(key, value)| (*key, value.as_str())).collect();
    settings.push(("POWERHOUSE__WORKER__LEASE_SECONDS", "3"));
    match model {
        "offline" => settings.push(("POWERHOUSE__MODEL__PROVIDER", "offline")),
        url => settings.push(("POWERHOUSE__MODEL__BASE_URL", url)),
    }
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superuser_does_not_serve_and_the_applications_role_does() {
    let own = migrated().await;
    let urls = urls(&own);
    let folder = tempfile::tempdir().unwrap();
    let mut command = binary(folder.path());
    command
        .envs(urls.iter().map(|(key, value)| (*key, value.as_str())))
        .env("DATABASE_URL", own.owner().as_str());
    let output = command.env("POWERHOUSE__MODEL__PROVIDER", "offline").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("is a superuser") && said.contains("powerhouse migrate"), "{said}");

    let server = Server::with(&settings(&urls, "offline"));
    let ada = server.tenant("acme").await;
    let run = ada.run(&json!({"task": "What is 6 * 7?"})).await;
    assert_eq!((&run["status"], &run["answer"]), (&json!("succeeded"), &json!("[offline model] 6 * 7 = 42")));
    let steps = ada.get(&format!("/v1/runs/{}/steps", run["id"].as_str().unwrap())).await;
    assert_eq!(steps["usage"], run["usage"]);
    let eve = server.tenant("evil").await;
    let path = format!("/v1/runs/{}", run["id"].as_str().unwrap());
    assert_eq!(eve.request(Method::GET, &path).send().await.unwrap().status(), StatusCode::NOT_FOUND);
}

/// The first replica dies in the middle of a run; the second takes it over, and streams it from its beginning.
#[tokio::test(flavor = "multi_thread")]
async fn another_replica_goes_on_where_a_killed_one_was() {
    let stub = StubModel::start([
        Answer::text(["A first draft."], 10, 1),
        Answer::stream().raw(b": thinking\n\n").hang(),
        Answer::text([r#"{"accept": true, "issues": []}"#], 20, 2),
    ])
    .await
    .unwrap();
    let own = migrated().await;
    let urls = urls(&own);
    let mut first = Server::with(&settings(&urls, &stub.base_url()));
    let ada = first.tenant("acme").await;
    let agent = ada.agent("writer").await;
    let submitted = ada.post("/v1/runs", &json!({"task": "Write.", "agent": agent})).await;
    while stub.received().len() < 2 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let second = first.beside();
    first.kill();
    // The token of the first works on the second: they have the same keys.
    let ada = ada.on(&second);
    let run = ada.ended(submitted["id"].as_str().unwrap()).await;
    assert_eq!((&run["status"], &run["answer"]), (&json!("succeeded"), &json!("A first draft.")));
    let calls = stub.received();
    assert_eq!(calls.len(), 3, "two calls, and the one that was in flight");
    let keys: Vec<_> = calls.iter().map(|call| call.header("Idempotency-Key").unwrap()).collect();
    assert!(keys[1] == keys[2] && keys[0] != keys[1], "the call that was made again has its key: {keys:?}");
    let events: Vec<(u64, String, Value)> = ada.events(submitted["id"].as_str().unwrap(), 0).await;
    let numbers: Vec<u64> = events.iter().map(|(id, ..)| *id).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
}

/// A role that is taken away, and a session that is ended, on one replica: at once there, and within five seconds on the
/// others, with Redis and without.
#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_may_do_changes_on_every_replica_within_the_bound() {
    let (own, mut redis) = (migrated().await, OwnRedis::start());
    let (urls, redis_url) = (urls(&own), redis.url());
    let mut shared = settings(&urls, "offline");
    shared.push(("REDIS_URL", redis_url.as_str()));
    let first = Server::with(&shared);
    let second = first.beside();
    let ada = first.tenant("acme").await;
    let allowed =
        async |caller: &Caller| caller.request(Method::GET, "/v1/users").send().await.unwrap().status();
    // At once on the replica that was told, and then on the other; says when.
    let shows = async |here: &Caller, elsewhere: &Caller, to: StatusCode| {
        let since = std::time::Instant::now();
        assert_eq!(allowed(here).await, to, "at once, where it was changed");
        while allowed(elsewhere).await != to {
            assert!(since.elapsed() < std::time::Duration::from_secs(5));
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        since.elapsed()
    };
    for (number, is_redis_there) in [(0, true), (1, false)] {
        let name = format!("bea{number}");
        let email = format!("{name}@example.org");
        let user = json!({"email": email, "display_name": name, "role": "admin", "password": PASSWORD});
        let user = ada.post("/v1/users", &user).await;
        let bea = first.sign_in_as("acme", &email).await;
        let elsewhere = bea.on(&second);
        assert_eq!((allowed(&bea).await, allowed(&elsewhere).await), (StatusCode::OK, StatusCode::OK));
        if !is_redis_there {
            redis.kill();
        }
        let path = format!("/v1/users/{}", user["id"].as_str().unwrap());
        let changed =
            ada.request(Method::PATCH, &path).json(&json!({"role": "member"})).send().await.unwrap();
        assert_eq!(changed.status(), StatusCode::OK);
        let took = shows(&bea, &elsewhere, StatusCode::FORBIDDEN).await;
        assert!(!is_redis_there || took < std::time::Duration::from_secs(2), "Redis tells the others");

        assert_eq!(
            bea.request(Method::DELETE, "/v1/sessions/current").send().await.unwrap().status(),
            StatusCode::NO_CONTENT
        );
        shows(&bea, &elsewhere, StatusCode::UNAUTHORIZED).await;
    }
}

/// A limit holds over all replicas, and a run is streamed at once by a replica that does not work on it.
#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_share_limits_and_news() {
    let (own, redis) = (migrated().await, OwnRedis::start());
    let (urls, redis_url) = (urls(&own), redis.url());
    let mut shared = settings(&urls, "offline");
    shared.extend([
        ("REDIS_URL", redis_url.as_str()),
        ("POWERHOUSE__SERVER__ANONYMOUS_BURST", "7"),
        ("POWERHOUSE__SERVER__ANONYMOUS_PER_MINUTE", "1"),
    ]);
    let first = Server::with(&shared);
    let servers = [first.beside(), first.beside(), first];
    let ada = servers[2].tenant("acme").await;
    let mut admitted = 0;
    for number in 0..18 {
        let request = reqwest::Client::new().post(servers[number % 3].url("/v1/sessions")).json(&json!({}));
        match request.send().await.unwrap().status() {
            StatusCode::UNPROCESSABLE_ENTITY => admitted += 1,
            status => assert_eq!(status, StatusCode::TOO_MANY_REQUESTS),
        }
    }
    // Signing up and in took two.
    assert_eq!(admitted, 5);

    let started = std::time::Instant::now();
    for number in 0..12 {
        let run = ada.post("/v1/runs", &json!({"task": format!("{number} + 1")})).await;
        let elsewhere = ada.on(&servers[number % 2]);
        let events = elsewhere.events(run["id"].as_str().unwrap(), 0).await;
        assert_eq!(events.last().unwrap().1, "run.succeeded");
    }
    let each = started.elapsed() / 12;
    assert!(each < std::time::Duration::from_millis(900), "news come late: {each:?} a run");
    let claimed = servers.iter().filter(|server| server.log().contains("the run has ended")).count();
    assert!(claimed >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_the_server_serves_says_so_and_recovers() {
    let (own, mut redis) = (migrated().await, OwnRedis::start());
    let (urls, redis_url) = (urls(&own), redis.url());
    let mut shared = settings(&urls, "offline");
    shared.push(("REDIS_URL", redis_url.as_str()));
    let server = Server::with(&shared);
    let ada = server.tenant("acme").await;
    for _ in 0..2 {
        until_it_says(&ada, "ok").await;
        assert_eq!(ada.run(&json!({"task": "1 + 1"})).await["status"], "succeeded");
        redis.kill();
        assert_eq!(ada.run(&json!({"task": "2 + 2"})).await["status"], "succeeded");
        until_it_says(&ada, "unavailable").await;
        assert_eq!(ada.get("/health").await["status"], "ok", "it serves without");
        assert_eq!(ada.run(&json!({"task": "3 + 3"})).await["status"], "succeeded");
        redis.restart();
    }
    until_it_says(&ada, "ok").await;
    let log = server.log();
    assert!(log.contains("Redis is away") && log.contains("Redis is back"), "{log}");
}
