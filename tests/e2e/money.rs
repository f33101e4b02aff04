//! Budgets, prices and usage, as a caller has them.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::server::{Caller, Server};

const OFFLINE: &str = "powerhouse-offline";

/// A million tokens of the offline model cost a dollar from now on, instead of nothing.
async fn priced(ada: &Caller) {
    let price = json!({"model": OFFLINE, "effective_from": "2026-01-01T00:00:00Z", "input_micros": 1_000_000,
        "output_micros": 1_000_000});
    let answer =
        ada.request(Method::PUT, "/v1/prices").json(&json!({"items": [price]})).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

async fn csv(ada: &Caller, query: &str) -> String {
    let request = ada.request(Method::GET, &format!("/v1/usage{query}")).header("accept", "text/csv");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/csv; charset=utf-8; header=present");
    assert_eq!(answer.headers()["vary"], "Accept");
    answer.text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_cost_is_in_the_usage_as_json_and_as_csv() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    assert_eq!(ada.get("/v1/usage").await, json!({"items": []}));
    assert_eq!(csv(&ada, "").await, "day,calls,input_tokens,output_tokens,cost_micros\r\n");
    let free = ada.run(&json!({"task": "Say something"})).await;
    assert_eq!(free["usage"]["cost_micros"], 0, "the offline model costs nothing");
    priced(&ada).await;
    let paid = ada.run(&json!({"task": "Say something"})).await;
    let tokens = |run: &Value, way: &str| run["usage"][format!("{way}_tokens")].as_u64().unwrap();
    assert_eq!(paid["usage"]["cost_micros"], tokens(&paid, "input") + tokens(&paid, "output"));

    let usage = ada.get("/v1/usage?group_by=model,user").await;
    let [sum] = usage["items"].as_array().unwrap().as_slice() else { panic!("{usage}") };
    assert_eq!((sum["model"].as_str(), sum["user"].as_str()), (Some(OFFLINE), paid["requested_by"].as_str()));
    assert!(sum.get("day").is_none() && sum.get("agent").is_none(), "{sum}");
    assert_eq!(sum["cost_micros"], paid["usage"]["cost_micros"]);
    assert_eq!(sum["input_tokens"], tokens(&free, "input") + tokens(&paid, "input"));
    let text = csv(&ada, "?group_by=agent,day,user,model").await;
    let lines: Vec<&str> = text.split("\r\n").collect();
    assert_eq!(lines[0], "day,agent,user,model,calls,input_tokens,output_tokens,cost_micros");
    let row: Vec<&str> = lines[1].split(',').collect();
    assert_eq!((row[1], row[3]), (paid["selection"]["agent"].as_str().unwrap(), OFFLINE), "{text}");
    assert_eq!(row[7], paid["usage"]["cost_micros"].to_string());
    assert_eq!(lines.last(), Some(&""), "every line ends");
    assert_eq!(ada.get("/v1/usage?from=2020-01-01&to=2020-12-31").await, json!({"items": []}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_stops_what_it_has_no_room_for() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    priced(&ada).await;
    let body = json!({"scope": "tenant", "period": "day", "cap_micros": 5});
    let answer = ada.request(Method::POST, "/v1/budgets").json(&body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let tag = answer.headers()["etag"].to_str().unwrap().to_owned();
    let budget: Value = answer.json().await.unwrap();
    assert_eq!(budget["spent"], json!({"micros": 0, "tokens": 0}));
    assert!(budget["resets_at"].as_str() > budget["window_start"].as_str(), "{budget}");

    let refused = ada.run(&json!({"task": "Say something"})).await;
    assert_eq!(
        (&refused["status"], &refused["failure"]["code"]),
        (&json!("failed"), &json!("limit_reached"))
    );
    let message = refused["failure"]["message"].as_str().unwrap();
    assert!(
        message.contains(budget["id"].as_str().unwrap()) && message.contains("begins anew at"),
        "{message}"
    );

    // More, by whoever has read it last.
    let put = |tag: &str| {
        ada.request(Method::PUT, &location).header("if-match", tag).json(&json!({"cap_micros": 1_000_000}))
    };
    let answer = put(&tag).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(put(&tag).send().await.unwrap().status(), StatusCode::PRECONDITION_FAILED);
    let run = ada.run(&json!({"task": "Say something"})).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    let budget = ada.get(&location).await;
    assert_eq!(budget["spent"]["micros"], run["usage"]["cost_micros"]);
    assert_eq!(budget["reserved"], json!({"micros": 0, "tokens": 0}));
    assert_eq!(ada.get("/v1/budgets").await["items"], json!([budget]));
    let answer = ada.request(Method::DELETE, &location).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert_eq!(ada.get("/v1/budgets").await["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused() {
    let server = Server::start();
    let (ada, eve) = (server.tenant("acme").await, server.tenant("evil").await);
    let theirs = eve.agent("writer").await;
    let price = |model: &str, from: &str| json!({"model": model, "effective_from": from, "input_micros": 1, "output_micros": 1});
    let twice = json!([price("m", "2026-01-01T00:00:00Z"), price("m", "2026-01-01T01:00:00+01:00")]);
    let cases = [
        (Method::POST, "/v1/budgets", json!({"scope": "tenant", "period": "day"}), 422, "/cap_micros"),
        (
            Method::POST,
            "/v1/budgets",
            json!({"scope": "all", "period": "day", "cap_micros": 1}),
            422,
            "/scope",
        ),
        (
            Method::POST,
            "/v1/budgets",
            json!({"scope": "tenant", "period": "week", "cap_micros": 1}),
            422,
            "/period",
        ),
        (Method::POST, "/v1/budgets", json!({"scope": theirs, "period": "day", "cap_micros": 1}), 404, ""),
        (Method::PUT, "/v1/prices", json!({"items": twice}), 422, "/items/1"),
        (
            Method::PUT,
            "/v1/prices",
            json!({"items": [price("", "2026-01-01T00:00:00Z")]}),
            422,
            "/items/0/model",
        ),
        (Method::PUT, "/v1/prices", json!({"items": [price("m", "now")]}), 422, "/items/0/effective_from"),
        (Method::GET, "/v1/usage?from=2026-01-02&to=2026-01-01", Value::Null, 422, "/from"),
        (Method::GET, "/v1/usage?from=2020-01-01&to=2026-01-01", Value::Null, 422, "/from"),
        (Method::GET, "/v1/usage?from=yesterday", Value::Null, 400, ""),
        (Method::GET, "/v1/usage?group_by=mood", Value::Null, 400, ""),
        (Method::GET, "/v1/budgets/budget_x", Value::Null, 404, ""),
    ];
    for (method, path, body, status, pointer) in cases {
        let mut request = ada.request(method, path);
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{path} {body}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["pointer"].as_str().unwrap_or_default(), pointer, "{problem}");
    }
    assert_eq!(ada.get("/v1/prices").await["items"], json!([]), "nothing was stored");
}
