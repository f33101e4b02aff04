//! Texts on their way to an embedder: what it is not told, and what it may cost.

use powerhouse_tests::stub_model::{Answer, Received, StubModel};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::replay::replays;
use crate::server::{Caller, Server};

const MODEL: &str = "stub-1";
const VECTORS: &str = "stub-vectors";
const EMAIL: &str = "canary.7c1@example.org";
const KEY: &str = "sk-canary-0123456789abcdef";

fn is_for_vectors(received: &Received) -> bool {
    received.head.starts_with("POST /v1/embeddings ")
}

/// Makes vectors, five tokens each; and as a model does what the task says: `tool {…}`, and answers what came of it.
fn speak(received: &Received) -> Answer {
    if is_for_vectors(received) {
        let texts = received.body["input"].as_array().unwrap();
        let vector = |text: &Value| json!({"embedding": [1, text.as_str().unwrap().len() % 7]});
        let vectors: Vec<_> = texts.iter().map(vector).collect();
        let answer = json!({"data": vectors, "model": VECTORS, "usage": {"prompt_tokens": 5 * texts.len()}});
        return Answer::other("application/json", &answer.to_string());
    }
    let last = received.body["messages"].as_array().unwrap().last().unwrap().clone();
    let text = last["content"].as_str().unwrap_or_default();
    if last["role"] == "tool" {
        return Answer::text([text], 10, 2);
    }
    let (tool, arguments) = text.split_once(' ').unwrap();
    Answer::call(tool, &serde_json::from_str(arguments).unwrap(), 10, 2)
}

fn serving(stub: &StubModel) -> Server {
    Server::with(&[
        ("POWERHOUSE__MODEL__BASE_URL", &stub.base_url()),
        ("POWERHOUSE__MODEL__NAME", MODEL),
        ("POWERHOUSE__EMBEDDINGS__MODEL", VECTORS),
    ])
}

async fn agent(caller: &Caller) -> String {
    let tools = ["knowledge_search", "memory_search", "memory_apply"];
    caller.publish("clerk", &json!({"kind": "react", "description": "Looks", "tools": tools})).await
}

async fn does(caller: &Caller, agent: &str, tool: &str, arguments: &Value) -> Value {
    caller.run(&json!({"task": format!("{tool} {arguments}"), "agent": agent})).await
}

/// What the embedder was told so far.
fn told(stub: &StubModel) -> Vec<String> {
    stub.received().iter().filter(|received| is_for_vectors(received)).map(|r| r.body.to_string()).collect()
}

async fn put(caller: &Caller, path: &str, body: &Value) {
    let answer = caller.request(Method::PUT, path).json(body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

async fn price(caller: &Caller, models: &[&str]) {
    let price = |model: &&str| {
        json!({"model": model, "effective_from": "2026-01-01T00:00:00Z",
        "input_micros": 1_000_000, "output_micros": 1_000_000, "max_output_tokens": 100})
    };
    put(caller, "/v1/prices", &json!({"items": models.iter().map(price).collect::<Vec<_>>()})).await;
}

async fn refused(caller: &Caller, path: &str, body: &Value) -> Value {
    let answer = caller.request(Method::POST, path).json(body).send().await.unwrap();
    let (status, problem) = (answer.status(), answer.json::<Value>().await.unwrap());
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("limit_reached")), "{problem}");
    problem
}

