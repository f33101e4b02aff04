//! Conversation threads over HTTP, on both databases: what was said before is seen, shortened, replayed and forked.

use std::time::Duration;

use powerhouse_tests::stub_model::{Answer, Received, StubModel};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::postgres::{migrated, settings, urls};
use crate::server::{Caller, PASSWORD, Server, binary};

const MODEL: &str = "stub-1";

fn said(received: &Received) -> Vec<(String, String)> {
    let messages = received.body["messages"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    messages.iter().map(|message| (text(&message["role"]), text(&message["content"]))).collect()
}

/// Answers with the number of the question; a question of `long` gets a long answer; a summary is said to be one.
fn speak(received: &Received) -> Answer {
    let said = said(received);
    let (_, last) = said.last().unwrap();
    if last.starts_with("Summarise") {
        return Answer::text(["They count."], 50, 5);
    }
    if last == "fail" {
        return Answer::error(400, "no");
    }
    if last == "slow" {
        return Answer::text(["slowly"], 10, 2).after(Duration::from_secs(2));
    }
    let answer = if last.contains("long") { "x".repeat(12_000) } else { format!("answer to {last}") };
    Answer::text([answer.as_str()], 10, 2)
}

async fn refused(caller: &Caller, body: &Value) -> (StatusCode, Value) {
    let answer = caller.request(Method::POST, "/v1/runs").json(body).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

async fn conversations_work(server: &Server, stub: &StubModel) {
    let ada = server.tenant("acme").await;
    let agent =
        ada.publish("talker", &json!({"kind": "direct", "description": "Talks", "model": MODEL})).await;
    let thread = ada.post("/v1/threads", &json!({"title": "Counting"})).await;
    let path = format!("/v1/threads/{}", thread["id"].as_str().unwrap());
    let say = |task: &str| json!({"task": task, "agent": agent, "thread": thread["id"]});

    // A run sees what was said, and what was not answered is not there.
    let first = ada.run(&say("one")).await;
    assert_eq!((&first["thread"], &first["turn"]), (&thread["id"], &json!(1)), "{first}");
    let failed = ada.run(&say("fail")).await;
    assert_eq!((&failed["status"], &failed["turn"]), (&json!("failed"), &json!(2)));
    let third = ada.run(&say("three")).await;
    let seen = said(&stub.received().pop().unwrap());
    let pair = |role: &str, text: &str| (role.to_owned(), text.to_owned());
    assert_eq!(seen, [pair("user", "one"), pair("assistant", "answer to one"), pair("user", "three")]);
    let whole = ada.get(&path).await;
    let turns = whole["turns"].as_array().unwrap();
    let told: Vec<_> = turns.iter().map(|turn| (turn["number"].as_u64().unwrap(), &turn["answer"])).collect();
    assert_eq!(told, [(1, &json!("answer to one")), (3, &json!("answer to three"))], "{whole}");
    assert_eq!((&whole["runs"], &whole["last_run"]), (&json!(3), &third["id"]));
    let page = ada.get(&format!("{path}?limit=1")).await;
    let rest = ada.get(&format!("{path}?cursor={}", page["next_cursor"].as_str().unwrap())).await;
    assert_eq!((&page["turns"][0]["number"], &rest["turns"][0]["number"]), (&json!(1), &json!(3)));

    // One run at a time.
    let slow = ada.post("/v1/runs", &say("slow")).await;
    let (status, problem) = refused(&ada, &say("five")).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("thread_busy")), "{problem}");
    let cancelled = ada.post(&format!("/v1/runs/{}/cancel", slow["id"].as_str().unwrap()), &json!({})).await;
    assert_eq!(cancelled["status"], "cancelled");

    // Older turns are summarised once they are too long, and the summary serves from then on.
    for number in 0..5 {
        ada.run(&say(&format!("long {number}"))).await;
    }
    let long = ada.run(&say("six")).await;
    let told = ada.get(&format!("/v1/runs/{}/steps", long["id"].as_str().unwrap())).await;
    let purposes: Vec<_> =
        told["items"].as_array().unwrap().iter().map(|step| step["name"].as_str().unwrap()).collect();
    assert_eq!(purposes, ["summarise_thread", "answer"], "{told}");
    assert_eq!(long["usage"]["input_tokens"], 60, "the summary is paid for by the run");
    let seen = said(&stub.received().pop().unwrap());
    assert!(seen[0].1.contains("They count."), "{}", seen[0].1);
    assert_eq!(seen.iter().filter(|(_, text)| text.starts_with("long")).count(), 4);
    let whole = ada.get(&path).await;
    assert_eq!(whole["summary"]["text"], "They count.", "{}", whole["summary"]);
    let calls = stub.received().len();
    ada.run(&say("seven")).await;
    let asked = stub.received();
    assert!(said(asked.last().unwrap())[0].1.contains("They count."));
    assert!(asked.len() <= calls + 2);

    // The run is replayed, and forked, as it was, though the thread is gone.
    ada.request(Method::DELETE, &path).send().await.unwrap().error_for_status().unwrap();
    let answer = ada.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    let mut replay = binary(server.folder());
    replay.args(["replay", long["id"].as_str().unwrap()]).env("POWERHOUSE_URL", &server.base);
    replay.env("POWERHOUSE_TENANT", "acme").env("POWERHOUSE_EMAIL", "ada@example.org");
    let output = replay.env("POWERHOUSE_PASSWORD", PASSWORD).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && shown.contains("same: 2 steps"), "{shown}");
    let calls = stub.received().len();
    let fork = format!("/v1/runs/{}/fork", long["id"].as_str().unwrap());
    let forked = ada.post(&fork, &json!({"step": "1"})).await;
    let forked = ended(&ada, &forked).await;
    assert_eq!((&forked["answer"], &forked["thread"]), (&long["answer"], &Value::Null), "{forked}");
    let asked = stub.received();
    assert_eq!(asked.len(), calls + 1, "the summary is not made again");
    assert_eq!(said(asked.last().unwrap()), seen);

    // Nobody else goes on with it, whoever may see it.
    let thread = ada.post("/v1/threads", &json!({})).await;
    let user =
        json!({"email": "bob@example.org", "display_name": "Bob", "role": "admin", "password": PASSWORD});
    let id = ada.post("/v1/users", &user).await["id"].as_str().unwrap().to_owned();
    let bob = server.sign_in_as("acme", "bob@example.org").await;
    bob.get(&format!("/v1/threads/{}", thread["id"].as_str().unwrap())).await;
    let body = json!({"task": "one", "agent": agent, "thread": thread["id"]});
    assert_eq!(refused(&bob, &body).await.0, StatusCode::FORBIDDEN);
    let (status, problem) = refused(&ada, &json!({"task": "one", "agent": agent, "thread": "run_1"})).await;
    assert_eq!((status, &problem["pointer"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("/thread")));

    // Who goes takes their threads along.
    let theirs = bob.post("/v1/threads", &json!({})).await;
    ada.request(Method::DELETE, &format!("/v1/users/{id}")).send().await.unwrap().error_for_status().unwrap();
    let path = format!("/v1/threads/{}", theirs["id"].as_str().unwrap());
    assert_eq!(ada.request(Method::GET, &path).send().await.unwrap().status(), StatusCode::NOT_FOUND);
}

async fn ended(caller: &Caller, run: &Value) -> Value {
    for _ in 0..500 {
        let run = caller.get(&format!("/v1/runs/{}", run["id"].as_str().unwrap())).await;
        if run["ended_at"].is_string() {
            return run;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it does not end: {run}");
}

#[tokio::test(flavor = "multi_thread")]
async fn conversations_work_embedded() {
    let stub = StubModel::answering(speak).await.unwrap();
    conversations_work(&Server::with_model(&stub.base_url()), &stub).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conversations_work_on_two_replicas() {
    let stub = StubModel::answering(speak).await.unwrap();
    let own = migrated().await;
    let (urls, model) = (urls(&own), stub.base_url());
    let server = Server::with(&settings(&urls, &model));
    let _other = server.beside();
    conversations_work(&server, &stub).await;
}
