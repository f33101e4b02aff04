//! The audit trail: that every change leaves a record, and that an export shows whatever was done to it.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::isolation::{Operation, Property, body, operations};
use crate::server::{Caller, PASSWORD, Server, binary};

/// What changes something and leaves no record, and why.
const UNRECORDED: [(&str, &str); 2] = [
    ("create_run", "a run's own journal says who asked for it, and begins in the same transaction"),
    ("refresh_session", "the session goes on as it was; a token that comes back leaves a record"),
];

/// The records that a request left.
async fn left_by(caller: &Caller, request: &str) -> Vec<Value> {
    let page = caller.get("/v1/audit?limit=100").await;
    let records = page["items"].as_array().unwrap();
    records.iter().filter(|record| record["correlation_id"] == request).cloned().collect()
}

/// Brings things to where the operation can do what it is for.
async fn prepare(ada: &Caller, operation: &str, property: &mut Property) {
    if ["cancel_run", "pause_run", "resume_run"].contains(&operation) {
        let later = (Utc::now() + TimeDelta::hours(1)).to_rfc3339();
        let run = json!({"task": "Later", "agent": property.agent, "not_before": later});
        ada.post("/v1/runs", &run).await["id"].as_str().unwrap().clone_into(&mut property.run);
    }
    match operation {
        "resume_run" => drop(ada.post(&format!("/v1/runs/{}/pause", property.run), &Value::Null).await),
        "resume_schedule" => {
            drop(ada.post(&format!("/v1/schedules/{}/pause", property.schedule), &Value::Null).await);
        }
        "publish_agent" => {
            let agent = body("update_agent", &property.agent);
            let path = format!("/v1/agents/{}", property.agent);
            assert!(ada.request(Method::PUT, &path).json(&agent).send().await.unwrap().status().is_success());
        }
        "replay_webhook_delivery" => {
            let path = format!("/v1/webhooks/{}/deliveries", property.webhook);
            while ada.get(&path).await["items"][0]["status"] == "pending" {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        _ => {}
    }
}

async fn does(caller: &Caller, operation: &Operation, property: &Property, number: u32) -> String {
    let request = format!("{}-{number}", operation.id);
    let mut sent = caller.request(operation.method.clone(), &property.path(operation));
    if operation.has_body {
        let mut body = body(&operation.id, &property.agent);
        match operation.id.as_str() {
            "create_agent" => body["name"] = json!("another"),
            "update_user" => body["role"] = json!("operator"),
            _ => {}
        }
        sent = sent.json(&body);
    }
    let answer = sent.header("x-correlation-id", &request).send().await.unwrap();
    let status = answer.status();
    assert!(status.is_success(), "{request}: {status} {}", answer.text().await.unwrap());
    request
}

/// The operations come from the OpenAPI document, so that a new one cannot be forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn every_operation_that_changes_something_leaves_a_record() {
    let server =
        Server::with(&[("POWERHOUSE__MODEL__PROVIDER", "offline"), ("POWERHOUSE__WEBHOOKS__RETRIES", "1")]);
    let ada = server.tenant("acme").await;
    let mut walked = 0;
    for (number, operation) in (0..).zip(operations(&server).await) {
        if operation.method == Method::GET || UNRECORDED.iter().any(|(id, _)| *id == operation.id) {
            continue;
        }
        // The tenant itself has these.
        if ["create_tenant", "create_session"].contains(&operation.id.as_str()) {
            continue;
        }
        assert!(operation.is_guarded, "say in this test who did `{}`", operation.id);
        let mut property = Property::numbered(&ada, number).await;
        prepare(&ada, &operation.id, &mut property).await;
        let elsewhere;
        let caller = if operation.id == "delete_session" {
            elsewhere = server.sign_in("acme").await;
            &elsewhere
        } else {
            &ada
        };
        let request = does(caller, &operation, &property, number).await;
        let left = left_by(&ada, &request).await;
        assert_eq!(left.len(), 1, "{request} left {left:?}: see `audited::commit` in the use cases");
        assert_eq!(left[0]["actor"], ada.get("/v1/me").await["user"]["id"], "{left:?}");
        assert!(left[0]["session"].as_str().unwrap().starts_with("session_"), "{left:?}");
        walked += 1;
        // A tenant has few of them.
        let Property { webhook, provider, collection, .. } = &property;
        for path in [
            format!("/v1/webhooks/{webhook}"),
            format!("/v1/model-providers/{provider}"),
            format!("/v1/collections/{collection}"),
        ] {
            ada.request(Method::DELETE, &path).send().await.unwrap();
        }
    }
    assert!(walked >= 29, "{walked} operations were walked");

    // Nothing of what people write is in it.
    let trail = export(&ada, "").await;
    for word in ["canary4711", "hooks.invalid", "llm.invalid", PASSWORD, "Do it", "example.org", "Eve"] {
        assert!(!trail.contains(word), "{word}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_up_in_and_out_and_a_token_that_comes_back_leave_records() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    let refresh = async |token: &Value| -> (StatusCode, Value) {
        let sent =
            Client::new().post(server.url("/v1/sessions/refresh")).json(&json!({ "refresh_token": token }));
        let answer = sent.header("x-correlation-id", "refreshing").send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    };
    let other = server.sign_in("acme").await;
    let first = other.session["refresh_token"].clone();
    let second = refresh(&first).await.1["refresh_token"].clone();
    refresh(&second).await;
    assert_eq!(left_by(&ada, "refreshing").await, Vec::<Value>::new(), "refreshing leaves none");
    assert_eq!(refresh(&first).await.0, StatusCode::UNAUTHORIZED);
    let wrong = json!({"tenant": "acme", "email": "ada@example.org", "password": "wrong horse battery"});
    for _ in 0..3 {
        Client::new().post(server.url("/v1/sessions")).json(&wrong).send().await.unwrap();
    }
    ada.request(Method::DELETE, "/v1/sessions/current").send().await.unwrap();

    let ada = server.sign_in("acme").await;
    let page = ada.get("/v1/audit").await;
    let records = page["items"].as_array().unwrap();
    let actions: Vec<_> = records.iter().rev().map(|record| record["action"].as_str().unwrap()).collect();
    let opened = "session.opened";
    assert_eq!(
        actions,
        ["tenant.founded", opened, opened, "session.refresh_reused", "session.ended", opened]
    );
    assert_eq!(records[2]["correlation_id"], "refreshing");
    assert_eq!(page["head"]["hash"], records[0]["hash"]);
    assert_eq!(page["head"]["seq"], 6);
}

async fn export(caller: &Caller, query: &str) -> String {
    let sent =
        caller.request(Method::GET, &format!("/v1/audit{query}")).header("accept", "application/x-ndjson");
    let answer = sent.send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    answer.text().await.unwrap()
}

fn verify(folder: &Path, text: &str, arguments: &[&str]) -> (bool, String) {
    let file: PathBuf = folder.join("audit.ndjson");
    std::fs::write(&file, text).unwrap();
    let output: Output =
        binary(folder).args(["audit", "verify"]).arg(&file).args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_verified_without_the_server_and_what_was_done_to_it_is_found() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    for number in 0..4 {
        let user = json!({"email": format!("user-{number}@example.org"), "display_name": "U", "role": "member",
            "password": PASSWORD});
        ada.post("/v1/users", &user).await;
    }
    let noted = ada.get("/v1/audit?limit=1").await["head"]["hash"].as_str().unwrap().to_owned();
    server.sign_in("acme").await;
    let text = export(&ada, "").await;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 7);
    let folder = tempfile::tempdir().unwrap();
    let check = |text: &str, arguments: &[&str]| verify(folder.path(), text, arguments);
    let head = ada.get("/v1/audit?limit=1").await["head"]["hash"].as_str().unwrap().to_owned();
    for arguments in [&[][..], &["--head", &head], &["--head", &noted]] {
        let (is_whole, said) = check(&text, arguments);
        assert!(is_whole && said.contains("Records 1 to 7 of tenant_"), "{arguments:?}: {said}");
        assert!(said.contains(&format!("\nhead {head}\n")), "{said}");
    }

    // One byte.
    let tampered = text.replacen("member", "memger", 1);
    let (is_whole, said) = check(&tampered, &[]);
    assert!(!is_whole && said.contains("line 3: the trail is broken"), "{said}");
    assert!(said.contains("record 3: its content was changed after it was written"), "{said}");
    let (is_whole, said) = check(&text.replacen("{\"", "{ \"", 1), &[]);
    assert!(!is_whole && said.contains("line 1 is no audit record, or was changed"), "{said}");
    // A line taken out, and two that changed places.
    let without = |index: usize| [&lines[..index], &lines[index + 1..]].concat().join("\n");
    let (is_whole, said) = check(&without(3), &[]);
    assert!(!is_whole && said.contains("record 5: record 4 should come here"), "{said}");
    let mut swapped = lines.clone();
    swapped.swap(4, 5);
    assert!(!check(&swapped.join("\n"), &[]).0);
    // The end cut off: the records fit, but lead elsewhere.
    assert!(check(&without(6), &["--head", &noted]).0, "what was noted is older");
    let (is_whole, said) = check(&without(6), &["--head", &head]);
    assert!(!is_whole && said.contains("do not lead to the head that you know"), "{said}");
    // The beginning left out: as if it were not kept any more, which is said.
    let (is_whole, said) = check(&without(0), &[]);
    assert!(is_whole && said.contains("They follow record 1, which is not among them"), "{said}");
    let (is_whole, said) = check("", &[]);
    assert!(!is_whole && said.contains("has no audit record"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_is_filtered_and_paged_and_an_export_is_not() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    let agent = ada.agent("assistant").await;
    let definition = json!({"definition": {"kind": "direct", "description": "Does it"}});
    let path = format!("/v1/agents/{agent}");
    assert!(ada.request(Method::PUT, &path).json(&definition).send().await.unwrap().status().is_success());
    ada.post(&format!("{path}/publish"), &Value::Null).await;
    let found = ada.get(&format!("/v1/audit?resource={agent}&action=agent.edited")).await;
    let [edited] = found["items"].as_array().unwrap().as_slice() else { panic!("{found}") };
    let changed = "description, kind, parameters, instructions, tools, examples, limits";
    assert_eq!(edited["details"], json!({"changed": changed, "version": "1"}));
    let mut found = Vec::new();
    let mut next = "/v1/audit?limit=1".to_owned();
    loop {
        let page = ada.get(&next).await;
        found.push(page["items"][0]["action"].as_str().unwrap().to_owned());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        next = format!("/v1/audit?limit=1&cursor={cursor}");
    }
    assert_eq!(found, ["agent.published", "agent.edited", "session.opened", "tenant.founded"]);
    let since = edited["at"].as_str().unwrap();
    assert_eq!(export(&ada, &format!("?from={since}")).await.lines().count(), 2);
    assert_eq!(export(&ada, &format!("?until={since}")).await.lines().count(), 2);

    for (query, accept, said) in [
        ("?action=agent.eaten", "application/json", "/action"),
        ("?actor=somebody", "application/json", "/actor"),
        ("?resource=%00", "application/json", "/resource"),
        ("?from=yesterday", "application/json", "/from"),
        ("?actor=platform", "application/x-ndjson", "/actor"),
    ] {
        let answer = ada
            .request(Method::GET, &format!("/v1/audit{query}"))
            .header("accept", accept)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        let problem = answer.text().await.unwrap();
        assert!(problem.contains(said), "{query}: {problem}");
    }
}
