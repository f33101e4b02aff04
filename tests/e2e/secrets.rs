//! Secrets: put in, never shown, and wrapped anew by another master key while the server works.

use std::fs;
use std::process::Output;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use powerhouse_tests::own_database::OwnDatabase;
use powerhouse_tests::stub_model::{Answer, Api, Received, StubModel};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::postgres::{migrated, settings, urls};
use crate::server::{Caller, Server, binary};

const CANARY: &str = "canary-8f2e61";

async fn refused(caller: &Caller, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
    let answer = caller.request(method, path).json(body).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

/// Every row of every table, as text.
pub(crate) async fn dump(own: &OwnDatabase) -> String {
    let mut all = String::new();
    for table in own.ask("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'").await {
        // Bytes are shown as text too, where they are some.
        for row in own.ask(&format!("SELECT row_to_json(t)::text FROM {table} t")).await {
            all.push_str(&row);
            all.push('\n');
        }
    }
    all
}

/// Whether bytes are anywhere in the files of a data folder.
fn is_in_files(server: &Server, wanted: &str) -> bool {
    let files = fs::read_dir(server.folder().join("data")).unwrap();
    files.into_iter().any(|file| {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        bytes.windows(wanted.len()).any(|window| window == wanted.as_bytes())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_put_in_changed_and_removed_and_never_shown() {
    let server =
        Server::with(&[("POWERHOUSE__MODEL__PROVIDER", "offline"), ("POWERHOUSE__LOG__FILTER", "trace")]);
    let ada = server.tenant("acme").await;
    let mut seen = Vec::new();
    let body = json!({"name": "crm-token", "value": CANARY});
    let put = ada.request(Method::POST, "/v1/secrets").header("Idempotency-Key", "k").json(&body);
    let answer = put.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert_eq!(answer.headers()["location"], "/v1/secrets/crm-token");
    assert_eq!(answer.headers()["etag"], "\"1\"");
    let secret: Value = answer.json().await.unwrap();
    assert_eq!((&secret["name"], &secret["version"]), (&json!("crm-token"), &json!(1)));
    assert_eq!(secret["created_by"], ada.get("/v1/me").await["user"]["id"]);
    assert_eq!(ada.get("/v1/secrets/crm-token").await, secret);
    assert_eq!(ada.get("/v1/secrets").await["items"], json!([secret]));
    seen.push(secret.to_string());

    let (status, problem) = refused(&ada, Method::POST, "/v1/secrets", &body).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("secret_name_taken")));
    seen.push(problem.to_string());
    let put = ada.request(Method::PUT, "/v1/secrets/crm-token").header("if-match", "\"1\"");
    let changed: Value =
        put.json(&json!({"value": format!("{CANARY}-2")})).send().await.unwrap().json().await.unwrap();
    assert_eq!(changed["version"], 2);
    let stale = ada.request(Method::PUT, "/v1/secrets/crm-token").header("if-match", "\"1\"");
    let stale = stale.json(&json!({"value": CANARY})).send().await.unwrap();
    assert_eq!(stale.status(), StatusCode::PRECONDITION_FAILED);

    for (body, pointer) in [
        (json!({"name": "A", "value": CANARY}), "/name"),
        (json!({"name": "a", "value": ""}), "/value"),
        (json!({"name": "a", "value": CANARY.repeat(2_000)}), "/value"),
        (json!({"name": "a", "value": [CANARY]}), "/value"),
        (json!({"name": "a", "value": {"canary": CANARY}}), "/value"),
        (json!({"name": "a", "value": 47_114_711}), "/value"),
        (json!({"name": "a"}), ""),
    ] {
        let (status, problem) = refused(&ada, Method::POST, "/v1/secrets", &body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert_eq!(problem["pointer"].as_str().unwrap_or_default(), pointer, "{problem}");
        assert!(!problem.to_string().contains("47114711"), "{problem}");
        seen.push(problem.to_string());
    }
    let trail = ada.get("/v1/audit").await;
    let last = &trail["items"][0];
    assert_eq!((&last["action"], &last["resource"]), (&json!("secret.changed"), &json!("secret_crm-token")));
    seen.push(trail.to_string());
    for seen in seen {
        assert!(!seen.contains("canary"), "{seen}");
    }
    assert!(!is_in_files(&server, CANARY), "it is stored as it is");
    assert!(!server.log().contains(CANARY), "it is in the log");

    let gone = ada.request(Method::DELETE, "/v1/secrets/crm-token").send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    for method in [Method::GET, Method::DELETE] {
        let gone = ada.request(method, "/v1/secrets/crm-token").send().await.unwrap();
        assert_eq!(gone.status(), StatusCode::NOT_FOUND);
    }
    assert_eq!(ada.get("/v1/secrets").await["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_has_nothing_but_what_is_sealed() {
    let own = migrated().await;
    let urls = urls(&own);
    let server = Server::with(&settings(&urls, "offline"));
    let ada = server.tenant("acme").await;
    let body = json!({"name": "crm-token", "value": CANARY});
    let put = ada.request(Method::POST, "/v1/secrets").header("Idempotency-Key", "k").json(&body);
    assert_eq!(put.send().await.unwrap().status(), StatusCode::CREATED);
    let all = dump(&own).await;
    let hex = |text: &str| text.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    assert!(all.contains("crm-token"), "the dump has the rows");
    assert!(!all.contains(CANARY) && !all.contains(&hex(CANARY)), "{all}");
    assert!(!all.contains(&STANDARD.encode(CANARY)), "{all}");
}

/// S44, of the keys of providers: the provider itself says the key in what it refuses.
#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_provider_is_nowhere_but_in_its_requests() {
    let stub = StubModel::answering(|received: &Received| {
        let key = received.header("x-api-key").unwrap_or_default().to_owned();
        if received.body["messages"].to_string().contains("refuse") {
            return Answer::error(401, &format!("no such key: {key}"));
        }
        Api::Messages.text(["done"], 7, 3)
    });
    let stub = stub.await.unwrap();
    let own = migrated().await;
    let urls = urls(&own);
    let mut with = settings(&urls, "offline");
    with.extend([("POWERHOUSE__MODEL__ALLOW", "127.0.0.1"), ("POWERHOUSE__LOG__FILTER", "trace")]);
    let server = Server::with(&with);
    let ada = server.tenant("acme").await;
    let put = json!({"name": "llm", "value": CANARY});
    let put = ada.request(Method::POST, "/v1/secrets").header("Idempotency-Key", "k").json(&put);
    assert_eq!(put.send().await.unwrap().status(), StatusCode::CREATED);
    let provider = json!({"name": "own", "kind": "anthropic", "base_url": stub.base_url(),
        "key": {"secret": "llm"}, "models": [{"name": "m"}]});
    let provider = ada.post("/v1/model-providers", &provider).await;
    let agent = ada.publish("a", &json!({"kind": "direct", "description": "Answers", "model": "m"})).await;
    let mut seen = vec![provider.to_string()];
    for (task, status) in [("Go", "succeeded"), ("refuse", "failed")] {
        let run = ada.run(&json!({"task": task, "agent": agent})).await;
        assert_eq!(run["status"], status, "{run}");
        let id = run["id"].as_str().unwrap();
        seen.push(run.to_string());
        seen.push(json!(ada.events(id, 0).await).to_string());
        seen.push(ada.get(&format!("/v1/runs/{id}/explain")).await.to_string());
    }
    assert!(stub.received().iter().all(|received| received.header("x-api-key") == Some(CANARY)));
    for path in ["/v1/model-providers", "/v1/models", "/v1/audit", "/v1/secrets"] {
        seen.push(ada.get(path).await.to_string());
    }
    seen.push(server.log());
    seen.push(dump(&own).await);
    for seen in seen {
        assert!(!seen.contains(CANARY) && !seen.contains(&STANDARD.encode(CANARY)), "{seen}");
    }
}

fn rotated(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_master_key_is_changed_while_the_server_works() {
    let mut server = Server::start();
    let (ada, eve) = (server.tenant("acme").await, server.tenant("other").await);
    for caller in [&ada, &eve] {
        caller.post("/v1/secrets", &json!({"name": "a", "value": CANARY})).await;
    }
    let rotate = || binary(server.folder()).args(["secrets", "rotate-master-key"]).output().unwrap();
    let said = rotated(&rotate());
    assert!(said.contains("2 of 2 data keys were wrapped anew") && said.contains("master.keys"), "{said}");
    let keys = fs::read_to_string(server.folder().join("data/master.keys")).unwrap();
    let lines: Vec<&str> = keys.lines().collect();
    assert_eq!(lines.len(), 2, "the new one, and the one before");
    assert!(lines.iter().all(|key| !said.contains(key)));
    let trail = ada.get("/v1/audit?actor=platform").await;
    assert_eq!(trail["items"][0]["action"], "data_key.rewrapped", "{trail}");

    // The server that was at work goes on with old data keys, and with new tenants' by the new master key.
    let put = ada.request(Method::PUT, "/v1/secrets/a").json(&json!({"value": "another one"}));
    assert_eq!(put.send().await.unwrap().status(), StatusCode::OK);
    server.tenant("late").await.post("/v1/secrets", &json!({"name": "a", "value": CANARY})).await;

    // Nothing needs the old key any more.
    fs::write(server.folder().join("data/master.keys"), format!("{}\n", lines[0])).unwrap();
    server.stop();
    server.restart();
    for slug in ["acme", "other", "late"] {
        let caller = server.sign_in(slug).await;
        let put = caller.request(Method::PUT, "/v1/secrets/a").json(&json!({"value": "once more"}));
        assert_eq!(put.send().await.unwrap().status(), StatusCode::OK, "{slug}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn master_keys_come_from_the_environment_too() {
    let own = migrated().await;
    let urls = urls(&own);
    let (old, new) = (STANDARD.encode([1; 32]), STANDARD.encode([2; 32]));
    let mut with_old = settings(&urls, "offline");
    with_old.push(("POWERHOUSE__SECRETS__MASTER_KEY", &old));
    let mut first = Server::with(&with_old);
    let ada = first.tenant("acme").await;
    ada.post("/v1/secrets", &json!({"name": "a", "value": CANARY})).await;

    // Another replica, which has the new key in front already.
    let mut with_both = settings(&urls, "offline");
    with_both.extend([
        ("POWERHOUSE__SECRETS__MASTER_KEY", new.as_str()),
        ("POWERHOUSE__SECRETS__OLD_MASTER_KEYS", old.as_str()),
    ]);
    let mut command = binary(first.folder());
    command.args(["secrets", "rotate-master-key"]).envs(with_both.iter().copied());
    let said = rotated(&command.output().unwrap());
    assert!(said.contains("1 of 1 data keys") && said.contains("secrets.old_master_keys"), "{said}");
    let again = rotated(&command.output().unwrap());
    assert!(again.contains("0 of 1 data keys"), "{again}");
    first.stop();

    let mut with_new = settings(&urls, "offline");
    with_new.push(("POWERHOUSE__SECRETS__MASTER_KEY", &new));
    let second = Server::with(&with_new);
    let ada = second.sign_in("acme").await;
    let put = ada.request(Method::PUT, "/v1/secrets/a").json(&json!({"value": "another one"}));
    assert_eq!(put.send().await.unwrap().status(), StatusCode::OK);

    // Without the key that wraps it, a tenant's secrets are out of reach, and nothing else.
    let mut lost = Server::with(&with_old);
    let ada = lost.sign_in("acme").await;
    let put = ada.request(Method::PUT, "/v1/secrets/a").json(&json!({"value": "another one"}));
    assert_eq!(put.send().await.unwrap().status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(lost.log().contains("is not known here"), "the log says what is wrong");
    assert_eq!(ada.get("/v1/secrets").await["items"][0]["version"], 2);
    lost.stop();
}
