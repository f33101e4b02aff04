//! What no model is told, and what is in no log.

use powerhouse_tests::stub_model::{Answer, Received, StubModel};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::replay::replays;
use crate::server::{Caller, Server};

const EMAIL: &str = "canary.7c1@example.org";
const CARD: &str = "4000 0566 5566 5556";
const KEY: &str = "sk-canary-0123456789abcdef";

async fn put_rules(caller: &Caller, classes: &Value) -> (StatusCode, Value) {
    let put = caller.request(Method::PUT, "/v1/masking-rules").json(&json!({"classes": classes}));
    let answer = put.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_told_placeholders_and_the_run_has_what_they_stand_for() {
    let query = json!({"json": {"to": "<EMAIL_1>"}, "path": "$.to"});
    let stub = StubModel::start([
        Answer::call("json_query", &query, 5, 2),
        Answer::text(["I write to <EMA", "IL_1", "> at <IP_1>", ", not to <EMAIL_7> <"], 5, 2),
    ]);
    let stub = stub.await.unwrap();
    let server = Server::with_model(&stub.base_url());
    let ada = server.tenant("acme").await;
    assert_eq!(ada.get("/v1/masking-rules").await, json!({"classes": []}));
    let (status, rules) = put_rules(&ada, &json!(["secret", "email", "ip"])).await;
    assert_eq!((status, &rules), (StatusCode::OK, &json!({"classes": ["email", "ip", "secret"]})));
    let (status, problem) = put_rules(&ada, &json!(["email", "shoe_size"])).await;
    assert_eq!((status, &problem["pointer"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("/classes/1")));

    let definition = json!({"kind": "react", "description": "Writes", "tools": ["json_query"]});
    let agent = ada.publish("mailer", &definition).await;
    let task = format!("Write to {EMAIL} at 203.0.113.7, card {CARD}, key {KEY}");
    let run = ada.run(&json!({"task": task, "agent": agent})).await;
    assert_eq!(run["answer"], format!("I write to {EMAIL} at 203.0.113.7, not to <EMAIL_7> <"), "{run}");
    assert_eq!(run["task"], task);
    let told: Vec<String> = stub.received().iter().map(|received| received.body.to_string()).collect();
    assert_eq!(told.len(), 2);
    for told in &told {
        assert!(!told.contains("canary") && !told.contains("203.0.113"), "{told}");
        assert!(told.contains("<EMAIL_1>") && told.contains("<IP_1>") && told.contains("<SECRET>"), "{told}");
        assert!(told.contains(CARD), "what nobody asked to be masked is as it was");
    }
    // The tool was called with what the placeholder stands for.
    let events = json!(ada.events(run["id"].as_str().unwrap(), 0).await).to_string();
    assert!(events.contains(&format!("[\\\"{EMAIL}\\\"]")), "{events}");
    assert!(!events.contains("<EMAIL_1>"), "{events}");
    // The journal does not depend on what is masked.
    put_rules(&ada, &json!([])).await;
    replays(&server, &ada, &run).await;
}

/// S44, of personal data and of secrets that people write where they should not.
#[tokio::test(flavor = "multi_thread")]
async fn what_people_write_is_in_no_log_in_the_clear() {
    let stub = StubModel::answering(|received: &Received| {
        let heard = received.body["messages"].to_string();
        if heard.contains("refuse") {
            // A provider that repeats what it was asked.
            return Answer::error(400, &format!("cannot do: {EMAIL} {CARD} {KEY} from 203.0.113.7"));
        }
        if heard.contains("\"role\":\"tool\"") {
            return Answer::text([EMAIL, " ", CARD, " ", KEY], 5, 2);
        }
        let document = json!({"a": EMAIL, "b": CARD, "c": KEY});
        Answer::call("json_query", &json!({"json": document, "path": "$.*"}), 5, 2)
    });
    let stub = stub.await.unwrap();
    let server = Server::with(&[
        ("POWERHOUSE__MODEL__BASE_URL", &stub.base_url()),
        ("POWERHOUSE__MODEL__NAME", "stub-1"),
        ("POWERHOUSE__MODEL__API_KEY", "sk-another-0123456789"),
        ("POWERHOUSE__LOG__FILTER", "trace"),
    ]);
    let ada = server.tenant("acme").await;
    let definition = json!({"kind": "react", "description": "Looks", "tools": ["json_query"]});
    let agent = ada.publish("looker", &definition).await;
    for (task, status) in [("look", "succeeded"), ("refuse", "failed")] {
        let task = format!("{task}: {EMAIL}, {CARD}, {KEY}");
        let run = ada.run(&json!({"task": task, "agent": agent})).await;
        assert_eq!(run["status"], status, "{run}");
    }
    let query = format!("limit={}&cursor={}&key={KEY}", EMAIL.replace('@', "%40"), CARD.replace(' ', "+"));
    let asked = ada.request(Method::GET, &format!("/v1/runs?{query}"));
    let asked = asked.header("x-note", format!("{EMAIL} {CARD}")).header("x-key", KEY).send().await.unwrap();
    assert!(asked.status().is_client_error());
    let log = server.log();
    assert!(log.contains("cannot do: <EMAIL> <CARD> <SECRET> from <IP>"), "{log}");
    assert!(log.len() > 10_000, "the log is at its loudest");
    let encoded = [EMAIL.replace('@', "%40"), CARD.replace(' ', "+"), CARD.replace(' ', "%20")];
    for canary in encoded.iter().map(String::as_str).chain([EMAIL, CARD, KEY, "203.0.113.7"]) {
        let at = log.find(canary);
        assert!(at.is_none(), "{}", &log[at.unwrap_or(0).saturating_sub(300)..at.unwrap_or(0)]);
    }
}
