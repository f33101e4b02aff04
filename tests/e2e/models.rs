//! Tenants' own providers of models, as a caller has them.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use powerhouse_tests::own_redis::OwnRedis;
use powerhouse_tests::stub_model::{Answer, Api, Received, StubModel};

use crate::server::{Caller, Server};

const KEY: &str = "sk-ant-canary-51c7";

/// A server that calls the stubs on this machine.
fn server() -> Server {
    Server::with(&[("POWERHOUSE__MODEL__PROVIDER", "offline"), ("POWERHOUSE__MODEL__ALLOW", "127.0.0.1")])
}

fn provider(name: &str, kind: &str, stub: &StubModel, models: &Value) -> Value {
    json!({"name": name, "kind": kind, "base_url": stub.base_url(), "key": {"secret": "llm"}, "models": models})
}

/// A tenant that has put its key in.
async fn with_key(server: &Server, slug: &str) -> Caller {
    let caller = server.tenant(slug).await;
    caller.post("/v1/secrets", &json!({"name": "llm", "value": KEY})).await;
    caller
}

async fn made(caller: &Caller, body: &Value) -> String {
    caller.post("/v1/model-providers", body).await["id"].as_str().unwrap().to_owned()
}

async fn agent(caller: &Caller, name: &str, model: &str) -> String {
    caller.publish(name, &json!({"kind": "direct", "description": "Answers", "model": model})).await
}

