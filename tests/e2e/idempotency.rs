//! `Idempotency-Key` on every POST: the same key and body give the same answer, and the thing is done once.

use std::time::Duration;

use powerhouse_tests::stub_model::{Answer, StubModel};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::isolation::{Operation, Property, body, operations};
use crate::postgres::{migrated, settings, urls};
use crate::server::{Caller, PASSWORD, Server, binary, events};

/// What came back.
#[derive(Debug, PartialEq)]
struct Said {
    status: StatusCode,
    location: Option<String>,
    etag: Option<String>,
    body: String,
}

impl Said {
    fn code(&self) -> Value {
        serde_json::from_str::<Value>(&self.body).unwrap()["code"].clone()
    }
}

/// Posts with a key; gives the answer, and whether it says that it was given before.
async fn post(caller: &Caller, path: &str, key: &str, body: Option<&Value>) -> (Said, bool) {
    let mut request = caller.request(Method::POST, path).header("Idempotency-Key", key);
    if let Some(body) = body {
        request = request.json(body);
    }
    let answer = request.send().await.unwrap();
    let header = |name| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (location, etag, replayed) = (header("location"), header("etag"), header("idempotency-replayed"));
    assert!(replayed.is_none() || header("content-type").unwrap().starts_with("application/json"));
    let status = answer.status();
    (Said { status, location, etag, body: answer.text().await.unwrap() }, replayed.is_some())
}

