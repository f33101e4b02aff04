//! A stream that breaks off anywhere, also in the middle of an event, and is taken up on any replica, is whole.
//!
//! The short form runs with the other tests. `RECONNECTS=1000 cargo test -p powerhouse --test e2e streams` is the long one.

use std::time::Duration;

use futures::StreamExt as _;
use powerhouse_tests::own_redis::OwnRedis;
use powerhouse_tests::scale;
use powerhouse_tests::stub_model::{Answer, StubModel};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::task::JoinSet;

use crate::postgres::{migrated, settings, urls};
use crate::server::{Caller, Server};

const READERS: usize = 8;
/// How long one read of the whole may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// Knuth's linear congruential generator; the higher bits.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// Somebody who reads a run's events as bytes, on either replica.
struct Reader {
    replicas: [Caller; 2],
    path: String,
    dice: Dice,
    /// Whole events, as they came.
    read: String,
    breaks: usize,
}

impl Reader {
    /// Reads to the end, breaking off so many times at most.
    async fn read_all(&mut self, breaks: usize) -> String {
        self.read.clear();
        while !is_whole(&self.read) {
            let most = if self.breaks < breaks { self.dice.below(1_500) } else { usize::MAX };
            self.breaks += usize::from(most < usize::MAX);
            self.read_some(most).await;
        }
        std::mem::take(&mut self.read)
    }

    /// Takes the stream up after the last whole event, and drops it after so many bytes.
    async fn read_some(&mut self, most: usize) {
        let replica = &self.replicas[self.dice.below(2)];
        let after = self.read.lines().rev().find_map(|line| line.strip_prefix("id:"));
        let mut request = replica.request(Method::GET, &self.path);
        if let Some(after) = after {
            request = request.header("Last-Event-ID", after.trim());
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let mut bytes = Vec::new();
        let mut coming = answer.bytes_stream();
        while bytes.len() < most
            && let Some(piece) = coming.next().await
        {
            bytes.extend_from_slice(&piece.unwrap());
        }
        bytes.truncate(most);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some(end) = text.rfind("\n\n") else { return };
        // Comments only keep the connection alive.
        self.read.extend(text[..end + 2].split_inclusive("\n\n").filter(|event| event.contains("id:")));
    }
}

fn is_whole(read: &str) -> bool {
    read.lines().filter_map(|line| line.strip_prefix("event:")).any(|name| name.trim() == "run.succeeded")
}

/// Asks for a sum first, and then talks for some seconds.
async fn talker() -> StubModel {
    StubModel::answering(|call| {
        let messages = call.body["messages"].as_array().into_iter().flatten();
        if messages.filter(|message| message["role"] == "tool").count() == 0 {
            return Answer::call("calculator", &json!({"expression": "6 * 7"}), 10, 5);
        }
        let word = |number: usize| {
            let delta = json!({"choices": [{"delta": {"content": format!("Wort {number} – ")}}]});
            Answer::stream().event(&delta).pause(Duration::from_millis(10))
        };
        (0..300).map(word).reduce(Answer::then).unwrap().then(Answer::text(["and no more."], 10, 300))
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_off_anywhere_is_whole() {
    let breaks: usize = scale("RECONNECTS").unwrap_or(80);
    let (stub, own, redis) = (talker().await, migrated().await, OwnRedis::start());
    let (urls, base_url, redis_url) = (urls(&own), stub.base_url(), redis.url());
    let mut settings = settings(&urls, &base_url);
    settings.push(("REDIS_URL", &redis_url));
    let first = Server::with(&settings);
    let second = first.beside();
    let ada = first.tenant("acme").await;
    let definition = json!({"kind": "react", "description": "Calculates", "tools": ["calculator"],
        "approvals": ["calculator"]});
    let agent = ada.publish("careful", &definition).await;
    let run = ada.post("/v1/runs", &json!({"task": "What is 6 * 7?", "agent": agent})).await;
    let path = format!("/v1/runs/{}/events", run["id"].as_str().unwrap());

    let mut reading = JoinSet::new();
    for seed in 0..READERS {
        let dice = Dice(seed as u64 + 1);
        let replicas = [ada.clone(), ada.on(&second)];
        let mut reader = Reader { replicas, path: path.clone(), dice, read: String::new(), breaks: 0 };
        reading.spawn(async move {
            let mut wholes = Vec::new();
            // While the run is on its way, and again and again after it has ended.
            while wholes.is_empty() || reader.breaks < breaks / READERS {
                let whole = tokio::time::timeout(PATIENCE, reader.read_all(breaks / READERS)).await;
                wholes.push(whole.expect("the stream ends"));
            }
            wholes
        });
    }
    let asked = loop {
        let open = ada.get("/v1/approvals?state=open").await;
        if let Some(asked) = open["items"].as_array().unwrap().first() {
            break asked["id"].as_str().unwrap().to_owned();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    // Readers come and go while the run waits for a person, too.
    tokio::time::sleep(Duration::from_millis(500)).await;
    ada.post(&format!("/v1/approvals/{asked}/answer"), &json!({"decision": "approve"})).await;

    let wholes = reading.join_all().await.concat();
    let journal = ada.request(Method::GET, &path).send().await.unwrap().text().await.unwrap();
    let events: String = journal.split_inclusive("\n\n").filter(|event| event.contains("id:")).collect();
    let numbers = crate::server::events(&events).into_iter().map(|(id, ..)| id).collect::<Vec<_>>();
    let stored = own.ask("SELECT seq::text FROM run_events ORDER BY run_events.seq").await;
    assert_eq!(
        numbers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        stored,
        "as the journal has them"
    );
    for whole in &wholes {
        assert!(*whole == events, "not what the journal says:\n{whole}\nand not\n{events}");
    }
}
