//! Runs on a stub of a model's API: streams, tools, crashes, cancellation.

use std::time::Duration;

use powerhouse_tests::stub_model::{Answer, StubModel};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::server::Server;

const ACCEPT: &str = r#"{"accept": true, "issues": []}"#;
const REFUSE: &str = r#"{"accept": false, "issues": ["too short"]}"#;

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waited = timeout(Duration::from_secs(20), async {
        while !is_so() {
            sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "in vain: {what}");
}

fn sum(steps: &Value, name: &str) -> u64 {
    steps["items"].as_array().unwrap().iter().map(|step| step["usage"][name].as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn react_calls_a_tool_twice_and_its_steps_add_up() {
    let stub = StubModel::start([
        Answer::call("calculator", &json!({"expression": "19.99 * 3"}), 50, 10),
        Answer::call("calculator", &json!({"expression": "59.97 - 5"}), 80, 11),
        Answer::text(["It is ", "54", ".97."], 110, 12),
    ])
    .await
    .unwrap();
    let server = Server::with_model(&stub.base_url());
    let ada = server.tenant("acme").await;
    let agent = ada.agent("assistant").await;
    let submitted = ada.post("/v1/runs", &json!({"task": "Three at 19.99 less 5?", "agent": agent})).await;
    let id = submitted["id"].as_str().unwrap();
    let events = ada.events(id, 0).await;
    let deltas: String = events
        .iter()
        .filter(|(_, name, _)| name == "step.delta")
        .map(|(_, _, data)| data["text"].as_str().unwrap())
        .collect();
    assert_eq!(deltas, "It is 54.97.");

    let run = ada.get(&format!("/v1/runs/{id}")).await;
    assert_eq!((&run["status"], &run["answer"]), (&json!("succeeded"), &json!("It is 54.97.")));
    let steps = ada.get(&format!("/v1/runs/{id}/steps")).await;
    let outline: Vec<(&str, &str)> = steps["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| (step["kind"].as_str().unwrap(), step["output"].as_str().unwrap()))
        .collect();
    assert_eq!(outline[1], ("tool", "59.97"));
    assert_eq!(outline[3], ("tool", "54.97"));
    assert_eq!(outline.len(), 5);
    for name in ["input_tokens", "output_tokens", "cost_micros"] {
        assert_eq!(sum(&steps, name), run["usage"][name].as_u64().unwrap(), "{name}");
    }
    assert_eq!((&run["usage"]["input_tokens"], &run["usage"]["output_tokens"]), (&json!(240), &json!(33)));

    // The model saw the tools, and their output as data that is not to be trusted.
    let received = stub.received();
    assert_eq!(received.len(), 3);
    assert_eq!(received[0].body["tools"][0]["function"]["name"], "calculator");
    let observation = received[1].body["messages"].as_array().unwrap().last().unwrap();
    assert_eq!(observation["role"], "tool");
    assert!(observation["content"].as_str().unwrap().contains("<untrusted_tool_output"));

    // A stream is taken up after any event.
    for after in 0..events.len() as u64 {
        let rest = ada.events(id, after).await;
        assert_eq!(rest, events[usize::try_from(after).unwrap()..], "after {after}");
    }
    assert!(!server.log().contains("canary"), "the key is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn deltas_arrive_while_the_model_still_speaks() {
    let piece = |text: &str| json!({"choices": [{"delta": {"content": text}}]});
    let slow = Answer::stream().event(&piece("Half")).hang();
    let stub = StubModel::start([slow]).await.unwrap();
    let server = Server::with_model(&stub.base_url());
    let ada = server.tenant("acme").await;
    let agent = ada.agent("debater").await;
    let submitted = ada.post("/v1/runs", &json!({"task": "Rent or buy?", "agent": agent})).await;
    let path = format!("/v1/runs/{}/events", submitted["id"].as_str().unwrap());
    let mut answer = ada.request(Method::GET, &path).send().await.unwrap();
    let mut seen = String::new();
    let heard = timeout(Duration::from_secs(10), async {
        while !seen.contains("Half") {
            seen.push_str(std::str::from_utf8(&answer.chunk().await.unwrap().unwrap()).unwrap());
        }
    });
    assert!(heard.await.is_ok(), "{seen}");
}

/// Kills the server in the third of four calls, and starts it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_goes_on_where_it_was() {
    let stub = StubModel::start([
        Answer::text(["A first draft."], 10, 1),
        Answer::text([REFUSE], 20, 2),
        Answer::stream().raw(b": thinking\n\n").hang(),
        Answer::text(["A longer draft."], 30, 3),
        Answer::text([ACCEPT], 40, 4),
    ])
    .await
    .unwrap();
    let mut server = Server::with_model(&stub.base_url());
    let ada = server.tenant("acme").await;
    let agent = ada.agent("writer").await;
    let submitted = ada.post("/v1/runs", &json!({"task": "Write.", "agent": agent})).await;
    let id = submitted["id"].as_str().unwrap();
    until("the third call is in flight", || stub.received().len() == 3).await;
    server.kill();
    server.restart();
    let ada = server.sign_in("acme").await;
    let run = ada.ended(id).await;
    assert_eq!((&run["status"], &run["answer"]), (&json!("succeeded"), &json!("A longer draft.")));
    assert_eq!(stub.received().len(), 5, "four calls, and the one that was in flight");
    let steps = ada.get(&format!("/v1/runs/{id}/steps")).await;
    assert_eq!(
        (&steps["usage"]["input_tokens"], &steps["usage"]["output_tokens"]),
        (&json!(100), &json!(10))
    );
    // The call in flight may have been billed: the run has paid for it at its worst (ADR 0022).
    let more = |of: &str| run["usage"][of].as_u64().unwrap() - steps["usage"][of].as_u64().unwrap();
    assert!(more("input_tokens") > 0 && more("output_tokens") >= 4_096, "{run}");
    assert_eq!(steps["items"].as_array().unwrap().len(), 4);
    let attempts = ada.events(id, 0).await.iter().filter(|(_, name, _)| name == "run.started").count();
    assert_eq!(attempts, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_asked_to_stop_hands_its_runs_over_at_once() {
    let stub = StubModel::start([
        Answer::text(["A draft."], 1, 1),
        Answer::stream().raw(b": thinking\n\n").hang(),
        Answer::text([ACCEPT], 1, 1),
    ])
    .await
    .unwrap();
    // A lease that nobody could wait for.
    let mut server = Server::with(&[
        ("POWERHOUSE__MODEL__BASE_URL", &stub.base_url()),
        ("POWERHOUSE__WORKER__LEASE_SECONDS", "3600"),
    ]);
    let ada = server.tenant("acme").await;
    let agent = ada.agent("writer").await;
    let submitted = ada.post("/v1/runs", &json!({"task": "Write.", "agent": agent})).await;
    until("the second call is in flight", || stub.received().len() == 2).await;
    assert_eq!(server.stop(), Some(0));
    assert_eq!(stub.deserted(), 1, "the connection to the model is closed");
    server.restart();
    let ada = server.sign_in("acme").await;
    let run = timeout(Duration::from_secs(20), ada.ended(submitted["id"].as_str().unwrap())).await.unwrap();
    assert_eq!(run["answer"], "A draft.");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_leaves_the_model_alone() {
    let stub = StubModel::start([Answer::stream().raw(b": thinking\n\n").hang()]).await.unwrap();
    let server = Server::with_model(&stub.base_url());
    let ada = server.tenant("acme").await;
    let agent = ada.agent("writer").await;
    let submitted = ada.post("/v1/runs", &json!({"task": "Write.", "agent": agent})).await;
    let id = submitted["id"].as_str().unwrap();
    until("the call is in flight", || stub.received().len() == 1).await;
    let cancelled = ada.post(&format!("/v1/runs/{id}/cancel"), &Value::Null).await;
    assert_eq!(cancelled["status"], "cancelled");
    until("the connection to the model is closed", || stub.deserted() == 1).await;
    let again = ada.post(&format!("/v1/runs/{id}/cancel"), &Value::Null).await;
    assert_eq!(again["status"], "cancelled");
    assert_eq!(ada.events(id, 0).await.last().unwrap().1, "run.cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_fails_fails_the_run_in_words() {
    let stub = StubModel::start([Answer::error(400, "no such model: sk-canary-9b1d")]).await.unwrap();
    let server = Server::with_model(&stub.base_url());
    let ada = server.tenant("acme").await;
    let agent = ada.agent("writer").await;
    let run = ada.run(&json!({"task": "Write.", "agent": agent})).await;
    assert_eq!((&run["status"], &run["failure"]["code"]), (&json!("failed"), &json!("model_rejected")));
    assert!(!run.to_string().contains("no such model"), "a provider's words are for the log");
    let log = server.log();
    assert!(log.contains("no such model") && !log.contains("canary"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_delayed_placed_and_timed_out() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    let after = |seconds| (chrono::Utc::now() + chrono::TimeDelta::seconds(seconds)).to_rfc3339();
    let body = json!({"task": "1 + 1", "priority": 7, "not_before": after(1), "deadline": after(60)});
    let run = ada.run(&body).await;
    assert_eq!((&run["status"], &run["priority"]), (&json!("succeeded"), &json!(7)));
    assert!(run["started_at"].as_str().unwrap() >= run["not_before"].as_str().unwrap(), "{run}");
    assert!(run["deadline"].as_str().unwrap() > run["ended_at"].as_str().unwrap(), "{run}");

    let stub = StubModel::start([Answer::stream().hang()]).await.unwrap();
    let server = Server::with_model(&stub.base_url());
    let ada = server.tenant("acme").await;
    let agent = ada.agent("writer").await;
    let run = ada.run(&json!({"task": "Write.", "agent": agent, "deadline": after(2)})).await;
    assert_eq!(run["status"], "timed_out");
}

#[tokio::test(flavor = "multi_thread")]
async fn feedback_is_kept_and_replaced() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    let run = ada.run(&json!({"task": "1 + 1"})).await;
    let path = format!("/v1/runs/{}/feedback", run["id"].as_str().unwrap());
    for verdict in ["good", "bad"] {
        let body = json!({"verdict": verdict, "comment": "So it is."});
        assert_eq!(ada.post(&path, &body).await["verdict"], verdict);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_runs_go_to_the_end_without_repeat() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    let mut submitted = Vec::new();
    for number in 0..7 {
        let run = ada.post("/v1/runs", &json!({"task": format!("{number} + 1")})).await;
        submitted.push(run["id"].clone());
    }
    submitted.reverse();
    let mut listed = Vec::new();
    let mut path = "/v1/runs?limit=3".to_owned();
    loop {
        let page = ada.get(&path).await;
        listed.extend(page["items"].as_array().unwrap().iter().map(|run| run["id"].clone()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/runs?limit=3&cursor={cursor}");
    }
    assert_eq!(listed, submitted);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_drafted_published_edited_and_retired() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    let definition = |text: &str| json!({"kind": "direct", "description": text, "capabilities": ["french"]});
    let draft = json!({"name": "translator", "definition": definition("Translates")});
    let created = ada.request(Method::POST, "/v1/agents").json(&draft).send().await.unwrap();
    let (status, tag) = (created.status(), created.headers()["etag"].to_str().unwrap().to_owned());
    let path = created.headers()["location"].to_str().unwrap().to_owned();
    let agent: Value = created.json().await.unwrap();
    assert_eq!((status.as_u16(), &agent["status"]), (201, &json!("draft")));
    let run = |body: Value| ada.request(Method::POST, "/v1/runs").json(&body).send();
    let wish = json!({"task": "Translate", "capabilities": ["french"]});
    for (body, code) in [
        (json!({"task": "Translate", "agent": agent["id"]}), "agent_not_published"),
        (wish.clone(), "no_agent"),
    ] {
        let refused = run(body).await.unwrap();
        assert_eq!(refused.status().as_u16(), 409);
        assert_eq!(refused.json::<Value>().await.unwrap()["code"], code);
    }

    let published = ada.post(&format!("{path}/publish"), &Value::Null).await;
    assert_eq!(published["published"]["version"], 1);
    let done = ada.run(&wish).await;
    assert_eq!((&done["selection"]["agent"], &done["selection"]["agent_version"]), (&agent["id"], &json!(1)));
    assert!(done["selection"]["reason"].as_str().unwrap().contains("only published agent that fits"));

    let put = |tag: &str| {
        let body = json!({ "definition": definition("Translates well") });
        ada.request(Method::PUT, &path).header("if-match", tag).json(&body).send()
    };
    assert_eq!(put(&tag).await.unwrap().status().as_u16(), 412, "it was published meanwhile");
    let now =
        ada.request(Method::GET, &path).send().await.unwrap().headers()["etag"].to_str().unwrap().to_owned();
    let edited: Value = put(&now).await.unwrap().json().await.unwrap();
    assert_eq!(edited["published"]["definition"]["description"], "Translates");
    assert_eq!(edited["draft"]["description"], "Translates well");
    assert_eq!(ada.post(&format!("{path}/publish"), &Value::Null).await["published"]["version"], 2);

    assert!(ada.request(Method::DELETE, &path).send().await.unwrap().status().is_success());
    assert_eq!(run(wish).await.unwrap().status().as_u16(), 409);
    assert_eq!(ada.get(&path).await["status"], "archived");
}