#[tokio::test(flavor = "multi_thread")]
async fn no_embedder_is_told_what_is_masked() {
    let stub = StubModel::answering(speak).await.unwrap();
    let server = serving(&stub);
    let ada = server.tenant("acme").await;
    let agent = agent(&ada).await;
    ada.post("/v1/collections", &json!({"name": "handbook"})).await;
    let documents = "/v1/collections/handbook/documents";
    let open = json!({"media_type": "text/plain", "content": format!("Ask {EMAIL} for leave.")});
    ada.post(documents, &open).await;
    assert!(told(&stub).concat().contains(EMAIL), "without rules it is told: the test would notice");

    put(&ada, "/v1/masking-rules", &json!({"classes": ["email", "secret"]})).await;
    let before = told(&stub).len();
    // Longer than a chunk: by itself no part of it but the first looks like a key.
    let secret =
        format!("-----BEGIN PRIVATE KEY-----\n{}-----END PRIVATE KEY-----", "canary0123456789\n".repeat(200));
    let content = format!("# Mail {EMAIL}\n\nWrite to {EMAIL}, with {KEY}.\n\n{secret}\n\nOr call.");
    let title = format!("About {EMAIL}");
    ada.post(documents, &json!({"media_type": "text/markdown", "title": title, "content": content})).await;
    let query = format!("who is {EMAIL}");
    let memories = format!("/v1/agents/{agent}/memories");
    ada.post(&memories, &json!({"text": format!("the key is {KEY}")})).await;
    for path in ["/v1/collections/handbook/search?query=".to_owned(), format!("{memories}/search?query=")] {
        ada.get(&format!("{path}{}", query.replace(' ', "+"))).await;
    }
    let operations =
        json!([{"op": "ADD", "text": format!("Ada is {EMAIL}")}, {"op": "ADD", "text": "Ada skates"}]);
    for (tool, arguments) in [
        ("knowledge_search", json!({"query": query})),
        ("memory_apply", json!({"operations": operations})),
        ("memory_search", json!({"query": query})),
    ] {
        let run = does(&ada, &agent, tool, &arguments).await;
        let answer = run["answer"].as_str().unwrap_or_else(|| panic!("{run}"));
        // What comes back is what was stored: only the embedder is told less.
        assert!(answer.contains("canary") || tool == "memory_apply", "{answer}");
    }
    let told = told(&stub)[before..].to_vec();
    assert_eq!(told.len(), 7, "{told:?}");
    for told in &told {
        assert!(!told.contains("canary"), "{told}");
    }
    assert!(told[0].contains("About <EMAIL>") && told[0].matches("<SECRET>").count() > 2, "{}", told[0]);
    // A question and what answers it are masked alike.
    assert_eq!(told[2], told[4]);
    assert!(told[2].contains("who is <EMAIL>"), "{}", told[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_no_budget_has_room_for_is_refused_and_nothing_of_it_is_stored() {
    let stub = StubModel::answering(speak).await.unwrap();
    let server = serving(&stub);
    let ada = server.tenant("acme").await;
    ada.post("/v1/collections", &json!({"name": "handbook"})).await;
    let budget = json!({"scope": "tenant", "period": "month", "cap_tokens": 300});
    let id = ada.post("/v1/budgets", &budget).await["id"].as_str().unwrap().to_owned();
    let spent = async || ada.get(&format!("/v1/budgets/{id}")).await;
    let documents = "/v1/collections/handbook/documents";
    let long = json!({"media_type": "text/plain", "content": "It goes on. ".repeat(30)});
    let problem = refused(&ada, documents, &long).await;
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(&id) && detail.contains("begins anew at"), "{detail}");
    assert_eq!(ada.get("/v1/collections/handbook").await["documents"], 0);
    assert_eq!((told(&stub).len(), &ada.get("/v1/usage").await["items"]), (0, &json!([])));
    assert_eq!(spent().await["spent"]["tokens"], 0);

    // A short one fits; a second time with the same key, nobody is asked, and nothing paid.
    let short = json!({"media_type": "text/plain", "content": "Everybody has twenty days."});
    for _ in 0..2 {
        let request = ada.request(Method::POST, documents).header("Idempotency-Key", "one").json(&short);
        assert_eq!(request.send().await.unwrap().json::<Value>().await.unwrap()["embedding_tokens"], 5);
    }
    assert_eq!(told(&stub).len(), 1);
    let budget = spent().await;
    assert_eq!((&budget["spent"]["tokens"], &budget["reserved"]["tokens"]), (&json!(5), &json!(0)));
    let usage = ada.get("/v1/usage?group_by=agent,model").await;
    let expected =
        json!({"model": VECTORS, "calls": 1, "input_tokens": 5, "output_tokens": 0, "cost_micros": 0});
    assert_eq!(usage["items"], json!([expected]), "no agent has it made");
    let csv = ada.request(Method::GET, "/v1/usage?group_by=agent,model").header("accept", "text/csv");
    let csv = csv.send().await.unwrap().text().await.unwrap();
    assert_eq!(csv.lines().nth(1), Some(format!(",{VECTORS},1,5,0,0").as_str()));

    // Where money is bounded, the embedder needs a price as any other model does.
    ada.post("/v1/budgets", &json!({"scope": "tenant", "period": "month", "cap_micros": 1_000})).await;
    let other = json!({"media_type": "text/plain", "content": "Cats sleep."});
    let problem = refused(&ada, documents, &other).await;
    assert!(problem["detail"].as_str().unwrap().contains("`stub-vectors` has no price"), "{problem}");
    price(&ada, &[VECTORS]).await;
    ada.post(documents, &other).await;
    assert_eq!(ada.get("/v1/usage?group_by=model").await["items"][0]["cost_micros"], 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_pays_for_its_vectors_and_is_refused_those_that_it_cannot_pay() {
    let stub = StubModel::answering(speak).await.unwrap();
    let server = serving(&stub);
    let ada = server.tenant("acme").await;
    let agent = agent(&ada).await;
    price(&ada, &[MODEL]).await;
    let budget =
        ada.post("/v1/budgets", &json!({"scope": agent, "period": "day", "cap_micros": 50_000})).await;
    let operations =
        json!({"operations": [{"op": "ADD", "text": "Ada skates"}, {"op": "ADD", "text": "Ada sings"}]});
    let run = does(&ada, &agent, "memory_apply", &operations).await;
    assert_eq!(run["failure"]["code"], "limit_reached", "{run}");
    let message = run["failure"]["message"].as_str().unwrap();
    assert!(message.contains("`stub-vectors` has no price"), "{message}");
    assert!(told(&stub).is_empty());
    let remembered = ada.get(&format!("/v1/agents/{agent}/memories")).await;
    assert_eq!(remembered["items"], json!([]));
    replays(&server, &ada, &run).await;

    price(&ada, &[MODEL, VECTORS]).await;
    let mut cost = run["usage"]["cost_micros"].as_u64().unwrap();
    for (tool, arguments, vectors) in [
        ("memory_apply", operations, 10),
        ("memory_search", json!({"query": "skates"}), 5),
        ("memory_search", json!({"query": "skates", "scoring": "recent"}), 0),
    ] {
        let run = does(&ada, &agent, tool, &arguments).await;
        assert_eq!(run["usage"]["input_tokens"], 20 + vectors, "{run}");
        assert_eq!(run["usage"]["cost_micros"], 24 + vectors, "{run}");
        cost += 24 + vectors;
        let explained = ada.get(&format!("/v1/runs/{}/explain", run["id"].as_str().unwrap())).await;
        assert_eq!(explained["cost"]["used"], explained["cost"]["steps"], "{explained}");
        replays(&server, &ada, &run).await;
    }
    let budget = ada.get(&format!("/v1/budgets/{}", budget["id"].as_str().unwrap())).await;
    assert_eq!((&budget["spent"]["micros"], &budget["reserved"]["micros"]), (&json!(cost), &json!(0)));
    let usage = ada.get("/v1/usage?group_by=model,agent").await;
    let sum = usage["items"].as_array().unwrap().iter().find(|sum| sum["model"] == VECTORS);
    let sum = sum.unwrap_or_else(|| panic!("{usage}"));
    assert_eq!((&sum["agent"], &sum["calls"]), (&json!(agent), &json!(2)));
    assert_eq!((&sum["input_tokens"], &sum["cost_micros"]), (&json!(15), &json!(15)));
}