/// Brings things into a state in which the operation does something; gives its path.
async fn prepared(ada: &Caller, operation: &Operation, owned: &Property) -> String {
    let waiting = async || {
        let asked = ada.get(&format!("/v1/approvals/{}", owned.approval)).await;
        asked["run"].as_str().unwrap().to_owned()
    };
    match operation.id.as_str() {
        "cancel_run" | "pause_run" => operation.path.replace("{run_id}", &waiting().await),
        "resume_run" => {
            let run = waiting().await;
            ada.post(&format!("/v1/runs/{run}/pause"), &Value::Null).await;
            operation.path.replace("{run_id}", &run)
        }
        "publish_agent" => {
            let draft = json!({"definition": {"kind": "direct", "description": "Anew"}});
            let path = format!("/v1/agents/{}", owned.agent);
            assert!(ada.request(Method::PUT, &path).json(&draft).send().await.unwrap().status().is_success());
            owned.path(operation)
        }
        "resume_schedule" => {
            ada.post(&format!("/v1/schedules/{}/pause", owned.schedule), &Value::Null).await;
            owned.path(operation)
        }
        "replay_webhook_delivery" => {
            let deliveries = format!("/v1/webhooks/{}/deliveries", owned.webhook);
            for _ in 0..1_000 {
                if ada.get(&deliveries).await["items"][0]["status"] == "dead" {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            owned.path(operation)
        }
        _ => owned.path(operation),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_post_is_carried_out_once_for_a_key() {
    let server = Server::with(&[
        ("POWERHOUSE__MODEL__PROVIDER", "offline"),
        // Nothing is at the addresses of this test: a delivery is soon dead.
        ("POWERHOUSE__WEBHOOKS__RETRIES", "1"),
    ]);
    let ada = server.tenant("acme").await;
    let bob =
        json!({"email": "bob@example.org", "display_name": "Bob", "role": "owner", "password": PASSWORD});
    ada.post("/v1/users", &bob).await;
    let bob = server.sign_in_as("acme", "bob@example.org").await;
    let (mut number, mut without) = (0, Vec::new());
    for operation in operations(&server).await.iter().filter(|operation| operation.method == Method::POST) {
        let takes_key = operation.headers.iter().any(|name| name == "Idempotency-Key");
        if !operation.is_guarded {
            assert!(!takes_key, "{} says that it takes a key", operation.id);
            without.push(operation.id.clone());
            continue;
        }
        let id = &operation.id;
        assert!(takes_key, "{id} does not say that it takes a key");
        number += 1;
        let owned = Property::numbered(&ada, number).await;
        let path = prepared(&ada, operation, &owned).await;
        let mut asked = operation.has_body.then(|| body(id, &owned.agent));
        match (&mut asked, id.as_str()) {
            (Some(body), "create_agent") => body["name"] = json!(format!("keyed-{number}")),
            (Some(body), "create_user") => body["email"] = json!(format!("keyed-{number}@example.org")),
            _ => {}
        }
        let key = format!("key-{number}");
        let (first, was_before) = post(&ada, &path, &key, asked.as_ref()).await;
        assert!(first.status.is_success() && !was_before, "{id}: {first:?}");
        for _ in 0..2 {
            let (again, is_replayed) = post(&ada, &path, &key, asked.as_ref()).await;
            assert!(is_replayed, "{id}: {again:?}");
            assert_eq!(again, first, "{id}");
        }
        let other = format!("{} ", asked.clone().unwrap_or(Value::Null));
        let other = ada.request(Method::POST, &path).header("Idempotency-Key", &key).body(other);
        let refused = other.header("content-type", "application/json").send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY, "{id}");
        assert_eq!(refused.json::<Value>().await.unwrap()["code"], "idempotency_key_reused", "{id}");
        // Somebody else's key is another one.
        let (theirs, is_replayed) = post(&bob, &path, &key, asked.as_ref()).await;
        assert!(!is_replayed && theirs.status != StatusCode::UNPROCESSABLE_ENTITY, "{id}: {theirs:?}");
        // Tenants have few of them.
        for path in
            [format!("/v1/webhooks/{}", owned.webhook), format!("/v1/model-providers/{}", owned.provider)]
        {
            ada.request(Method::DELETE, &path).send().await.unwrap();
        }
    }
    assert!(number >= 18, "{number} operations were walked");
    without.sort_unstable();
    // Nobody has signed in yet, and their answers are tokens, which are not kept.
    assert_eq!(without, ["create_session", "create_tenant", "refresh_session"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_for_one_request_and_well_formed() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    let task = |text: &str| Some(json!({ "task": text }));
    let (first, _) = post(&ada, "/v1/runs", "k", task("1 + 1").as_ref()).await;
    assert_eq!(first.status, StatusCode::ACCEPTED);
    for (path, body) in [("/v1/runs", task("1 + 2")), ("/v1/runs?a=b", task("1 + 1"))] {
        let (taken_up, _) = post(&ada, path, "k", body.as_ref()).await;
        assert_eq!(
            (taken_up.status, taken_up.code()),
            (StatusCode::UNPROCESSABLE_ENTITY, json!("idempotency_key_reused"))
        );
    }
    let agent = json!({"name": "k", "definition": {"kind": "direct", "description": "k"}});
    let (taken_up, _) = post(&ada, "/v1/agents", "k", Some(&agent)).await;
    assert_eq!(taken_up.code(), "idempotency_key_reused");
    for bad in ["", "a b", &"a".repeat(256)] {
        let (refused, _) = post(&ada, "/v1/runs", bad, task("1 + 1").as_ref()).await;
        assert_eq!(
            (refused.status, refused.code()),
            (StatusCode::BAD_REQUEST, json!("idempotency_key_malformed"))
        );
    }
    let twice =
        ada.request(Method::POST, "/v1/runs").header("Idempotency-Key", "a").header("Idempotency-Key", "b");
    assert_eq!(twice.json(&json!({"task": "1"})).send().await.unwrap().status(), StatusCode::BAD_REQUEST);
    // What was refused has changed nothing, and its key is free.
    let (refused, _) = post(&ada, "/v1/runs", "free", task("").as_ref()).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let (taken, is_replayed) = post(&ada, "/v1/runs", "free", task("1 + 1").as_ref()).await;
    assert_eq!((taken.status, is_replayed), (StatusCode::ACCEPTED, false));
    assert_eq!(ada.get("/v1/runs").await["items"].as_array().unwrap().len(), 2);
    // The key means nothing to what reads.
    let read = ada.request(Method::GET, "/v1/runs").header("Idempotency-Key", "k").send().await.unwrap();
    assert_eq!(read.status(), StatusCode::OK);
}

/// Whoever waits or watches does so again, for the same run.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_and_watching_go_on_with_the_same_run() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    let submit = |key: &str| {
        let request = ada.request(Method::POST, "/v1/runs").header("Idempotency-Key", key);
        request.json(&json!({"task": "6 * 7"}))
    };
    let mut runs = Vec::new();
    for is_again in [false, true] {
        let answer = submit("wait").header("Prefer", "wait=10").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers().contains_key("idempotency-replayed"), is_again);
        runs.push(answer.json::<Value>().await.unwrap());
    }
    assert_eq!((&runs[0], &runs[0]["status"]), (&runs[1], &json!("succeeded")));
    let mut streams = Vec::new();
    for is_again in [false, true] {
        let answer = submit("watch").header("Accept", "text/event-stream").send().await.unwrap();
        assert_eq!(answer.headers().contains_key("idempotency-replayed"), is_again);
        streams.push(events(&answer.text().await.unwrap()));
    }
    assert_eq!(streams[0], streams[1]);
    assert_eq!(ada.get("/v1/runs").await["items"].as_array().unwrap().len(), 2);
}

async fn twenty_at_once(server: &Server) {
    let ada = server.tenant("acme").await;
    let posts = (0..20).map(|_| post(&ada, "/v1/runs", "k", None::<&Value>));
    for (refused, _) in futures::future::join_all(posts).await {
        assert!(refused.status.is_client_error(), "no body: {refused:?}");
    }
    let task = json!({"task": "1 + 1"});
    let posts = (0..20).map(|_| post(&ada, "/v1/runs", "k", Some(&task)));
    let said = futures::future::join_all(posts).await;
    assert_eq!(said.iter().filter(|(_, is_replayed)| !is_replayed).count(), 1, "{said:?}");
    assert!(said.iter().all(|(answer, _)| *answer == said[0].0), "{said:?}");
    assert_eq!(ada.get("/v1/runs").await["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_with_one_key_make_one_run() {
    twenty_at_once(&Server::start()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_with_one_key_make_one_run_on_postgres() {
    let own = migrated().await;
    let urls = urls(&own);
    twenty_at_once(&Server::with(&settings(&urls, "offline"))).await;
}

/// The process is killed while requests are on their way; each is sent again until it is answered. Each was carried out
/// once, and those that were answered before are answered the same.
async fn killed_in_the_middle(mut server: Server) {
    let mut ada = server.tenant("acme").await;
    let mut keys = 0;
    for round in 0..8_u64 {
        let numbers: Vec<u32> = (keys..keys + 12).collect();
        keys += 12;
        let send = async |ada: &Caller, number: u32| {
            let request =
                ada.request(Method::POST, "/v1/runs").header("Idempotency-Key", format!("run-{number}"));
            let answer = request.json(&json!({"task": format!("1 + {number}")})).send().await.ok()?;
            assert_eq!(answer.status(), StatusCode::ACCEPTED);
            Some(answer.json::<Value>().await.ok()?["id"].clone())
        };
        let sending = futures::future::join_all(numbers.iter().map(|number| send(&ada, *number)));
        let killing = async {
            tokio::time::sleep(Duration::from_millis(3 + 4 * round)).await;
            server.kill();
        };
        let (before, ()) = tokio::join!(sending, killing);
        server.restart();
        ada = ada.on(&server);
        for (number, acknowledged) in numbers.into_iter().zip(before) {
            let again = send(&ada, number).await.expect("it is answered");
            assert!(acknowledged.is_none_or(|id| id == again), "{number} was answered with another run");
        }
    }
    let runs = ada.get("/v1/runs?limit=100").await;
    let mut tasks: Vec<_> =
        runs["items"].as_array().unwrap().iter().map(|run| run["task"].to_string()).collect();
    tasks.sort_unstable();
    tasks.dedup();
    assert_eq!((runs["items"].as_array().unwrap().len(), tasks.len()), (keys as usize, keys as usize));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_killed_in_the_middle_is_done_once() {
    killed_in_the_middle(Server::start()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_killed_in_the_middle_is_done_once_on_postgres() {
    let own = migrated().await;
    let urls = urls(&own);
    killed_in_the_middle(Server::with(&settings(&urls, "offline"))).await;
}

/// A secret that is shown once is shown again to whoever lost the answer, and is not in the database.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_with_a_secret_is_kept_sealed() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    let webhook = json!({"url": "https://hooks.invalid/"});
    let (first, _) = post(&ada, "/v1/webhooks", "k", Some(&webhook)).await;
    let (again, is_replayed) = post(&ada, "/v1/webhooks", "k", Some(&webhook)).await;
    assert!(is_replayed && first == again);
    let secret = serde_json::from_str::<Value>(&first.body).unwrap()["secret"].as_str().unwrap().to_owned();
    let (bytes, mut found) = (secret.as_bytes(), 0);
    for file in ["powerhouse.db", "powerhouse.db-wal"] {
        let data = std::fs::read(server.folder().join("data").join(file)).unwrap_or_default();
        assert!(!data.windows(bytes.len()).any(|window| window == bytes), "the secret is in {file}");
        found += data.len();
    }
    assert!(found > 0, "the database was looked at");
}

/// The provider can tell a call that is made again from another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_has_its_key_over_a_crash_and_every_other_call_another() {
    let answers = [
        Answer::stream().raw(b": thinking\n\n").hang(),
        Answer::text(["One."], 10, 1),
        Answer::text(["Two."], 10, 1),
        Answer::text(["Three."], 10, 1),
    ];
    let stub = StubModel::start(answers).await.unwrap();
    let mut server = Server::with_model(&stub.base_url());
    let ada = server.tenant("acme").await;
    let definition = json!({"kind": "direct", "description": "Answers"});
    let task = json!({"task": "Write.", "agent": ada.publish("plain", &definition).await});
    let run = ada.post("/v1/runs", &task).await;
    while stub.received().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let live =
        Client::new().get(server.url("/health/live")).send().await.unwrap().json::<Value>().await.unwrap();
    let worker = &live["worker"];
    assert_eq!((&live["status"], &worker["runs_held"]), (&json!("ok"), &json!(1)), "{live}");
    assert!(worker["last_heartbeat_at"].is_string() && worker["last_progress_at"].is_string(), "{live}");
    server.kill();
    server.restart();
    let ada = ada.on(&server);
    let run = ada.ended(run["id"].as_str().unwrap()).await;
    assert_eq!(run["answer"], "One.");
    // The same request at the same step of another run, and of a fork.
    assert_eq!(ada.run(&task).await["answer"], "Two.");
    let fork =
        ada.post(&format!("/v1/runs/{}/fork", run["id"].as_str().unwrap()), &json!({"step": "0"})).await;
    assert_eq!(ada.ended(fork["id"].as_str().unwrap()).await["answer"], "Three.");
    let calls = stub.received();
    let keys: Vec<_> = calls.iter().map(|call| call.header("Idempotency-Key").unwrap()).collect();
    assert_eq!(keys[0], keys[1]);
    assert!(keys[1] != keys[2] && keys[2] != keys[3] && keys[1] != keys[3], "{keys:?}");
}

/// Between client and server: the first answer to a task that was submitted never arrives.
async fn lossy(server: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = server.trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        let mut has_lost = false;
        while let Ok((mut client, _)) = listener.accept().await {
            let mut upstream = TcpStream::connect(&server).await.unwrap();
            let (mut request, mut answer) = ([0; 8 * 1024], [0; 8 * 1024]);
            loop {
                tokio::select! {
                    read = client.read(&mut request) => {
                        let Ok(length @ 1..) = read else { break };
                        upstream.write_all(&request[..length]).await.unwrap();
                        if !has_lost && request.starts_with(b"POST /v1/runs ") {
                            has_lost = true;
                            let _ = upstream.read(&mut answer).await;
                            break;
                        }
                    }
                    read = upstream.read(&mut answer) => {
                        let Ok(length @ 1..) = read else { break };
                        client.write_all(&answer[..length]).await.unwrap();
                    }
                }
            }
        }
    });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_submits_once_whatever_gets_lost() {
    let server = Server::start();
    let url = lossy(&server.base).await;
    let folder = server.folder().to_owned();
    let run = move || binary(&folder).args(["run", "--url", &url, "6 * 7"]).output().unwrap();
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let password = std::fs::read_to_string(server.folder().join("data/owner-password")).unwrap();
    let body = json!({"tenant": "home", "email": "owner@localhost", "password": password.trim()});
    let session = Client::new().post(server.url("/v1/sessions")).json(&body).send().await.unwrap();
    let token = session.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned();
    let runs = Client::new().get(server.url("/v1/runs")).bearer_auth(token).send().await.unwrap();
    assert_eq!(runs.json::<Value>().await.unwrap()["items"].as_array().unwrap().len(), 1);
}
