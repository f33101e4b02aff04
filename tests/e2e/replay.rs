//! Runs are explained, and done again offline by `powerhouse replay`.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use powerhouse_tests::stub_model::{Answer, StubModel};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::server::{Caller, PASSWORD, Server, binary};

const TASK: &str = "What is 12.5 % of 380?";

fn path(run: &Value, what: &str) -> String {
    format!("/v1/runs/{}{what}", run["id"].as_str().unwrap())
}

/// `powerhouse replay`, as Ada.
fn replay(server: &Server, arguments: &[&str]) -> Output {
    let mut command = binary(server.folder());
    command.arg("replay").args(arguments).env("POWERHOUSE_URL", &server.base);
    command.env("POWERHOUSE_TENANT", "acme").env("POWERHOUSE_EMAIL", "ada@example.org");
    command.env("POWERHOUSE_PASSWORD", PASSWORD).output().unwrap()
}

fn shown(output: &Output) -> String {
    let (shown, errors) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8(shown.clone()).unwrap(), String::from_utf8(errors.clone()).unwrap())
}

/// Replays a run, of which all must be the same; gives the file with its journal, and what was shown.
pub(crate) async fn replays(server: &Server, ada: &Caller, run: &Value) -> (PathBuf, String) {
    let told = ada.get(&path(run, "/explain")).await;
    let id = run["id"].as_str().unwrap();
    let file = server.folder().join(format!("{id}.json"));
    let output = replay(server, &[id, "--save", file.to_str().unwrap()]);
    let shown = shown(&output);
    assert!(output.status.success(), "{shown}");
    let steps = told["steps"].as_array().unwrap().len();
    let words = if steps == 1 { "1 step".to_owned() } else { format!("{steps} steps") };
    assert!(shown.contains(&format!("same: {words}, as its journal says")), "{shown}");
    assert!(shown.contains(&format!("event hash {}\n", told["event_hash"].as_str().unwrap())), "{shown}");
    (file, shown)
}

