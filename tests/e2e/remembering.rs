//! The kinds that remember, over two runs with the real tools: the second run builds on the first.

use powerhouse_tests::stub_model::{Answer, Received, StubModel};
use serde_json::{Value, json};

use crate::server::{Caller, Server};

const MODEL: &str = "stub-1";

fn text(received: &Received, index: usize) -> String {
    received.body["messages"][index]["content"].as_str().unwrap_or_default().to_owned()
}

fn last(received: &Received) -> String {
    let messages = received.body["messages"].as_array().unwrap();
    text(received, messages.len() - 1)
}

/// Answers what each call is for, which its guidance tells.
fn speak(received: &Received) -> Answer {
    let (guidance, asked) = (text(received, 0), last(received));
    let is_first = !asked.contains("coffee") && !asked.contains("second");
    let answer = if guidance.contains("Which facts of lasting use") {
        let fact = if is_first { "The user drinks tea" } else { "The user drinks coffee, and no tea" };
        json!({"facts": [fact]}).to_string()
    } else if guidance.contains("Compare each new fact") {
        let (op, memory) = if asked.contains("1. The user drinks tea") { ("UPDATE", 1) } else { ("ADD", 0) };
        let text = if is_first { "The user drinks tea" } else { "The user drinks coffee, and no tea" };
        json!({"operations": [{"op": op, "memory": memory, "text": text, "importance": 6}]}).to_string()
    } else if guidance.contains("Note what has happened") {
        json!({"observation": "The user told of a first sheet.", "importance": 4}).to_string()
    } else if guidance.contains("worth remembering") {
        json!({"observations": [{"text": "There is a sheet of metal.", "importance": 9}]}).to_string()
    } else if guidance.contains("most salient") {
        json!({"questions": ["What is there of metal?"]}).to_string()
    } else if guidance.contains("high-level insights") {
        json!({"insights": [{"insight": "Metal matters to the user.", "because": [1], "importance": 8}]})
            .to_string()
    } else if guidance.contains("Write a procedure") {
        "1. Multiply the sides and the price.".to_owned()
    } else if guidance.contains("verify strictly") {
        json!({"success": true, "critique": ""}).to_string()
    } else if guidance.contains("Name the procedure") {
        json!({"name": "Price of a sheet", "description": "The price of a sheet from its sides."}).to_string()
    } else if guidance.contains("make the curriculum") {
        json!({"candidates": [{"task": "Price a sheet", "chance": 40}, {"task": "Price a roof", "chance": 20}]}).to_string()
    } else if guidance.contains("has tried what was proposed") {
        json!({"success": true, "reason": "it is right"}).to_string()
    } else {
        "Done.".to_owned()
    };
    Answer::text([answer.as_str()], 10, 2)
}

struct Scene {
    ada: Caller,
    stub: StubModel,
    agent: String,
}

impl Scene {
    /// What the model was asked by the second of two runs of an agent of this kind, by what its guidance says.
    async fn second(&self, first: &str, second: &str, guidance: &str) -> String {
        let mut before = 0;
        for task in [first, second] {
            before = self.stub.received().len();
            let run = self.ada.run(&json!({"task": task, "agent": self.agent})).await;
            assert_eq!(run["status"], "succeeded", "{run}");
        }
        let asked = self.stub.received();
        let found = asked[before..].iter().find(|received| text(received, 0).contains(guidance));
        last(found.unwrap_or_else(|| panic!("nobody was told: {guidance}")))
    }

    async fn remembered(&self) -> Vec<(String, String)> {
        let page = self.ada.get(&format!("/v1/agents/{}/memories", self.agent)).await;
        let shown = |memory: &Value, name: &str| memory[name].as_str().unwrap().to_owned();
        let items = page["items"].as_array().unwrap().iter();
        items.map(|memory| (shown(memory, "kind"), shown(memory, "text"))).collect()
    }
}

async fn scene(server: &Server, stub: StubModel, kind: &str, more: Value) -> Scene {
    let ada = server.tenant("acme").await;
    let mut definition = json!({"kind": kind, "description": "Remembers", "model": MODEL,
        "tools": ["memory_search", "memory_apply"]});
    definition.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    if definition.get("agents").is_some() {
        ada.publish("pupil", &json!({"kind": "direct", "description": "Tries", "model": MODEL})).await;
    }
    let agent = ada.publish("elephant", &definition).await;
    Scene { ada, stub, agent }
}

async fn of(kind: &str, more: Value) -> (Server, Scene) {
    let stub = StubModel::answering(speak).await.unwrap();
    let server = Server::with_model(&stub.base_url());
    let scene = scene(&server, stub, kind, more).await;
    (server, scene)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fact_is_paged_in_and_put_right() {
    let (_server, scene) = of("memory", json!({})).await;
    let shown =
        scene.second("I drink tea", "I drink coffee now, and no tea", "You have worked for this user").await;
    assert!(shown.contains("- The user drinks tea"), "{shown}");
    let expected = ("fact".to_owned(), "The user drinks coffee, and no tea".to_owned());
    assert_eq!(scene.remembered().await, [expected]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_comes_to_mind() {
    let (_server, scene) = of("adaptive_memory", json!({})).await;
    let shown = scene.second("A first sheet", "A second sheet", "What you remember of earlier runs").await;
    assert!(shown.contains("- The user told of a first sheet."), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn conclusions_are_drawn_once_enough_was_seen() {
    let (_server, scene) = of("generative", json!({"parameters": {"reflect_past": 10}})).await;
    let shown = scene.second("A first sheet", "A second sheet", "Plan how to do the task").await;
    assert!(shown.contains("- Metal matters to the user."), "{shown}");
    let kinds: Vec<_> = scene.remembered().await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["observation", "plan", "observation", "reflection", "plan"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_skill_that_was_learnt_is_built_on_and_replaced() {
    let (_server, scene) = of("voyager", json!({})).await;
    let shown = scene.second("Price a sheet of 1 by 2", "Price a second sheet", "Write a procedure").await;
    assert!(shown.contains("- Price of a sheet: The price of a sheet from its sides."), "{shown}");
    let skills = scene.remembered().await.into_iter().filter(|(kind, _)| kind == "skill");
    assert_eq!(skills.count(), 1, "the same name is the same skill");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_succeeded_is_not_proposed_again() {
    let agents = json!({"agents": [{"name": "pupil"}], "parameters": {"rounds": 1}});
    let (_server, scene) = of("curriculum", agents).await;
    let shown =
        scene.second("Learn about sheets", "Learn about second sheets", "You make the curriculum").await;
    assert!(shown.contains("have succeeded:\n- Price a sheet"), "{shown}");
    let texts: Vec<_> = scene.remembered().await.into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["Succeeded: Price a sheet", "Succeeded: Price a roof"]);
}
