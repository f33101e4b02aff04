//! Runs that begin runs: teams and pipelines, over HTTP, on both databases.

use std::time::Duration;

use powerhouse_tests::stub_model::{Answer, Received, StubModel};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::postgres::{migrated, settings, urls};
use crate::replay::replays;
use crate::server::{Caller, PASSWORD, Server};

const MODEL: &str = "stub-1";
const PATIENCE: Duration = Duration::from_secs(30);

fn said(received: &Received) -> String {
    received.body["messages"].to_string()
}

/// Who is asked, by what it is told first.
fn role(received: &Received) -> String {
    received.body["messages"][0]["content"].as_str().unwrap_or_default().to_owned()
}

async fn office(caller: &Caller) -> String {
    let mut last = String::new();
    for name in ["lawyer", "engineer", "editor"] {
        let definition = json!({
            "kind": "direct", "description": name, "model": MODEL, "instructions": format!("You are the {name}.")
        });
        last = caller.publish(name, &definition).await;
    }
    last
}

async fn tree(caller: &Caller, id: &Value) -> Vec<Value> {
    let path = format!("/v1/runs/{}/tree", id.as_str().unwrap());
    caller.get(&path).await["items"].as_array().unwrap().clone()
}

/// A team and a pipeline, in full.
async fn formations_work(server: &Server, stub: &StubModel) {
    let caller = server.tenant("acme").await;
    let editor = office(&caller).await;
    let run = caller.run(&json!({"task": "May we?", "agent": editor, "team": ["lawyer", "engineer"]})).await;
    assert_eq!((&run["status"], &run["answer"]), (&json!("succeeded"), &json!("We may.")), "{run}");
    assert_eq!(run["formation"], json!({"team": ["lawyer", "engineer"]}));
    // Each call is 10 and 2.
    assert_eq!(run["usage"], json!({"input_tokens": 30, "output_tokens": 6, "cost_micros": 0}), "{run}");
    let asked = stub.received();
    let editors = asked.iter().filter(|asked| role(asked).contains("editor")).collect::<Vec<_>>();
    assert_eq!(editors.len(), 1);
    assert!(said(editors[0]).contains("The law allows it.") && said(editors[0]).contains("It can be built."));

    let family = tree(&caller, &run["id"]).await;
    let shown: Vec<_> = family.iter().map(|run| (run["depth"].as_u64().unwrap(), &run["status"])).collect();
    assert_eq!(shown, [(0, &json!("succeeded")), (1, &json!("succeeded")), (1, &json!("succeeded"))]);
    assert!(family[1..].iter().all(|begun| begun["parent"] == run["id"] && begun["root"] == run["id"]));
    assert_eq!(tree(&caller, &family[2]["id"]).await, family);
    let steps = caller.get(&format!("/v1/runs/{}/steps", run["id"].as_str().unwrap())).await;
    let begun = steps["items"].as_array().unwrap().iter().filter(|step| step["kind"] == "run");
    assert_eq!(begun.map(|step| &step["run"]).collect::<Vec<_>>(), [&family[1]["id"], &family[2]["id"]]);
    let told = caller.get(&format!("/v1/runs/{}/explain", run["id"].as_str().unwrap())).await;
    assert_eq!(told["cost"]["steps"], run["usage"], "{told}");

    let body = json!({"task": "Write.", "pipeline": ["lawyer", "engineer", "editor"]});
    let run = caller.run(&body).await;
    assert_eq!((&run["status"], &run["answer"]), (&json!("succeeded"), &json!("We may.")), "{run}");
    assert_eq!(run["selection"]["agent"], editor.as_str());
    let last = stub.received().pop().unwrap();
    assert!(said(&last).contains("The law allows it.") && said(&last).contains("It can be built."));
}

fn answer(received: &Received) -> Answer {
    let role = role(received);
    let text = if role.contains("lawyer") {
        "The law allows it."
    } else if role.contains("engineer") {
        "It can be built."
    } else {
        "We may."
    };
    Answer::text([text], 10, 2)
}

