//! What a newcomer does first: start, sign in, submit, watch, read.

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::server::{PASSWORD, Server, events};

#[tokio::test(flavor = "multi_thread")]
async fn the_first_owner_signs_in_submits_watches_and_reads_why() {
    let server = Server::start();
    assert!(server.greeting.contains("owner-password") && server.greeting.contains("offline"));
    let password = std::fs::read_to_string(server.folder().join("data/owner-password")).unwrap();
    assert!(!server.greeting.contains(password.trim()) && !server.log().contains(password.trim()));
    let body = json!({"tenant": "home", "email": "owner@localhost", "password": password.trim()});
    let http = Client::new();
    let answer = http.post(server.url("/v1/sessions")).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    let session: Value = answer.json().await.unwrap();
    let token = session["access_token"].as_str().unwrap();

    let answer = http
        .post(server.url("/v1/runs"))
        .bearer_auth(token)
        .header("accept", "text/event-stream")
        .json(&json!({"task": "What is 12.5 % of 380?"}))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let location = answer.headers()["content-location"].to_str().unwrap().to_owned();
    let events = events(&answer.text().await.unwrap());
    assert_eq!(
        events.iter().map(|(id, ..)| *id).collect::<Vec<_>>(),
        (1..=events.len() as u64).collect::<Vec<_>>()
    );
    assert_eq!(events[0].1, "run.queued");
    let (_, name, last) = events.last().unwrap();
    assert_eq!(
        (name.as_str(), last["answer"].as_str()),
        ("run.succeeded", Some("[offline model] (12.5 / 100) * 380 = 47.5"))
    );

    let run: Value =
        http.get(server.url(&location)).bearer_auth(token).send().await.unwrap().json().await.unwrap();
    assert_eq!(run["status"], "succeeded");
    assert!(run["selection"]["reason"].as_str().unwrap().contains("assistant"), "{run}");
    assert!(run["started_at"].as_str().unwrap() >= run["created_at"].as_str().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_is_bounded_and_said() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    let answer = ada
        .request(Method::POST, "/v1/runs")
        .header("prefer", "wait=20")
        .json(&json!({"task": "2 + 3"}))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (answer.status(), &answer.headers()["preference-applied"]),
        (StatusCode::OK, &"wait=20".parse().unwrap())
    );
    let run: Value = answer.json().await.unwrap();
    assert!(run["answer"].as_str().unwrap().ends_with("2 + 3 = 5"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_ends_on_the_offline_model() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    let kinds = ada.get("/v1/agent-kinds").await;
    let kinds: Vec<&str> =
        kinds["items"].as_array().unwrap().iter().map(|kind| kind["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds.len(), 30, "{kinds:?}");
    for kind in kinds {
        let name = kind.replace('_', "-");
        let tool = if kind == "rag" { "knowledge_search" } else { "calculator" };
        let definition = json!({"kind": kind, "description": "Tries a kind",
            "tools": [tool, "run_code", "memory_search", "memory_apply"],
            "agents": [{"name": "assistant", "description": "Answers questions"}]});
        let agent = ada.post("/v1/agents", &json!({"name": name, "definition": definition})).await;
        let id = agent["id"].as_str().unwrap();
        ada.post(&format!("/v1/agents/{id}/publish"), &Value::Null).await;
        let run = ada.run(&json!({"task": "What is 6 * 7?", "agent": id})).await;
        if kind == "sql_analyst" {
            // No tool of a database is built in.
            assert_eq!(run["failure"]["code"], "tools_missing", "{run}");
            continue;
        }
        if kind == "curriculum" {
            // What it proposes has no chance, so none is in the band.
            assert_eq!(run["failure"]["code"], "no_answer", "{run}");
            continue;
        }
        if kind == "meta_evolver" {
            // The task has no example.
            assert_eq!(run["failure"]["code"], "task_unusable", "{run}");
            continue;
        }
        assert_eq!(run["status"], "succeeded", "{kind}: {run}");
        assert!(run["answer"].as_str().unwrap().contains("[offline model]"), "{kind}: {run}");
        assert_eq!(run["selection"]["reason"], "named by the caller");
        let steps = ada.get(&format!("/v1/runs/{}/steps", run["id"].as_str().unwrap())).await;
        assert_eq!(steps["usage"], run["usage"], "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_refreshed_once_and_ended() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    let refresh = |token: Value| {
        let body = json!({ "refresh_token": token });
        Client::new().post(server.url("/v1/sessions/refresh")).json(&body).send()
    };
    let first = ada.session["refresh_token"].clone();
    let second: Value = refresh(first.clone()).await.unwrap().json().await.unwrap();
    let third: Value = refresh(second["refresh_token"].clone()).await.unwrap().json().await.unwrap();
    assert!(third["access_token"].is_string());
    // An old one: somebody has a copy. Nobody of the session goes on.
    assert_eq!(refresh(first).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(refresh(third["refresh_token"].clone()).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let me = |caller: &crate::server::Caller| caller.request(Method::GET, "/v1/me").send();
    assert_eq!(me(&ada).await.unwrap().status(), StatusCode::UNAUTHORIZED);

    let again = server.sign_in("acme").await;
    assert_eq!(me(&again).await.unwrap().status(), StatusCode::OK);
    let ended = again.request(Method::DELETE, "/v1/sessions/current").send().await.unwrap();
    assert_eq!(ended.status(), StatusCode::NO_CONTENT);
    assert_eq!(me(&again).await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_an_unknown_tenant_read_the_same() {
    let server = Server::start();
    server.tenant("acme").await;
    let mut said = Vec::new();
    for (tenant, email, password) in [
        ("acme", "ada@example.org", "wrong horse battery"),
        ("acme", "bob@example.org", PASSWORD),
        ("other", "ada@example.org", PASSWORD),
        ("no slug!", "no address", ""),
    ] {
        let body = json!({"tenant": tenant, "email": email, "password": password});
        let answer = Client::new().post(server.url("/v1/sessions")).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        let problem: Value = answer.json().await.unwrap();
        said.push((problem["code"].clone(), problem["detail"].clone()));
    }
    said.dedup();
    assert_eq!(said.len(), 1, "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_owner_stays_as_they_are_at_the_next_start() {
    let mut server = Server::start();
    let password =
        |server: &Server| std::fs::read_to_string(server.folder().join("data/owner-password")).unwrap();
    let first = password(&server);
    let http = Client::new();
    let sign_in = |server: &Server, email: &str| {
        let body = json!({"tenant": "home", "email": email, "password": first.trim()});
        http.post(server.url("/v1/sessions")).json(&body).send()
    };
    let session: Value = sign_in(&server, "owner@localhost").await.unwrap().json().await.unwrap();
    server.kill();
    server.restart();
    assert_eq!(password(&server), first);
    let answer =
        http.get(server.url("/v1/me")).bearer_auth(session["access_token"].as_str().unwrap()).send().await;
    assert_eq!(answer.unwrap().status(), StatusCode::OK, "the signing keys are the same");
    assert_eq!(sign_in(&server, "owner@localhost").await.unwrap().status(), StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_says_what_a_kind_is_costs_and_takes() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    let all = ada.get("/v1/agent-kinds").await;
    for kind in all["items"].as_array().unwrap() {
        let one = ada.get(&format!("/v1/agent-kinds/{}", kind["kind"].as_str().unwrap())).await;
        assert_eq!(one, *kind);
        let calls = &kind["model_calls"];
        assert!(calls["min"].as_u64() <= calls["max"].as_u64() && calls["formula"].is_string(), "{kind}");
    }
    let kind = ada.get("/v1/agent-kinds/self_consistency").await;
    assert_eq!(kind["sources"][0]["arxiv"], "2203.11171");
    assert_eq!(kind["sources"][0]["url"], "https://arxiv.org/abs/2203.11171");
    assert_eq!(kind["model_calls"], json!({"min": 5, "max": 5, "formula": "samples"}));
    assert_eq!((&kind["tools"], &kind["needed_tools"]), (&json!("never"), &json!([])));
    let samples = &kind["parameters"]["properties"]["samples"];
    assert_eq!(
        (&samples["minimum"], &samples["maximum"], &samples["default"]),
        (&json!(1), &json!(40), &json!(5))
    );
    let kind = ada.get("/v1/agent-kinds/sql_analyst").await;
    assert_eq!(
        (&kind["tools"], &kind["needed_tools"]),
        (&json!("needed"), &json!(["sql_schema", "sql_query"]))
    );

    let answer = ada.request(Method::GET, "/v1/agent-kinds/oracle").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    for (definition, pointer) in [
        (json!({"kind": "oracle"}), "/definition/kind"),
        (
            json!({"kind": "self_consistency", "parameters": {"samples": 41}}),
            "/definition/parameters/samples",
        ),
        (json!({"kind": "direct", "parameters": {"samples": 4}}), "/definition/parameters/samples"),
        (json!({"kind": "cascade", "parameters": {"models": ["a", ""]}}), "/definition/parameters/models/1"),
    ] {
        let mut definition = definition;
        definition["description"] = json!("Wrong");
        let body = json!({"name": "wrong", "definition": definition});
        let answer = ada.request(Method::POST, "/v1/agents").json(&body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "{pointer}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["pointer"], pointer, "{problem}");
    }
}
