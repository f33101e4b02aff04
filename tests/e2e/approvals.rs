//! Runs that ask people, stand still, and are made anew from a step.

use std::time::Duration;

use powerhouse_tests::stub_model::{Answer as ModelAnswer, StubModel};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::server::{Caller, Server};

const TASK: &str = "What is 12.5 % of 380?";

/// An agent that calculates only when a person agrees.
async fn careful(caller: &Caller) -> String {
    let definition = json!({"kind": "react", "description": "Calculates", "tools": ["calculator"],
        "approvals": ["calculator"]});
    caller.publish("careful", &definition).await
}

/// The run as soon as it is in this state.
async fn becomes(caller: &Caller, run: &Value, status: &str) -> Value {
    let path = format!("/v1/runs/{}", run["id"].as_str().unwrap());
    for _ in 0..1_000 {
        let run = caller.get(&path).await;
        if run["status"] == status {
            return run;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("it does not become {status}: {}", caller.get(&path).await);
}

/// A run that waits, and what it has asked.
async fn asked(caller: &Caller, agent: &str) -> (Value, Value) {
    let run = caller.post("/v1/runs", &json!({"task": TASK, "agent": agent})).await;
    let run = becomes(caller, &run, "waiting").await;
    let open = caller.get("/v1/approvals?state=open").await;
    let asked = open["items"].as_array().unwrap().iter().find(|asked| asked["run"] == run["id"]);
    (run.clone(), asked.expect("it is listed").clone())
}

async fn answer(caller: &Caller, asked: &Value, body: &Value) -> (StatusCode, Value) {
    let path = format!("/v1/approvals/{}/answer", asked["id"].as_str().unwrap());
    let answer = caller.request(Method::POST, &path).json(body).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

async fn steps(caller: &Caller, run: &Value) -> Vec<Value> {
    let steps = caller.get(&format!("/v1/runs/{}/steps", run["id"].as_str().unwrap())).await;
    steps["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_made_as_a_person_decides_and_once() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    let agent = careful(&ada).await;

    let (run, question) = asked(&ada, &agent).await;
    assert_eq!((&question["question"], &question["tool"]), (&json!("tool_call"), &json!("calculator")));
    assert_eq!(run["waiting_for"], "a person has to approve");
    assert_eq!((&question["demanded_by"], &question["reason"]), (&json!("agent"), &Value::Null));
    let (status, problem) = answer(&ada, &question, &json!({"decision": "settle", "output": "1"})).await;
    assert_eq!((status, &problem["pointer"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("/decision")));
    for body in [
        json!({"decision": "maybe"}),
        json!({"decision": "edit"}),
        json!({"decision": "edit", "arguments": 3}),
    ] {
        let (status, problem) = answer(&ada, &question, &body).await;
        assert!(status.is_client_error(), "{body}: {problem}");
    }
    let (status, answered) = answer(&ada, &question, &json!({"decision": "approve"})).await;
    assert_eq!((status, &answered["answer"]["decision"]), (StatusCode::OK, &json!("approve")));
    let (status, problem) = answer(&ada, &question, &json!({"decision": "reject", "reason": "no"})).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("approval_answered")));
    let run = becomes(&ada, &run, "succeeded").await;
    assert!(run["answer"].as_str().unwrap().contains("47.5"), "{run}");

    let (run, question) = asked(&ada, &agent).await;
    let edit = json!({"decision": "edit", "arguments": {"expression": "40 + 2"}});
    assert_eq!(answer(&ada, &question, &edit).await.0, StatusCode::OK);
    becomes(&ada, &run, "succeeded").await;
    assert!(steps(&ada, &run).await.iter().any(|step| step["output"] == "42"));

    let (run, question) = asked(&ada, &agent).await;
    let reject = json!({"decision": "reject", "reason": "not today"});
    assert_eq!(answer(&ada, &question, &reject).await.0, StatusCode::OK);
    let ended = becomes(&ada, &run, "succeeded").await;
    let told = steps(&ada, &run).await;
    assert!(
        told.iter().any(|step| step["output"].as_str().unwrap_or_default().contains("not today")),
        "{ended}"
    );
    assert_eq!(ada.get("/v1/approvals?state=open").await["items"], json!([]));
    assert_eq!(ada.get("/v1/approvals").await["items"].as_array().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_run_begins_nothing_until_it_is_resumed() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    let agent = careful(&ada).await;
    let (run, question) = asked(&ada, &agent).await;
    let path = format!("/v1/runs/{}", run["id"].as_str().unwrap());
    ada.post(&format!("{path}/pause"), &Value::Null).await;
    ada.post(&format!("{path}/pause"), &Value::Null).await;
    assert_eq!(answer(&ada, &question, &json!({"decision": "approve"})).await.0, StatusCode::OK);
    for _ in 0..500 {
        if ada.get(&path).await["waiting_for"] == "somebody has paused it" {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(steps(&ada, &run).await.len(), 1, "the model has asked for the tool, and nothing since");
    ada.post(&format!("{path}/resume"), &Value::Null).await;
    becomes(&ada, &run, "succeeded").await;
    for action in ["pause", "resume"] {
        let late = ada.request(Method::POST, &format!("{path}/{action}")).send().await.unwrap();
        assert_eq!(late.status(), StatusCode::CONFLICT, "{action}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_made_anew_from_a_step() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    let run = ada.run(&json!({"task": TASK})).await;
    let before = steps(&ada, &run).await;
    let tool =
        before.iter().find(|step| step["kind"] == "tool").expect("it calculated")["key"].as_str().unwrap();
    let path = format!("/v1/runs/{}/fork", run["id"].as_str().unwrap());

    let retried = ada.post(&path, &json!({"step": tool})).await;
    let retried = becomes(&ada, &retried, "succeeded").await;
    assert_eq!(retried["answer"], run["answer"]);
    let changed = ada.post(&path, &json!({"step": tool, "output": "48"})).await;
    let changed = becomes(&ada, &changed, "succeeded").await;
    assert!(changed["answer"].as_str().unwrap().contains("48"), "{changed}");
    // The first model call was the other run's, and so was its cost.
    let used = |run: &Value| run["usage"]["input_tokens"].as_u64().unwrap();
    assert!(used(&changed) < used(&run), "{changed} {run}");
    let taken = &steps(&ada, &changed).await[0];
    assert_eq!((&taken["output"], &taken["usage"]["input_tokens"]), (&before[0]["output"], &json!(0)));

    for (body, pointer) in [(json!({"step": "99"}), "/step"), (json!({"step": "x"}), "/step")] {
        let refused = ada.request(Method::POST, &path).json(&body).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(refused.json::<Value>().await.unwrap()["pointer"], pointer);
    }
}

/// A rule of the tenant holds for every agent that it is about, whatever the agent says; and so does what a strategy wants.
#[tokio::test(flavor = "multi_thread")]
async fn the_tenant_and_the_strategy_may_want_a_persons_word_too() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    let agent = ada.agent("assistant").await;
    let put = async |rules: &Value, version: Option<&str>| {
        let mut request = ada.request(Method::PUT, "/v1/approval-rules").json(rules);
        if let Some(version) = version {
            request = request.header("If-Match", version);
        }
        let answer = request.send().await.unwrap();
        let etag = answer.headers().get("etag").map(|etag| etag.to_str().unwrap().to_owned());
        (answer.status(), etag, answer.json::<Value>().await.unwrap())
    };
    assert_eq!(ada.get("/v1/approval-rules").await, json!({"items": []}));
    let rules = json!({"items": [{"tool": "calc*", "agents": [agent], "reason": "sums are for people",
        "when": "always", "then": "ask"}]});
    let (status, etag, kept) = put(&rules, Some("\"0\"")).await;
    assert_eq!((status, etag.as_deref(), &kept), (StatusCode::OK, Some("\"1\""), &rules));
    assert_eq!(put(&rules, Some("\"0\"")).await.0, StatusCode::PRECONDITION_FAILED);

    let (run, question) = asked(&ada, &agent).await;
    assert_eq!(question["demanded_by"], "policy");
    assert_eq!(question["reason"], "sums are for people");
    assert_eq!(answer(&ada, &question, &json!({"decision": "approve"})).await.0, StatusCode::OK);
    becomes(&ada, &run, "succeeded").await;

    // It is about another agent now: nobody is asked.
    let rules = json!({"items": [{"tool": "calculator", "agents": ["agent_01h455vb4pex5vsknk084sn02q"]}]});
    assert_eq!(put(&rules, None).await.0, StatusCode::OK);
    assert_eq!(ada.run(&json!({"task": TASK, "agent": agent})).await["status"], "succeeded");

    let definition = json!({"kind": "react", "description": "Calculates", "tools": ["calculator"],
        "parameters": {"confirm_calls": true}});
    let confirming = ada.publish("confirming", &definition).await;
    let (run, question) = asked(&ada, &confirming).await;
    assert_eq!(question["demanded_by"], "strategy");
    assert_eq!(question["reason"], "the agent asks before each call");
    let reject = json!({"decision": "reject", "reason": "not today"});
    assert_eq!(answer(&ada, &question, &reject).await.0, StatusCode::OK);
    becomes(&ada, &run, "succeeded").await;

    for (rules, pointer) in [
        (json!({"items": [{"tool": "a b"}]}), "/items/0/tool"),
        (json!({"items": [{"tool": "*", "when": "never"}]}), "/items/0/when"),
        (json!({"items": [{"tool": "*", "then": "laugh"}]}), "/items/0/then"),
        (json!({"items": [{"tool": "*", "agents": ["x"]}]}), "/items/0/agents/0"),
        (json!({"items": [{"tool": "*", "reason": "x".repeat(501)}]}), "/items/0/reason"),
        (json!({"items": vec![json!({"tool": "*"}); 101]}), "/items"),
    ] {
        let (status, _, problem) = put(&rules, None).await;
        assert_eq!((status, &problem["pointer"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!(pointer)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_call_that_failed_can_be_given_its_answer() {
    let stub = StubModel::start([ModelAnswer::error(400, "no")]).await.unwrap();
    let server = Server::with_model(&stub.base_url());
    let ada = server.tenant("acme").await;
    let definition = json!({"kind": "direct", "description": "Answers"});
    let agent = ada.publish("clerk", &definition).await;
    let run = ada.run(&json!({"task": TASK, "agent": agent})).await;
    assert_eq!(run["failure"]["code"], "model_rejected");
    let path = format!("/v1/runs/{}/fork", run["id"].as_str().unwrap());
    let fork = ada.post(&path, &json!({"step": "0", "output": "It is 47.5."})).await;
    let fork = ada.ended(fork["id"].as_str().unwrap()).await;
    assert_eq!(fork["answer"], "It is 47.5.", "{fork}");
}
