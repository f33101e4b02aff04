//! Webhooks: signed as the specification's own library checks, tried again, given up, and replayed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use powerhouse_tests::stub_model::request;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use crate::postgres::{migrated, settings, urls};
use crate::server::{Caller, Server};

/// A request as it came.
#[derive(Clone, Debug)]
struct Received {
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Received {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn id(&self) -> &str {
        self.headers["webhook-id"].to_str().unwrap()
    }

    /// By the library that the specification comes with.
    fn is_signed_with(&self, secret: &str) -> bool {
        Webhook::new(secret).unwrap().verify(&self.body, &self.headers).is_ok()
    }
}

/// An endpoint that answers with these statuses, and with 200 when there is none left.
#[derive(Clone)]
struct Hook {
    url: String,
    statuses: Arc<Mutex<VecDeque<u16>>>,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Hook {
    async fn start(statuses: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hook = Self {
            url: format!("http://{}/hook", listener.local_addr().unwrap()),
            statuses: Arc::new(Mutex::new(statuses.iter().copied().collect())),
            received: Arc::default(),
        };
        let serving = hook.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let hook = serving.clone();
                tokio::spawn(async move { hook.answer(stream).await });
            }
        });
        hook
    }

    async fn answer(&self, mut stream: TcpStream) -> Option<()> {
        let (head, body) = request(&mut stream).await.ok()?;
        let mut headers = HeaderMap::new();
        for line in head.lines().skip(1) {
            if let Some((name, value)) = line.split_once(": ") {
                headers.insert(name.parse::<HeaderName>().ok()?, HeaderValue::from_str(value).ok()?);
            }
        }
        self.received.lock().unwrap().push(Received { headers, body });
        let status = self.statuses.lock().unwrap().pop_front().unwrap_or(200);
        let answer = format!("HTTP/1.1 {status} So\r\ncontent-length: 4\r\n\r\nwell");
        stream.write_all(answer.as_bytes()).await.ok()
    }

    /// Everything that came, once there is so much of it.
    async fn received(&self, count: usize) -> Vec<Received> {
        for _ in 0..400 {
            let received = self.received.lock().unwrap().clone();
            if received.len() >= count {
                return received;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{} came instead of {count}", self.received.lock().unwrap().len());
    }
}

const ALLOWED: [(&str, &str); 3] = [
    ("POWERHOUSE__MODEL__PROVIDER", "offline"),
    ("POWERHOUSE__WEBHOOKS__ALLOW", "127.0.0.1"),
    ("POWERHOUSE__WEBHOOKS__RETRIES", "0,0,0"),
];

/// Makes a webhook; its path and its secret.
async fn webhook(caller: &Caller, hook: &Hook, events: &[&str]) -> (String, String) {
    let made = caller.post("/v1/webhooks", &json!({"url": hook.url, "events": events})).await;
    let path = format!("/v1/webhooks/{}", made["webhook"]["id"].as_str().unwrap());
    assert!(!caller.get(&path).await.to_string().contains("whsec_"), "the secret is shown once");
    (path, made["secret"].as_str().unwrap().to_owned())
}

/// The newest delivery, once it is over.
async fn ended(caller: &Caller, path: &str) -> Value {
    for _ in 0..400 {
        let delivery = caller.get(&format!("{path}/deliveries")).await["items"][0].clone();
        if delivery["status"] != "pending" {
            return delivery;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it is still under way");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runs_events_are_sent_signed_and_without_its_words() {
    let server = Server::with(&ALLOWED);
    let ada = server.tenant("acme").await;
    let (all, ends) = (Hook::start(&[]).await, Hook::start(&[]).await);
    let (_, secret) = webhook(&ada, &all, &[]).await;
    let (_, other) = webhook(&ada, &ends, &["run.succeeded"]).await;
    let run = ada.run(&json!({"task": "What is 6 * 7?"})).await;
    let mut received = all.received(3).await;
    received.sort_by_key(|one| one.json()["timestamp"].as_str().unwrap().to_owned());
    let types: Vec<String> =
        received.iter().map(|one| one.json()["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(types, ["run.queued", "run.started", "run.succeeded"]);
    for one in &received {
        assert!(one.is_signed_with(&secret) && !one.is_signed_with(&other), "{one:?}");
        assert_eq!(one.headers["content-type"], "application/json");
        let text = one.json().to_string();
        assert!(!text.contains("6 * 7") && !text.contains("= 42"), "{text}");
    }
    let last = received[2].json();
    assert_eq!((&last["data"]["id"], &last["data"]["status"]), (&run["id"], &json!("succeeded")));
    assert_eq!(last["data"]["ended_at"], run["ended_at"]);
    let only = ends.received(1).await;
    assert_eq!((only.len(), only[0].id()), (1, received[2].id()), "one message, to whoever gets it");
    assert!(only[0].is_signed_with(&other));
    let mut forged = only[0].clone();
    forged.body.push(b' ');
    assert!(!forged.is_signed_with(&other));
    assert!(!server.log().contains("whsec_"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_tried_again_given_up_and_replayed() {
    let server = Server::with(&ALLOWED);
    let ada = server.tenant("acme").await;
    let hook = Hook::start(&[500, 302, 200, 500, 503, 429, 404]).await;
    let (path, secret) = webhook(&ada, &hook, &["run.succeeded"]).await;
    ada.run(&json!({"task": "1 + 1"})).await;
    let delivered = ended(&ada, &path).await;
    assert_eq!((&delivered["status"], &delivered["attempts"]), (&json!("delivered"), &json!(3)));
    let tries = hook.received(3).await;
    assert!(tries.iter().all(|one| one.id() == delivered["id"] && one.is_signed_with(&secret)));

    ada.run(&json!({"task": "2 + 2"})).await;
    let dead = ended(&ada, &path).await;
    assert_eq!((&dead["status"], &dead["attempts"]), (&json!("dead"), &json!(4)));
    assert_eq!(
        (&dead["last_attempt"]["status"], &dead["last_attempt"]["note"]),
        (&json!(404), &json!("well"))
    );
    let replay = format!("{path}/deliveries/{}/replay", dead["id"].as_str().unwrap());
    ada.post(&replay, &Value::Null).await;
    let replayed = ended(&ada, &path).await;
    assert_eq!((&replayed["id"], &replayed["status"]), (&dead["id"], &json!("delivered")));
    let all = hook.received(8).await;
    assert_eq!((all.len(), all[7].id(), &all[7].body), (8, all[3].id(), &all[3].body));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_tried_its_secret_changed_and_one_that_is_gone_is_left_alone() {
    let server = Server::with(&ALLOWED);
    let ada = server.tenant("acme").await;
    let hook = Hook::start(&[200, 200, 410]).await;
    let (path, first) = webhook(&ada, &hook, &["run.failed"]).await;
    let test = async || ada.request(Method::POST, &format!("{path}/test")).send().await.unwrap().status();
    assert_eq!(test().await, StatusCode::ACCEPTED);
    assert_eq!(hook.received(1).await[0].json()["type"], "webhook.test");

    let rotated = ada.post(&format!("{path}/rotate-secret"), &Value::Null).await;
    let second = rotated["secret"].as_str().unwrap();
    assert_ne!(second, first);
    test().await;
    let with_both = &hook.received(2).await[1];
    assert!(with_both.is_signed_with(&first) && with_both.is_signed_with(second), "for a day");

    test().await;
    assert_eq!(ended(&ada, &path).await["last_attempt"]["status"], 410);
    let gone = ada.get(&path).await;
    assert_eq!((&gone["enabled"], &gone["disabled_reason"]), (&json!(false), &json!("gone")));
    let records = ada.get("/v1/audit?actor=platform").await;
    let [disabled] = records["items"].as_array().unwrap().as_slice() else { panic!("{records}") };
    assert_eq!((&disabled["action"], &disabled["resource"]), (&json!("webhook.disabled"), &gone["id"]));
    assert_eq!(test().await, StatusCode::CONFLICT);
    let body = json!({"url": hook.url, "events": ["run.failed"]});
    ada.request(Method::PUT, &path).json(&body).send().await.unwrap();
    assert_eq!(test().await, StatusCode::ACCEPTED, "enabled again");
    assert_eq!(ada.request(Method::DELETE, &path).send().await.unwrap().status(), StatusCode::NO_CONTENT);
}

#[tokio::test(flavor = "multi_thread")]
async fn s40_addresses_that_are_not_public_are_refused() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    for url in [
        "http://example.org/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://169.254.169.254/latest/meta-data/",
        "https://2130706433/",
        "ftp://example.org/",
        "nowhere",
    ] {
        let refused =
            ada.request(Method::POST, "/v1/webhooks").json(&json!({"url": url})).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY, "{url}");
        assert_eq!(refused.json::<Value>().await.unwrap()["pointer"], "/url", "{url}");
    }
    for events in [json!(["run.unheard_of"]), json!(["run.failed", "run.failed"]), json!(["webhook.test"])] {
        let body = json!({"url": "https://hooks.invalid/", "events": events});
        let refused = ada.request(Method::POST, "/v1/webhooks").json(&body).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
    // A name that leads to this machine is found out when it is resolved.
    let made = ada.post("/v1/webhooks", &json!({"url": "https://localhost/"})).await;
    let path = format!("/v1/webhooks/{}", made["webhook"]["id"].as_str().unwrap());
    ada.post(&format!("{path}/test"), &Value::Null).await;
    let tried = async || ada.get(&format!("{path}/deliveries")).await["items"][0]["last_attempt"].clone();
    while tried().await.is_null() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(
        tried().await["note"].as_str().unwrap().contains("not on the public Internet"),
        "{}",
        tried().await
    );
}

/// Two replicas send each message once, and whichever is told signs it.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_what_is_to_be_sent() {
    let own = migrated().await;
    let urls = urls(&own);
    let mut shared = settings(&urls, "offline");
    shared.extend(ALLOWED.into_iter().skip(1));
    let first = Server::with(&shared);
    let second = first.beside();
    let ada = first.tenant("acme").await;
    let hook = Hook::start(&[]).await;
    let (path, secret) = webhook(&ada, &hook, &["run.succeeded"]).await;
    let elsewhere = ada.on(&second);
    for number in 0..10 {
        let caller = if number % 2 == 0 { &ada } else { &elsewhere };
        caller.run(&json!({"task": format!("{number} + 1")})).await;
    }
    let received = hook.received(10).await;
    assert!(received.iter().all(|one| one.is_signed_with(&secret)));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(hook.received(10).await.len(), 10, "nothing is sent twice");
    let deliveries = ada.get(&format!("{path}/deliveries")).await["items"].as_array().unwrap().clone();
    assert!(deliveries.iter().all(|delivery| delivery["status"] == "delivered" && delivery["attempts"] == 1));
}
