//! The binary on PostgreSQL: migrated by its owner, served by roles that own nothing, by several replicas.

use powerhouse_tests::own_database::{APPLICATION, OwnDatabase, PLATFORM};
use powerhouse_tests::stub_model::{Answer, StubModel};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::server::{Server, binary};

/// Runs `powerhouse migrate` as the owner.
async fn migrated() -> OwnDatabase {
    let own = OwnDatabase::empty().await;
    let folder = tempfile::tempdir().unwrap();
    let mut command = binary(folder.path());
    command.arg("migrate").env("POWERHOUSE__DATABASE__OWNER_URL", own.owner().as_str());
    command.envs(urls(&own).iter().map(|(key, value)| (*key, value.as_str())));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    own
}

fn urls(own: &OwnDatabase) -> [(&'static str, String); 2] {
    [
        ("DATABASE_URL", own.role(APPLICATION).to_string()),
        ("POWERHOUSE__DATABASE__PLATFORM_URL", own.role(PLATFORM).to_string()),
    ]
}

fn settings<'a>(urls: &'a [(&'static str, String); 2], model: &'a str) -> Vec<(&'a str, &'a str)> {
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
    assert_eq!(stub.received().len(), 3, "two calls, and the one that was in flight");
    let events: Vec<(u64, String, Value)> = ada.events(submitted["id"].as_str().unwrap(), 0).await;
    let numbers: Vec<u64> = events.iter().map(|(id, ..)| *id).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
}
