//! Selection learns from what people say of runs, on every replica, for their tenant only, until it is made to forget.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::postgres::{migrated, settings, urls};
use crate::server::{Caller, Server, binary};

/// Half a sentence of each agent's. Which of the two fits it better is what is learnt.
const TASK: &str = "how much has the hotel in lisbon charged";

/// Two agents with examples.
struct Agency {
    traveller: String,
    banker: String,
}

impl Agency {
    async fn of(caller: &Caller) -> Self {
        let agent = async |name: &str, examples: [&str; 5]| {
            let definition = json!({"kind": "direct", "description": name, "examples": examples});
            caller.publish(name, &definition).await
        };
        let trips = [
            "book a flight to berlin",
            "find me a cheap room for friday",
            "i need a plane ticket to rome",
            "reserve two seats on the train to vienna",
            "which hotels in rome have a pool",
        ];
        let money = [
            "how much is my account balance",
            "send money to my landlord",
            "transfer 50 euros to my savings account",
            "how much money has the bank charged",
            "how much was charged for the last transfer",
        ];
        Self { traveller: agent("traveller", trips).await, banker: agent("banker", money).await }
    }

    /// The selection of a run that leaves the choice to the platform.
    async fn selection(&self, caller: &Caller, task: &str) -> Value {
        let run = json!({"task": task, "candidates": [self.traveller, self.banker]});
        caller.run(&run).await["selection"].clone()
    }