async fn put(caller: &Caller, id: &str, body: &Value) -> (StatusCode, Value) {
    let request = caller.request(Method::PUT, &format!("/v1/model-providers/{id}"));
    let answer = request.json(body).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

/// The first step of a run, explained.
async fn first_step(caller: &Caller, run: &Value) -> Value {
    let id = run["id"].as_str().unwrap();
    caller.get(&format!("/v1/runs/{id}/explain")).await["steps"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_own_provider_answers_its_agents_with_its_key() {
    let stub =
        StubModel::answering(|_: &Received| Api::Messages.text(["forty", "-two"], 7, 3)).await.unwrap();
    let server = server();
    let (ada, eve) = (with_key(&server, "acme").await, server.tenant("other").await);
    let model = json!([{"name": "claude-x", "max_output_tokens": 77}]);
    let id = made(&ada, &provider("own", "anthropic", &stub, &model)).await;
    let run = ada.run(&json!({"task": "6 × 7?", "agent": agent(&ada, "a", "claude-x").await})).await;
    assert_eq!(run["answer"], "forty-two", "{run}");
    let received = &stub.received()[0];
    assert_eq!((received.header("x-api-key"), &received.body["max_tokens"]), (Some(KEY), &json!(77)));
    let step = first_step(&ada, &run).await;
    assert_eq!((&step["model"], &step["routed"]["provider"]), (&json!("stub-1"), &json!("own")));

    // Nobody is shown the key, and nobody else has the provider.
    let shown = ada.get(&format!("/v1/model-providers/{id}")).await;
    assert_eq!((&shown["key"], &shown["name"]), (&json!({"secret": "llm"}), &json!("own")));
    let journal = json!(ada.events(run["id"].as_str().unwrap(), 0).await);
    let told = [shown, journal, ada.get("/v1/model-providers").await, ada.get("/v1/audit").await, step];
    assert!(told.iter().all(|told| !told.to_string().contains("canary")));
    assert!(!server.log().contains("canary"));
    let run = eve.run(&json!({"task": "Say something", "agent": agent(&eve, "a", "claude-x").await})).await;
    assert!(run["answer"].as_str().unwrap().starts_with("[offline model]"), "{run}");
    assert_eq!(stub.received().len(), 1);
    let names = |models: &Value| -> Vec<String> {
        let models = models["items"].as_array().unwrap().iter();
        models
            .map(|model| {
                format!("{}/{}", model["provider"].as_str().unwrap_or("-"), model["name"].as_str().unwrap())
            })
            .collect()
    };
    assert_eq!(names(&ada.get("/v1/models").await), ["own/claude-x", "-/powerhouse-offline"]);
    assert_eq!(names(&eve.get("/v1/models").await), ["-/powerhouse-offline"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_for_a_model_answers_while_its_provider_is_down() {
    let down = StubModel::answering(|_: &Received| Answer::error(503, "down")).await.unwrap();
    let up = StubModel::answering(|_: &Received| Answer::text(["from the other"], 5, 2)).await.unwrap();
    let server = server();
    let ada = with_key(&server, "acme").await;
    let models = json!([{"name": "large", "fallbacks": ["spare/large", "powerhouse-offline"]}]);
    made(&ada, &provider("main", "openai", &down, &models)).await;
    let spare = made(&ada, &provider("spare", "openai", &up, &json!([{"name": "large"}]))).await;
    let agent = agent(&ada, "a", "large").await;
    let run = ada.run(&json!({"task": "Go", "agent": agent})).await;
    assert_eq!(run["answer"], "from the other", "{run}");
    let routed = first_step(&ada, &run).await["routed"].clone();
    assert_eq!((&routed["provider"], &routed["passed_over"]), (&json!("spare"), &json!(["large"])));
    // What is changed holds from the next call on.
    ada.request(Method::DELETE, &format!("/v1/model-providers/{spare}")).send().await.unwrap();
    let run = ada.run(&json!({"task": "Go", "agent": agent})).await;
    assert!(run["answer"].as_str().unwrap().starts_with("[offline model]"), "{run}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_providers_key_is_the_value_that_its_secret_has_now() {
    let stub = StubModel::answering(|_: &Received| Answer::text(["done"], 5, 2)).await.unwrap();
    let server = server();
    let ada = server.tenant("acme").await;
    let models = json!([{"name": "m"}]);
    let id = made(&ada, &provider("own", "openai", &stub, &models)).await;
    let agent = agent(&ada, "a", "own/m").await;
    let run = ada.run(&json!({"task": "Go", "agent": agent})).await;
    assert_eq!(run["failure"]["code"], "model_rejected", "{run}");
    assert!(run["failure"]["message"].as_str().unwrap().contains("no secret `llm`"), "{run}");
    assert!(stub.received().is_empty(), "nobody is asked without it");

    ada.post("/v1/secrets", &json!({"name": "llm", "value": KEY})).await;
    let sent = async || {
        let run = ada.run(&json!({"task": "Go", "agent": agent})).await;
        assert_eq!(run["answer"], "done", "{run}");
        stub.received().last().unwrap().header("authorization").map(str::to_owned)
    };
    assert_eq!(sent().await, Some(format!("Bearer {KEY}")));
    let other = json!({"value": "sk-another-canary"});
    ada.request(Method::PUT, "/v1/secrets/llm").json(&other).send().await.unwrap();
    let by_then = Instant::now() + Duration::from_secs(8);
    while sent().await.as_deref() != Some("Bearer sk-another-canary") {
        assert!(Instant::now() < by_then, "another value holds within five seconds");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let body = json!({"kind": "openai", "base_url": stub.base_url(), "models": models});
    assert_eq!(put(&ada, &id, &body).await.1["key"], Value::Null);
    assert_eq!(sent().await, None, "without a key nothing is sent");
    assert!(!server.log().contains("canary"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_provider_is_refused_with_a_reason() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    let good = json!({"name": "own", "kind": "openai", "base_url": "https://llm.example.org/v1", "models": [{"name": "m"}]});
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    for (body, pointer) in [
        (with("name", json!("Own!")), "/name"),
        (with("kind", json!("bedrock")), "/kind"),
        (with("base_url", json!("https://127.0.0.1/v1")), "/base_url"),
        (with("base_url", json!("http://llm.example.org/v1")), "/base_url"),
        (with("base_url", json!("https://169.254.169.254/latest")), "/base_url"),
        (with("models", json!([])), "/models"),
        (with("models", json!([{"name": "m"}, {"name": "n", "max_concurrent": 0}])), "/models/1"),
        (with("key", json!({"secret": "Schlüssel"})), "/key/secret"),
        (with("key", json!(KEY)), "key"),
        (with("api_key", json!(KEY)), "api_key"),
        (with("colour", json!("red")), "/colour"),
    ] {
        let answer = ada.request(Method::POST, "/v1/model-providers").json(&body).send().await.unwrap();
        let (status, problem): (_, Value) = (answer.status(), answer.json().await.unwrap());
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{pointer} {problem}");
        assert!(problem.to_string().contains(pointer), "{pointer} {problem}");
    }
    let id = made(&ada, &good).await;
    let taken = ada.request(Method::POST, "/v1/model-providers").json(&good).send().await.unwrap();
    assert_eq!(taken.status(), StatusCode::CONFLICT);
    let path = format!("/v1/model-providers/{id}");
    let stale = ada.request(Method::DELETE, &path).header("if-match", "\"7\"").send().await.unwrap();
    assert_eq!(stale.status(), StatusCode::PRECONDITION_FAILED);
    assert_eq!(ada.request(Method::DELETE, &path).send().await.unwrap().status(), StatusCode::NO_CONTENT);
}

/// Two gateways with a database each and one Redis: what one has found out, the other knows without asking.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_one_gateway_found_broken_is_left_alone_by_the_other() {
    // Told to come back that late, nobody tries again by themselves.
    let down = |_: &Received| Answer::error(503, "down").header("retry-after", "999");
    let down = StubModel::answering(down).await.unwrap();
    let (redis, base_url) = (OwnRedis::start(), down.base_url());
    let url = redis.url();
    let settings = [
        ("REDIS_URL", url.as_str()),
        ("POWERHOUSE__MODEL__BASE_URL", base_url.as_str()),
        ("POWERHOUSE__MODEL__BREAKER_FAILURES", "1"),
    ];
    let mut asked = Vec::new();
    for gateway in [Server::with(&settings), Server::with(&settings)] {
        let ada = gateway.tenant("acme").await;
        let run = ada.run(&json!({"task": "Go", "agent": agent(&ada, "a", "m").await})).await;
        assert_eq!(run["failure"]["code"], "model_unavailable", "{run}");
        asked.push(down.received().len());
    }
    assert!(asked[0] > 0 && asked[1] == asked[0], "the model was asked {asked:?} times");
}