#[tokio::test(flavor = "multi_thread")]
async fn teams_and_pipelines_work_embedded() {
    let stub = StubModel::answering(answer).await.unwrap();
    formations_work(&Server::with_model(&stub.base_url()), &stub).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn teams_and_pipelines_work_on_two_replicas() {
    let stub = StubModel::answering(answer).await.unwrap();
    let own = migrated().await;
    let (urls, model) = (urls(&own), stub.base_url());
    let server = Server::with(&settings(&urls, &model));
    let _other = server.beside();
    formations_work(&server, &stub).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_for_others_takes_no_room() {
    let stub = StubModel::answering(answer).await.unwrap();
    let base_url = stub.base_url();
    let server = Server::with(&[
        ("POWERHOUSE__MODEL__BASE_URL", base_url.as_str()),
        ("POWERHOUSE__WORKER__CONCURRENCY", "1"),
        ("POWERHOUSE__WORKER__FOR_NEWCOMERS", "0"),
    ]);
    let caller = server.tenant("acme").await;
    let editor = office(&caller).await;
    let body = json!({"task": "May we?", "agent": editor, "team": ["lawyer", "engineer", "editor"]});
    let runs = futures::future::join_all((0..4).map(|_| caller.run(&body))).await;
    assert!(runs.iter().all(|run| run["status"] == "succeeded"), "{runs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_has_begun_is_cancelled_with_it_and_dropped_in_flight() {
    let stub = StubModel::answering(|received| {
        if role(received).contains("lawyer") { Answer::stream().hang() } else { answer(received) }
    })
    .await
    .unwrap();
    let server = Server::with_model(&stub.base_url());
    let caller = server.tenant("acme").await;
    let editor = office(&caller).await;
    let body = json!({"task": "May we?", "agent": editor, "team": ["lawyer", "engineer"]});
    let run = caller.post("/v1/runs", &body).await;
    let state = async || {
        let family = tree(&caller, &run["id"]).await;
        family.iter().map(|run| run["status"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let reached = async |expected: [&str; 3]| {
        tokio::time::timeout(PATIENCE, async {
            while state().await != expected {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await
    };
    reached(["waiting", "running", "succeeded"]).await.unwrap();
    caller.post(&format!("/v1/runs/{}/cancel", run["id"].as_str().unwrap()), &Value::Null).await;
    reached(["cancelled", "cancelled", "succeeded"]).await.unwrap();
    tokio::time::timeout(PATIENCE, async {
        while stub.deserted() == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_formation_that_cannot_work_is_refused() {
    let server = Server::start();
    let caller = server.tenant("acme").await;
    let editor = office(&caller).await;
    caller
        .post("/v1/agents", &json!({"name": "draft", "definition": {"kind": "direct", "description": "d"}}))
        .await;
    for (body, pointer) in [
        (json!({"team": ["lawyer"]}), "/agent"),
        (json!({"team": [], "agent": editor}), "/team"),
        (json!({"team": ["nobody"], "agent": editor}), "/team/0"),
        (json!({"team": ["lawyer", "Not a name"], "agent": editor}), "/team/1"),
        (json!({"pipeline": ["lawyer", "draft"]}), "/pipeline/1"),
        (json!({"pipeline": ["lawyer"], "agent": editor}), "/pipeline"),
        (json!({"pipeline": ["lawyer"], "team": ["lawyer"]}), "/pipeline"),
    ] {
        let mut body = body;
        body["task"] = json!("Go.");
        let answer = caller.request(Method::POST, "/v1/runs").json(&body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["pointer"], pointer, "{body}: {problem}");
    }
}

/// A team that is saved as an agent is chosen and scored like any other, with the reason and the probabilities.
#[tokio::test(flavor = "multi_thread")]
async fn a_saved_team_is_chosen_like_an_agent() {
    let stub = StubModel::answering(|received: &Received| {
        Answer::text([if role(received).contains("chair") { "We decided." } else { "Agreed." }], 10, 2)
    });
    let stub = stub.await.unwrap();
    let server = Server::with_model(&stub.base_url());
    let caller = server.tenant("acme").await;
    office(&caller).await;
    let definition = |before: &Value, name: &str| {
        let mut definition = json!({"kind": "direct", "model": MODEL, "instructions": "You are the chair.",
            "description": "Decides whether contracts on ships are signed"});
        definition[name] = before.clone();
        definition
    };
    let board = caller.publish("board", &definition(&json!(["lawyer", "engineer"]), "team")).await;
    let task = json!({"task": "Decides on contracts: ships are signed for?"});
    let run = caller.run(&task).await;
    assert_eq!((&run["selection"]["agent"], &run["answer"]), (&json!(board), &json!("We decided.")), "{run}");
    assert_eq!(run["formation"], json!({"team": ["lawyer", "engineer"]}));
    assert!(run["selection"]["propensity"].as_f64().unwrap() > 0.0, "{run}");
    let reason = run["selection"]["reason"].as_str().unwrap();
    assert!(
        reason.contains("`board`") && reason.contains("a team: lawyer, engineer work before it"),
        "{reason}"
    );
    assert_eq!(tree(&caller, &run["id"]).await.len(), 3);
    let chairs = stub.received().iter().filter(|asked| role(asked).contains("chair")).count();
    assert_eq!(chairs, 1);

    // Named, and begun by another, it is the same; a caller's own formation goes before.
    let run = caller.run(&json!({"task": "Go", "agent": board})).await;
    assert_eq!(run["formation"], json!({"team": ["lawyer", "engineer"]}));
    let run = caller.run(&json!({"task": "Go", "agent": board, "team": ["editor"]})).await;
    assert_eq!(run["formation"], json!({"team": ["editor"]}));
    let run = caller.run(&json!({"task": "Go", "pipeline": ["editor", "board"]})).await;
    assert_eq!(run["formation"], json!({"pipeline": ["editor"]}));
    let run =
        caller.run(&json!({"task": "Go", "team": ["board"], "agent": caller.agent("editor").await})).await;
    assert_eq!(tree(&caller, &run["id"]).await.len(), 4, "the board's run has its team");

    // Without one of its members it is not there to be chosen.
    caller.publish("committee", &definition(&json!(["nobody"]), "pipeline")).await;
    let refused = caller
        .request(Method::POST, "/v1/runs")
        .json(&json!({"task": "Decides on contracts", "candidates": [caller.agent("committee").await]}));
    assert_eq!(refused.send().await.unwrap().status(), StatusCode::CONFLICT);
    let both = json!({"name": "both", "definition": {"kind": "direct", "description": "d", "team": ["a"], "pipeline": ["b"]}});
    let refused = caller.request(Method::POST, "/v1/agents").json(&both).send().await.unwrap();
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["pointer"], "/definition/pipeline", "{problem}");
}

/// Who may run an agent is decided by what whoever asked is when its run begins, not when they asked; and so for a fork by who forks.
#[tokio::test(flavor = "multi_thread")]
async fn a_listed_agent_begins_only_if_whoever_asked_may_run_it_then() {
    let stub = StubModel::answering(|received: &Received| match role(received) {
        role if role.contains("careful") && !said(received).contains("tool_call_id") => {
            Answer::call("calculator", &json!({"expression": "1 + 1"}), 10, 2)
        }
        role if role.contains("hand tasks to specialists") => {
            Answer::text([r#"{"reason": "money", "agent": "billing"}"#], 10, 2)
        }
        role if role.contains("You are billing") => Answer::text(["It is paid."], 10, 2),
        _ => Answer::text(["Go ahead."], 10, 2),
    });
    let stub = stub.await.unwrap();
    let server = Server::with_model(&stub.base_url());
    let ada = server.tenant("acme").await;
    let definition = |kind: &str, more: Value| {
        let mut definition = json!({"kind": kind, "description": "d", "model": MODEL});
        definition.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        definition
    };
    ada.publish("billing", &definition("direct", json!({"instructions": "You are billing."}))).await;
    let waits =
        json!({"instructions": "You are careful.", "tools": ["calculator"], "approvals": ["calculator"]});
    ada.publish("careful", &definition("react", waits)).await;
    let listed = json!([{"name": "billing", "description": "Questions on invoices"}]);
    ada.publish("desk", &definition("router", json!({ "agents": listed }))).await;
    let user =
        json!({"email": "bob@example.org", "display_name": "Bob", "role": "member", "password": PASSWORD});
    let member = ada.post("/v1/users", &user).await;
    let member = format!("/v1/users/{}", member["id"].as_str().unwrap());
    let bob = server.sign_in_as("acme", "bob@example.org").await;

    // The first stage waits for a person; meanwhile Bob becomes what `change` makes of him.
    let body = json!({"task": "Is it paid?", "pipeline": ["careful", "desk"]});
    let ends = async |change: Option<(Method, Value)>| {
        let run = bob.post("/v1/runs", &body).await;
        let open = timeout(PATIENCE, async {
            loop {
                let open = ada.get("/v1/approvals?state=open").await["items"][0]["id"].clone();
                match open.as_str() {
                    Some(open) => return open.to_owned(),
                    None => sleep(Duration::from_millis(10)).await,
                }
            }
        });
        let open = open.await.unwrap();
        if let Some((method, change)) = change {
            let request = ada.request(method, &member);
            let request = if change.is_null() { request } else { request.json(&change) };
            let changed = request.send().await.unwrap();
            assert!(changed.status().is_success(), "{}", changed.text().await.unwrap());
        }
        ada.post(&format!("/v1/approvals/{open}/answer"), &json!({"decision": "approve"})).await;
        ada.ended(run["id"].as_str().unwrap()).await
    };
    let told = async |run: &Value| {
        let told = ada.get(&format!("/v1/runs/{}/explain", run["id"].as_str().unwrap())).await;
        let steps = told["steps"].as_array().unwrap().clone();
        steps.into_iter().find(|step| step["name"] == "billing").expect("it asks for billing")
    };
    let of_billing =
        || stub.received().iter().filter(|asked| role(asked).contains("You are billing")).count();

    let run = ends(Some((Method::PATCH, json!({"role": "viewer"})))).await;
    assert_eq!(run["failure"]["code"], "agent_without_answer", "{run}");
    let refused = told(&run).await;
    assert_eq!((&refused["kind"], &refused["status"]), (&json!("run"), &json!("failed")), "{refused}");
    assert_eq!(refused["barred"], json!({"action": "runs.create", "role": "viewer"}), "{refused}");
    assert_eq!((tree(&ada, &run["id"]).await.len(), of_billing()), (2, 0), "only `careful` has begun");
    replays(&server, &ada, &run).await;

    // Ada may: what counts in a fork is who forks.
    let path = format!("/v1/runs/{}/fork", run["id"].as_str().unwrap());
    let fork = ada.post(&path, &json!({"step": refused["key"]})).await;
    let fork = ada.ended(fork["id"].as_str().unwrap()).await;
    assert_eq!((&fork["answer"], of_billing()), (&json!("It is paid."), 1), "{fork}");

    let again = ada.request(Method::PATCH, &member).json(&json!({"role": "member"})).send().await.unwrap();
    assert!(again.status().is_success());
    let run = ends(None).await;
    assert_eq!((&run["answer"], of_billing()), (&json!("It is paid."), 2), "{run}");
    assert_eq!(told(&run).await["barred"], Value::Null);

    let run = ends(Some((Method::DELETE, Value::Null))).await;
    assert_eq!(told(&run).await["barred"], json!({"action": "runs.create", "role": null}), "{run}");
    assert_eq!(of_billing(), 2);
}