/// The run as soon as it is in this state.
async fn becomes(ada: &Caller, run: &Value, status: &str) -> Value {
    for _ in 0..1_000 {
        let run = ada.get(&path(run, "")).await;
        if run["status"] == status {
            return run;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("it does not become {status}: {}", ada.get(&path(run, "")).await);
}

async fn answer(ada: &Caller, run: &Value, body: &Value) {
    let open = ada.get("/v1/approvals?state=open").await;
    let asked = open["items"].as_array().unwrap().iter().find(|asked| asked["run"] == run["id"]).unwrap();
    ada.post(&format!("/v1/approvals/{}/answer", asked["id"].as_str().unwrap()), body).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_of_every_kind_replay_also_without_the_server() {
    let mut server = Server::start();
    let ada = server.tenant("acme").await;
    let mut files = Vec::new();
    for kind in ["direct", "chain_of_thought", "react", "plan_and_execute", "reflection", "debate"] {
        let tools = if kind == "react" { json!(["calculator", "current_time"]) } else { json!([]) };
        let name = kind.replace('_', "-");
        let agent = ada.publish(&name, &json!({"kind": kind, "description": kind, "tools": tools})).await;
        let run = ada.run(&json!({"task": TASK, "agent": agent})).await;
        files.push(replays(&server, &ada, &run).await.0);
    }
    let short = json!({"kind": "react", "description": "Short", "tools": ["calculator"],
        "limits": {"steps": 1, "tokens": 9000, "cost_micros": 0, "seconds": 60}});
    let run = ada.run(&json!({"task": TASK, "agent": ada.publish("short", &short).await})).await;
    assert_eq!(run["failure"]["code"], "limit_reached");
    files.push(replays(&server, &ada, &run).await.0);
    server.stop();
    for file in files {
        let output = replay(&server, &[file.to_str().unwrap()]);
        assert!(output.status.success(), "{}", shown(&output));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_decided_replays_and_is_told() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    let careful = json!({"kind": "react", "description": "Calculates", "tools": ["calculator"],
        "approvals": ["calculator"]});
    let careful = ada.publish("careful", &careful).await;
    for decision in [
        json!({"decision": "approve"}),
        json!({"decision": "edit", "arguments": {"expression": "0.30000000000000004 + 2"}}),
        json!({"decision": "reject", "reason": "not today"}),
    ] {
        let run = ada.post("/v1/runs", &json!({"task": TASK, "agent": careful})).await;
        becomes(&ada, &run, "waiting").await;
        answer(&ada, &run, &decision).await;
        let run = becomes(&ada, &run, "succeeded").await;
        replays(&server, &ada, &run).await;
        let told = ada.get(&path(&run, "/explain")).await;
        let asked = &told["steps"][1]["asked"][0];
        assert_eq!((&asked["question"], &asked["answer"]), (&json!("tool_call"), &decision), "{told}");
        assert_eq!(asked["answered_by"], run["requested_by"]);
        assert_eq!(told["waits"][0]["reason"], "a person has to approve");
        assert!(told["waits"][0]["until"].is_string() && told["times"]["waited_ms"].is_i64(), "{told}");
        assert_eq!(told["attempts"].as_array().unwrap().len(), 2);
    }
    let run = ada.post("/v1/runs", &json!({"task": TASK, "agent": careful})).await;
    becomes(&ada, &run, "waiting").await;
    // A run that has not ended is replayed as far as it is.
    let output = replay(&server, &[run["id"].as_str().unwrap()]);
    assert!(output.status.success() && shown(&output).contains("same so far: 2 steps"), "{}", shown(&output));
    ada.post(&path(&run, "/pause"), &Value::Null).await;
    ada.post(&path(&run, "/cancel"), &Value::Null).await;
    replays(&server, &ada, &run).await;
    let told = ada.get(&path(&run, "/explain")).await;
    assert_eq!((&told["status"], &told["steps"][1]["status"]), (&json!("cancelled"), &json!("asked")));
    assert!(told["pauses"][0]["by"] == run["requested_by"] && told["pauses"][0]["resumed_at"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn forks_replay_and_tell_where_they_come_from() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    let run = ada.run(&json!({"task": TASK})).await;
    let steps = ada.get(&path(&run, "/steps")).await;
    let tool = steps["items"].as_array().unwrap().iter().find(|step| step["kind"] == "tool").unwrap();
    for body in [json!({"step": tool["key"]}), json!({"step": tool["key"], "output": "48"})] {
        let fork = ada.post(&path(&run, "/fork"), &body).await;
        let fork = becomes(&ada, &fork, "succeeded").await;
        replays(&server, &ada, &fork).await;
        let told = ada.get(&path(&fork, "/explain")).await;
        assert_eq!(told["forked"], json!({"from": run["id"], "step": tool["key"]}));
        let taken = |step: usize| told["steps"][step]["taken_over"].as_bool().unwrap();
        assert!(taken(0) && taken(1) == body["output"].is_string() && !taken(2), "{told}");
        assert_eq!(told["cost"]["used"], told["cost"]["steps"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_admitted_how_and_why_this_agent_are_told() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    let user = json!({"email": "bob@example.org", "display_name": "Bob", "role": "member",
        "password": PASSWORD});
    let bob = ada.post("/v1/users", &user).await;
    let caller = server.sign_in_as("acme", "bob@example.org").await;
    let run = caller.run(&json!({"task": TASK})).await;
    // The rule is told as it was, whatever became of the member.
    let update = ada.request(Method::PATCH, &format!("/v1/users/{}", bob["id"].as_str().unwrap()));
    let update = update.json(&json!({"role": "viewer"})).send().await.unwrap();
    assert!(update.status().is_success(), "{}", update.text().await.unwrap());
    let told = ada.get(&path(&run, "/explain")).await;
    let admission = &told["admission"];
    assert_eq!(
        (&admission["action"], &admission["role"]),
        (&json!("runs.create"), &json!("member")),
        "{told}"
    );
    assert_eq!((&admission["requested_by"], &admission["limits"]["steps"]), (&bob["id"], &json!(500)));
    assert_eq!(
        (&told["selection"]["by"], &told["selection"]["reason"]),
        (&json!("scored"), &run["selection"]["reason"])
    );
    assert_eq!(told["selection"]["scores"], run["selection"]["scores"]);
    assert!(told["times"]["queued_ms"].as_i64().unwrap() >= 0 && told["times"]["worked_ms"].is_i64());
    let steps = told["steps"].as_array().unwrap();
    for (number, step) in (1..).zip(steps) {
        assert_eq!((&step["number"], step["begun"].as_array().unwrap().len()), (&json!(number), 1));
        assert!(step["duration_ms"].as_i64().unwrap() >= 0 && step["request"].is_string(), "{step}");
    }
    let named = ada.run(&json!({"task": TASK, "agent": ada.agent("assistant").await})).await;
    let told = ada.get(&path(&named, "/explain")).await;
    assert_eq!((&told["selection"]["by"], &told["admission"]["role"]), (&json!("named"), &json!("owner")));
    let document: Value = reqwest::get(server.url("/openapi.json")).await.unwrap().json().await.unwrap();
    let choice = document["components"]["schemas"]["Choice"].to_string();
    assert!(choice.contains("scores") || choice.contains("Selection"), "{choice}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_lost_in_a_crash_is_told_apart_and_the_run_replays() {
    let stub = StubModel::start([
        Answer::call("calculator", &json!({"expression": "19.99 * 3"}), 50, 10),
        Answer::stream().hang(),
        Answer::text(["It is 59.97."], 110, 12),
    ])
    .await
    .unwrap();
    let mut server = Server::with_model(&stub.base_url());
    let ada = server.tenant("acme").await;
    let agent = ada.agent("assistant").await;
    let run = ada.post("/v1/runs", &json!({"task": "Three at 19.99?", "agent": agent})).await;
    for _ in 0..1_000 {
        if stub.received().len() == 2 {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    server.kill();
    server.restart();
    let ada = server.sign_in("acme").await;
    let run = ada.ended(run["id"].as_str().unwrap()).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    let told = ada.get(&path(&run, "/explain")).await;
    assert_eq!(told["steps"][2]["begun"].as_array().unwrap().len(), 2, "{told}");
    assert_eq!(told["attempts"].as_array().unwrap().len(), 2);
    let cost = &told["cost"];
    let lost = cost["lost"].as_array().unwrap();
    assert_eq!(
        (lost.len(), &lost[0]["key"], &lost[0]["counts_for_run"]),
        (1, &told["steps"][2]["key"], &json!(true))
    );
    for name in ["input_tokens", "output_tokens", "cost_micros"] {
        let of = |usage: &Value| usage[name].as_u64().unwrap();
        assert_eq!(of(&cost["used"]), of(&cost["steps"]) + of(&lost[0]["amount"]), "{name}: {cost}");
        assert_eq!(cost["used"][name], run["usage"][name]);
    }
    assert_eq!(cost["steps"]["input_tokens"], 160);
    replays(&server, &ada, &run).await;
}

/// The page about it, without what is another each time.
fn documented() -> String {
    masked(include_str!("../../docs/replay-and-explain.md"))
}

/// A text without hashes and ids of runs.
fn masked(text: &str) -> String {
    let mask = |word: &str| match word.trim_end_matches(',') {
        hash if hash.len() >= 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => "#".to_owned(),
        id if id.starts_with("run_") => "#".to_owned(),
        _ => word.to_owned(),
    };
    text.lines().map(|line| line.split(' ').map(mask).collect::<Vec<_>>().join(" ") + "\n").collect()
}

/// A journal that somebody changed, as a file.
fn changed(file: &Path, change: impl FnOnce(&mut Value)) -> PathBuf {
    let mut journal: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    change(&mut journal);
    let changed = file.with_extension("changed.json");
    std::fs::write(&changed, journal.to_string()).unwrap();
    changed
}

/// The first event of this name in a journal, of a tool when it is a step's.
fn event<'a>(journal: &'a mut Value, kind: &str) -> &'a mut Value {
    let events = journal["events"].as_array_mut().unwrap();
    let of_tool = |body: &Value| body.get("outcome").is_none_or(|outcome| outcome["outcome"] == "tool");
    events.iter_mut().find(|event| event["body"]["type"] == kind && of_tool(&event["body"])).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_was_changed_is_refused_at_its_step() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    let run = ada.run(&json!({"task": TASK, "agent": ada.agent("assistant").await})).await;
    let (file, shown_whole) = replays(&server, &ada, &run).await;
    for row in
        ["    1  model: turn ", "    2  tool calculator ", "    3  model: turn ", "  end  run.succeeded "]
    {
        assert!(shown_whole.contains(row), "{shown_whole}");
    }
    assert!(
        documented().contains(&masked(&shown_whole)),
        "the page shows another transcript than {shown_whole}"
    );
    let refused = |change: &dyn Fn(&mut Value), said: &str| {
        let output = replay(&server, &[changed(&file, change).to_str().unwrap()]);
        let shown = shown(&output);
        assert_eq!(output.status.code(), Some(1), "{shown}");
        assert!(shown.contains(said), "{said} is not in {shown}");
    };
    refused(
        &|journal| event(journal, "step_ended")["body"]["outcome"]["content"] = json!("48"),
        "differs at step 2 (event 6): the event hash is another: the journal was changed",
    );
    let wrong =
        changed(&file, |journal| event(journal, "step_ended")["body"]["outcome"]["content"] = json!("48"));
    let wrong = shown(&replay(&server, &[wrong.to_str().unwrap()]));
    assert!(documented().contains(&masked(&wrong)), "the page shows another transcript than {wrong}");
    refused(
        &|journal| event(journal, "step_ended")["body"]["fingerprint"] = json!("0".repeat(32)),
        "differs at step 2 (event 6): the strategy asks for something else than the journal says",
    );
    refused(&|journal| journal["task"] = json!("What is 13 % of 380?"), "differs at step 1 ");
    refused(&|journal| journal["tools"][0]["description"] = json!("other"), "differs at step 1 ");
    refused(
        &|journal| event(journal, "succeeded")["body"]["answer"] = json!("48"),
        "the journal answers \"48\"",
    );
    refused(&|journal| drop(journal["events"].as_array_mut().unwrap().remove(4)), "has no event 5");
    refused(&|journal| drop(journal["events"].as_array_mut().unwrap().pop()), "/event_hash is not");
    refused(&|journal| journal["format"] = json!(9), "form 9");
    refused(&|journal| journal["events"][0]["body"] = json!({"type": "jumped"}), "/events/0/body is not");
    refused(&|journal| *journal = json!([]), "is no journal");
    let output = replay(&server, &["nowhere.json"]);
    assert!(shown(&output).contains("neither a run"), "{}", shown(&output));
    let output = replay(&server, &["run_01h455vb4pex5vsknk084sn02q"]);
    assert!(shown(&output).contains("there is no such run"), "{}", shown(&output));
    let missing = ada.request(Method::GET, "/v1/runs/run_01h455vb4pex5vsknk084sn02q/journal").send().await;
    assert_eq!(missing.unwrap().status(), StatusCode::NOT_FOUND);
}
