//! Schedules: over the API, and fired by two replicas on one database.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::postgres::{migrated, settings, urls};
use crate::server::{Caller, PASSWORD, Server};

/// A schedule once it is as it should be.
async fn until(caller: &Caller, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..400 {
        let schedule = caller.get(path).await;
        if is_so(&schedule) {
            return schedule;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("in vain: {}", caller.get(path).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_made_previewed_changed_paused_resumed_and_removed() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    let body = json!({"name": "Report", "cron": "30 2 * * *", "time_zone": "Europe/Berlin", "task": "1 + 1",
        "priority": 2, "deadline_seconds": 3600});
    let made = ada.request(Method::POST, "/v1/schedules").json(&body).send().await.unwrap();
    assert_eq!(made.status(), StatusCode::CREATED);
    let (path, tag) =
        (made.headers()["location"].to_str().unwrap().to_owned(), made.headers()["etag"].clone());
    let schedule: Value = made.json().await.unwrap();
    assert_eq!((&schedule["status"], &schedule["missed"]), (&json!("active"), &json!("once")));

    let firings = ada.get(&format!("{path}/firings?limit=100")).await["items"].as_array().unwrap().clone();
    assert_eq!((firings.len(), &firings[0]), (100, &schedule["next_at"]));
    assert!(firings.windows(2).all(|pair| pair[0].as_str() < pair[1].as_str()));
    let too_many = ada.request(Method::GET, &format!("{path}/firings?limit=101")).send().await.unwrap();
    assert_eq!(too_many.status(), StatusCode::BAD_REQUEST);

    let changed = json!({"name": "Report", "cron": "0 9 L * *", "task": "1 + 1", "missed": "catch_up"});
    let put = |tag: reqwest::header::HeaderValue| {
        ada.request(Method::PUT, &path).header("if-match", tag).json(&changed).send()
    };
    let done: Value = put(tag.clone()).await.unwrap().json().await.unwrap();
    assert_eq!(
        (&done["time_zone"], &done["catch_up"], &done["cron"]),
        (&json!("UTC"), &json!(10), &json!("0 9 L * *"))
    );
    assert_eq!(put(tag).await.unwrap().status(), StatusCode::PRECONDITION_FAILED);

    let paused = ada.post(&format!("{path}/pause"), &Value::Null).await;
    assert_eq!((&paused["status"], &paused["paused"]["code"]), (&json!("paused"), &json!("asked")));
    assert_eq!(ada.post(&format!("{path}/pause"), &Value::Null).await, paused, "it is paused already");
    assert_eq!(
        ada.get(&format!("{path}/firings")).await["items"][0],
        done["next_at"],
        "as if it were active"
    );
    assert_eq!(ada.post(&format!("{path}/resume"), &Value::Null).await["status"], "active");
    assert_eq!(ada.get("/v1/schedules").await["items"].as_array().unwrap().len(), 1);
    let removed = ada.request(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(removed.status(), StatusCode::NO_CONTENT);
    assert_eq!(ada.request(Method::GET, &path).send().await.unwrap().status(), StatusCode::NOT_FOUND);

    for (field, value) in [
        ("name", json!(" ")),
        ("cron", json!("* * *")),
        ("cron", json!("0 0 30 2 *")),
        ("time_zone", json!("Berlin")),
        ("missed", json!("never")),
        ("catch_up", json!(3)),
        ("task", json!("")),
        ("priority", json!(10)),
        ("deadline_seconds", json!(0)),
    ] {
        let mut wrong = body.clone();
        wrong[field] = value;
        let refused = ada.request(Method::POST, "/v1/schedules").json(&wrong).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
        let problem: Value = refused.json().await.unwrap();
        assert_eq!(problem["pointer"], format!("/{field}"), "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_firing_makes_one_run_however_many_replicas_there_are() {
    let own = migrated().await;
    let urls = urls(&own);
    let first = Server::with(&settings(&urls, "offline"));
    let second = first.beside();
    let ada = first.tenant("acme").await;
    let mut paths = Vec::new();
    for number in 0..5 {
        let body = json!({"name": format!("{number}"), "cron": "* * * * *", "task": format!("{number} + 1"),
            "missed": "catch_up", "catch_up": 4});
        paths.push(format!(
            "/v1/schedules/{}",
            ada.post("/v1/schedules", &body).await["id"].as_str().unwrap()
        ));
    }
    // As if nobody had looked for ten minutes.
    own.run("UPDATE schedules SET next_at = date_trunc('minute', now()) - interval '10 minutes'").await;
    for path in &paths {
        let fired = until(&ada, path, |schedule| !schedule["last"].is_null()).await;
        let run = ada.on(&second).ended(fired["last"]["run"].as_str().unwrap()).await;
        assert_eq!((&run["status"], &run["requested_by"]), (&json!("succeeded"), &fired["requested_by"]));
        assert!(
            fired["next_at"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap()
                > Utc::now() - TimeDelta::minutes(1)
        );
    }
    // Both replicas look again, and find nothing more; another minute may have begun.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let runs = ada.get("/v1/runs?limit=100").await["items"].as_array().unwrap().clone();
    for number in 0..5 {
        let task = json!(format!("{number} + 1"));
        let of_one = runs.iter().filter(|run| run["task"] == task).count();
        assert!((4..=5).contains(&of_one), "the last four of eleven, and the next minute's: {of_one}");
    }
    let ids: BTreeSet<&str> = runs.iter().map(|run| run["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), runs.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_has_the_rights_of_whom_it_runs_for_now() {
    let own = migrated().await;
    let urls = urls(&own);
    let server = Server::with(&settings(&urls, "offline"));
    let ada = server.tenant("acme").await;
    let bob =
        json!({"email": "bob@example.org", "display_name": "Bob", "role": "operator", "password": PASSWORD});
    let bob_id = ada.post("/v1/users", &bob).await["id"].as_str().unwrap().to_owned();
    let bob = server.sign_in_as("acme", "bob@example.org").await;
    let body = json!({"name": "Report", "cron": "* * * * *", "task": "1 + 1"});
    let schedule = bob.post("/v1/schedules", &body).await;
    assert_eq!(schedule["requested_by"], bob_id.as_str());
    let path = format!("/v1/schedules/{}", schedule["id"].as_str().unwrap());
    let change = async |change: Value| {
        let changed = ada.request(Method::PATCH, &format!("/v1/users/{bob_id}")).json(&change).send().await;
        assert_eq!(changed.unwrap().status(), StatusCode::OK);
    };
    let due = "UPDATE schedules SET next_at = date_trunc('minute', now()) WHERE next_at IS NOT NULL";
    for (given, taken, code) in [
        (json!({"status": "active"}), json!({"status": "disabled"}), "requester_gone"),
        (json!({"status": "active"}), json!({"role": "viewer"}), "refused"),
    ] {
        if code == "refused" {
            change(given).await;
            ada.post(&format!("{path}/resume"), &Value::Null).await;
        }
        change(taken).await;
        own.run(due).await;
        let paused = until(&ada, &path, |schedule| schedule["status"] == "paused").await;
        assert_eq!(paused["paused"]["code"], code, "{paused}");
        let newest = ada.get("/v1/audit?actor=platform&limit=1").await["items"][0].take();
        assert_eq!(
            newest["details"],
            json!({ "reason": code }),
            "nobody asked, and it is written down: {newest}"
        );
        assert!(paused["next_at"].is_null() && paused["last"].is_null());
    }
    assert!(ada.get("/v1/runs").await["items"].as_array().unwrap().is_empty());

    // Whoever changes what it does takes it over.
    let taken =
        ada.request(Method::PUT, &path).json(&body).send().await.unwrap().json::<Value>().await.unwrap();
    assert_ne!(taken["requested_by"], bob_id.as_str());
    ada.post(&format!("{path}/resume"), &Value::Null).await;
    own.run(due).await;
    let fired = until(&ada, &path, |schedule| !schedule["last"].is_null()).await;
    assert_eq!(ada.ended(fired["last"]["run"].as_str().unwrap()).await["status"], "succeeded");
}
