//! What agents remember, over HTTP and by the tools of runs, on both databases.

use powerhouse_tests::stub_model::{Answer, Received, StubModel};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::postgres::{migrated, settings, urls};
use crate::server::{Caller, PASSWORD, Server};

const MODEL: &str = "stub-1";

/// Does what the task says: `memory_apply {…}` or `memory_search {…}`, and answers what came of it.
fn speak(received: &Received) -> Answer {
    let messages = received.body["messages"].as_array().unwrap();
    let last = messages.last().unwrap();
    let text = last["content"].as_str().unwrap_or_default();
    if last["role"] == "tool" {
        let answer = text.replace("<untrusted_tool_output status=\"ok\">\n", "");
        return Answer::text([answer.replace("\n</untrusted_tool_output>", "").as_str()], 10, 2);
    }
    let (tool, arguments) = text.split_once(' ').unwrap_or((text, "{}"));
    Answer::call(tool, &serde_json::from_str(arguments).unwrap(), 10, 2)
}

async fn does(caller: &Caller, agent: &str, tool: &str, arguments: &Value) -> Value {
    let run = caller.run(&json!({"task": format!("{tool} {arguments}"), "agent": agent})).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    let answer = run["answer"].as_str().unwrap();
    serde_json::from_str(answer).unwrap_or_else(|_| panic!("{answer}"))
}

fn texts(found: &Value) -> Vec<&str> {
    let found = found.get("memories").or(found.get("items")).unwrap();
    found.as_array().unwrap().iter().map(|memory| memory["text"].as_str().unwrap()).collect()
}

async fn memory_works(server: &Server) {
    let ada = server.tenant("acme").await;
    let definition = json!({"kind": "react", "description": "Remembers", "model": MODEL,
        "tools": ["memory_search", "memory_apply"]});
    let agent = ada.publish("elephant", &definition).await;
    let other = ada.publish("goldfish", &definition).await;
    let user =
        json!({"email": "bob@example.org", "display_name": "Bob", "role": "member", "password": PASSWORD});
    let bobs_id = ada.post("/v1/users", &user).await["id"].as_str().unwrap().to_owned();
    let bob = server.sign_in_as("acme", "bob@example.org").await;
    let path = format!("/v1/agents/{agent}/memories");

    // What a run remembers, a later one finds; and nobody else's, and no other agent's.
    let done = does(
        &ada,
        &agent,
        "memory_apply",
        &json!({"operations": [
            {"op": "ADD", "text": "Ada drinks tea in the morning", "importance": 8},
            {"op": "ADD", "text": "to make tea: boil water first", "kind": "skill"},
            {"op": "NOOP"},
        ]}),
    )
    .await;
    let id = done["results"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(done["results"][2]["op"], "NOOP");
    let look = json!({"query": "what does Ada drink in the morning?"});
    let found = does(&ada, &agent, "memory_search", &look).await;
    assert_eq!(texts(&found)[0], "Ada drinks tea in the morning", "{found}");
    let skills = does(&ada, &agent, "memory_search", &json!({"query": "tea", "kinds": ["skill"]})).await;
    assert_eq!(texts(&skills), ["to make tea: boil water first"]);
    assert_eq!(does(&bob, &agent, "memory_search", &look).await["memories"], json!([]));
    assert_eq!(does(&ada, &other, "memory_search", &look).await["memories"], json!([]));
    let stolen = json!({"operations": [{"op": "UPDATE", "id": id, "text": "Ada drinks ink"}, {"op": "DELETE", "id": id}]});
    let refused = does(&bob, &agent, "memory_apply", &stolen).await;
    assert!(refused["results"].as_array().unwrap().iter().all(|result| result["op"] == "NOOP"), "{refused}");
    let changed =
        json!({"operations": [{"op": "UPDATE", "id": id, "text": "Ada drinks coffee in the morning"}]});
    does(&ada, &agent, "memory_apply", &changed).await;

    // People see it, search it, add to it and erase it.
    let listed = ada.get(&path).await;
    assert_eq!(texts(&listed).len(), 2, "{listed}");
    assert!(listed["items"][0]["run"].is_string(), "{listed}");
    let found = ada.get(&format!("{path}/search?query=coffee")).await;
    assert_eq!(texts(&found)[0], "Ada drinks coffee in the morning", "{found}");
    assert!(found["items"][0]["embedding_model"].is_string(), "{found}");
    assert!(bob.get(&path).await["items"].as_array().unwrap().is_empty());
    let shared = json!({"text": "the office opens at nine", "user": "all"});
    let answer = bob.request(Method::POST, &path).json(&shared).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    ada.post(&path, &shared).await;
    let opens = json!({"query": "when does the office open?"});
    assert_eq!(texts(&does(&bob, &agent, "memory_search", &opens).await), ["the office opens at nine"]);
    let bobs = bob.post(&path, &json!({"text": "Bob skates", "kind": "observation", "importance": 2})).await;
    assert_eq!((&bobs["user"], &bobs["kind"]), (&json!(bobs_id), &json!("observation")));
    for (caller, who, status) in [
        (&bob, "", StatusCode::OK),
        (&bob, "?user=all", StatusCode::OK),
        (&ada, &*format!("?user={bobs_id}"), StatusCode::OK),
        (&bob, &*format!("?user={}", listed["items"][0]["user"].as_str().unwrap()), StatusCode::NOT_FOUND),
        (&bob, "?user=x", StatusCode::NOT_FOUND),
        (&bob, "?kind=x", StatusCode::BAD_REQUEST),
    ] {
        let answer = caller.request(Method::GET, &format!("{path}{who}")).send().await.unwrap();
        assert_eq!(answer.status(), status, "{who}");
    }
    let one = format!("{path}/{id}");
    assert_eq!(bob.request(Method::DELETE, &one).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    ada.request(Method::DELETE, &one).send().await.unwrap().error_for_status().unwrap();
    assert_eq!(ada.request(Method::GET, &one).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    ada.request(Method::DELETE, &path).send().await.unwrap().error_for_status().unwrap();
    assert!(ada.get(&path).await["items"].as_array().unwrap().is_empty());
    assert_eq!(texts(&bob.get(&path).await), ["Bob skates"], "only hers are gone");

    // Who goes is forgotten.
    ada.request(Method::DELETE, &format!("/v1/users/{bobs_id}"))
        .send()
        .await
        .unwrap()
        .error_for_status()
        .unwrap();
    let gone = format!("{path}/{}", bobs["id"].as_str().unwrap());
    assert_eq!(ada.request(Method::GET, &gone).send().await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_works_embedded() {
    let stub = StubModel::answering(speak).await.unwrap();
    memory_works(&Server::with_model(&stub.base_url())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_works_on_two_replicas() {
    let stub = StubModel::answering(speak).await.unwrap();
    let own = migrated().await;
    let (urls, model) = (urls(&own), stub.base_url());
    let server = Server::with(&settings(&urls, &model));
    let _other = server.beside();
    memory_works(&server).await;
}