    /// Waits until this agent fits the task best, by what was learnt. Until a process has learnt, words decide.
    async fn fits_best(&self, caller: &Caller, agent: &str) -> Value {
        let mut last = Value::Null;
        for _ in 0..40 {
            last = self.selection(caller, TASK).await;
            let is_learnt = last["reason"].as_str().unwrap().contains("by examples");
            if is_learnt && last["scores"][0]["agent"] == agent {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        panic!("it does not come to fit best: {last:#}");
    }
}

async fn judge(caller: &Caller, agent: &str, task: &str, verdict: &str) {
    let run = caller.run(&json!({"task": task, "agent": agent})).await;
    let path = format!("/v1/runs/{}/feedback", run["id"].as_str().unwrap());
    caller.post(&path, &json!({ "verdict": verdict })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_learn_from_feedback_for_its_tenant_only_and_forget_when_told() {
    let own = migrated().await;
    let urls = urls(&own);
    let first = Server::with(&settings(&urls, "offline"));
    let second = first.beside();
    let (ada, eve) = (first.tenant("acme").await, first.tenant("evil").await);
    let (agency, others) = (Agency::of(&ada).await, Agency::of(&eve).await);

    let before = agency.fits_best(&ada, &agency.banker).await;
    let total: f64 = before["propensities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["propensity"].as_f64().unwrap())
        .sum();
    assert!((total - 1.0).abs() < 1e-9 && before["propensity"].as_f64().unwrap() > 0.0, "{before:#}");

    for task in [
        "how much has the hotel in porto charged",
        "has the hotel in lisbon charged for breakfast",
        "look up how much the hotel charged",
        "see what the hotel in lisbon has charged",
    ] {
        judge(&ada, &agency.traveller, task, "good").await;
    }
    judge(&ada, &agency.banker, TASK, "bad").await;

    // The second replica has heard of no feedback.
    let ada_there = ada.on(&second);
    let after = agency.fits_best(&ada_there, &agency.traveller).await;
    assert!(after["revision"].as_u64() > before["revision"].as_u64(), "{after:#}");
    agency.fits_best(&ada, &agency.traveller).await;
    let known = ada_there.get("/v1/selection").await;
    let of = |agent: &str| {
        known["agents"].as_array().unwrap().iter().find(|one| one["agent"] == agent).cloned().unwrap()
    };
    let (traveller, banker) = (of(&agency.traveller), of(&agency.banker));
    assert_eq!((&traveller["learnt_examples"], &traveller["good"]), (&json!(4), &json!(4)), "{known:#}");
    assert_eq!(banker["bad"], 1, "{known:#}");
    assert!(traveller["expected"].as_f64() > banker["expected"].as_f64(), "{known:#}");
    assert!(known["threshold"].is_number() && known["learnt_at"].is_string(), "{known:#}");

    others.fits_best(&eve.on(&second), &others.banker).await;

    let forgotten = ada_there.post("/v1/selection/reset", &Value::Null).await;
    assert!(forgotten["reset_at"].is_string() && forgotten["threshold"].is_null(), "{forgotten:#}");
    let again = agency.fits_best(&ada, &agency.banker).await;
    assert!(again["revision"].as_u64() >= forgotten["revision"].as_u64(), "{again:#}");
    agency.fits_best(&ada_there, &agency.banker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fits_nobody_goes_to_the_default_agent_and_what_was_learnt_outlives_the_process() {
    let mut server = Server::start();
    let ada = server.tenant("acme").await;
    let agency = Agency::of(&ada).await;
    let draft = json!({"name": "draft", "definition": {"kind": "direct", "description": ""}});
    let draft = ada.post("/v1/agents", &draft).await["id"].as_str().unwrap().to_owned();
    let set = async |body: Value, etag: Option<&str>| {
        let mut request = ada.request(Method::PUT, "/v1/selection").json(&body);
        if let Some(etag) = etag {
            request = request.header("if-match", etag);
        }
        request.send().await.unwrap()
    };
    let unpublished = set(json!({"default_agent": draft}), None).await;
    assert_eq!(unpublished.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let done = set(json!({"default_agent": agency.traveller}), None).await;
    assert_eq!(done.status(), StatusCode::OK);
    let stale = set(json!({}), Some("\"0\"")).await;
    assert_eq!(stale.status(), StatusCode::PRECONDITION_FAILED);

    let stranger = agency.selection(&ada, "qqq zzz www").await;
    assert_eq!(stranger["agent"], agency.traveller, "{stranger:#}");
    assert!(stranger["reason"].as_str().unwrap().contains("default agent"), "{stranger:#}");
    let fitting = agency.selection(&ada, "transfer 50 euros to my account").await;
    assert_eq!(
        (&fitting["agent"], &fitting["propensity"]),
        (&json!(agency.banker), &json!(1.0)),
        "{fitting:#}"
    );

    for task in
        ["how much has the hotel charged", "has the hotel in lisbon charged", "what the hotel charged"]
    {
        judge(&ada, &agency.traveller, task, "good").await;
    }
    agency.fits_best(&ada, &agency.traveller).await;
    server.restart();
    let ada = ada.on(&server);
    agency.fits_best(&ada, &agency.traveller).await;
    assert_eq!(ada.get("/v1/selection").await["default_agent"], agency.traveller);

    // Retired, it is as if nobody had been named.
    let path = format!("/v1/agents/{}", agency.traveller);
    assert!(ada.request(Method::DELETE, &path).send().await.unwrap().status().is_success());
    let alone = agency.selection(&ada, "qqq zzz www").await;
    assert_eq!(alone["agent"], agency.banker, "{alone:#}");
}

/// An agent whose own budget is used up is passed over while there is another.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_without_budget_is_passed_over() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    let agency = Agency::of(&ada).await;
    let task = "transfer 50 euros to my account";
    assert_eq!(agency.selection(&ada, task).await["agent"], agency.banker);
    ada.post("/v1/budgets", &json!({"scope": agency.banker, "period": "day", "cap_tokens": 1})).await;
    assert_eq!(agency.selection(&ada, task).await["agent"], agency.traveller);
}

/// What was logged lets another way of choosing be estimated, by a command that has the database and no server.
#[tokio::test(flavor = "multi_thread")]
async fn other_ways_of_choosing_are_estimated_from_what_was_logged() {
    let server = Server::with(&[("POWERHOUSE__MODEL__PROVIDER", "offline")]);
    let (ada, eve) = (server.tenant("acme").await, server.tenant("evil").await);
    let tenant = async |caller: &Caller| caller.get("/v1/tenant").await["id"].as_str().unwrap().to_owned();
    let estimate = |tenant: &str, more: &[&str]| {
        let mut command = binary(server.folder());
        command.args(["selection", "estimate", "--tenant", tenant]).args(more);
        command.output().unwrap()
    };
    let mut twins = Vec::new();
    for name in ["first", "second"] {
        let definition = json!({"kind": "direct", "description": "Speaks of parrots and their feathers"});
        twins.push(ada.publish(name, &definition).await);
    }
    let by_name = ada.run(&json!({"task": "Speaks of parrots", "agent": twins[0]})).await;
    assert_eq!(by_name["selection"]["propensities"], json!([]));
    for _ in 0..8 {
        let run = ada.run(&json!({"task": "Speaks of parrots and feathers", "candidates": twins})).await;
        assert_eq!(run["selection"]["propensities"].as_array().unwrap().len(), 2, "{run}");
        let verdict = if run["selection"]["agent"] == json!(twins[0]) { "good" } else { "bad" };
        let path = format!("/v1/runs/{}/feedback", run["id"].as_str().unwrap());
        ada.post(&path, &json!({"verdict": verdict})).await;
    }
    let id = tenant(&ada).await;
    let output = estimate(&id, &["--json", "--width", "0.05,1"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["choices"], &told["confidence"]), (&json!(8), &json!(0.95)), "{told}");
    let policies = told["policies"].as_array().unwrap();
    let names: Vec<_> = policies.iter().map(|policy| policy["policy"].as_str().unwrap()).collect();
    assert_eq!(names, ["greedy", "even", "width 0.05", "width 1"]);
    // The width that there was: each weight is 1, and nothing is left to guess.
    let near = |value: &Value, expected: f64| (value.as_f64().unwrap() - expected).abs() < 1e-6;
    let mean = told["mean_reward"].as_f64().unwrap();
    for estimate in ["ips", "snips"] {
        assert!(near(&policies[2][estimate]["value"], mean), "{told:#}");
    }
    assert!(near(&policies[2]["effective"], 8.0), "{told:#}");
    assert!(near(&policies[3]["snips"]["value"], policies[1]["snips"]["value"].as_f64().unwrap()));

    let output = estimate(&id, &["--days", "1"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("8 choices;") && text.contains("\ngreedy ") && text.contains("too few to rely on"),
        "{text}"
    );
    for (of, more, says) in
        [(tenant(&eve).await, &[][..], "no run of"), (id, &["--width", "2"][..], "from 0 to 1")]
    {
        let output = estimate(&of, more);
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains(says));
    }
}
