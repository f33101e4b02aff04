//! Programs of models, in the binary as it is shipped.

use powerhouse_tests::stub_model::{Answer, StubModel};
use serde_json::json;

use crate::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_written_mended_and_run_in_the_sandbox() {
    let stub = StubModel::start([
        Answer::text(["```python\nimport statistics\nprint(statistics.median([3, 1, 2]) / zero)\n```"], 1, 1),
        Answer::text(["```python\nimport statistics\nprint(statistics.median([3, 1, 2]))\n```"], 1, 1),
        Answer::text(["The median is 2."], 1, 1),
    ])
    .await
    .unwrap();
    let server = Server::with_model(&stub.base_url());
    let ada = server.tenant("acme").await;
    let definition = json!({"kind": "code_interpreter", "description": "Calculates", "tools": ["run_code"]});
    let agent = ada.publish("coder", &definition).await;
    let run = ada.run(&json!({"task": "What is the median of 3, 1 and 2?", "agent": agent})).await;
    assert_eq!(run["answer"], "The median is 2.", "{run}");
    let asked = stub.received();
    assert!(asked[1].body.to_string().contains("name 'zero' is not defined"), "{}", asked[1].body);
    let id = run["id"].as_str().unwrap();
    let steps = ada.get(&format!("/v1/runs/{id}/steps")).await;
    let outputs: Vec<&str> = steps["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|step| step["kind"] == "tool")
        .map(|step| step["output"].as_str().unwrap())
        .collect();
    assert_eq!(outputs[1], r#"{"printed":"2\n","result":null}"#);
    assert!(outputs[0].contains(r#""line":2"#), "{outputs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_finds_nothing_of_the_machine_and_an_endless_one_is_stopped() {
    let snoop = "import os\nprint(dict(os.environ))\ntry:\n    print(open('/etc/hostname').read())\nexcept OSError as e:\n    print(type(e))";
    let stub = StubModel::start([
        Answer::call("run_code", &json!({"code": snoop}), 1, 1),
        Answer::call("run_code", &json!({"code": "while True: pass"}), 1, 1),
        Answer::call("run_code", &json!({"code": "data[0] + data[1]", "data": [40, 2]}), 1, 1),
        Answer::text(["Done."], 1, 1),
    ])
    .await
    .unwrap();
    let server = Server::with_model(&stub.base_url());
    let ada = server.tenant("acme").await;
    let definition = json!({"kind": "react", "description": "Tries", "tools": ["run_code"]});
    let agent = ada.publish("coder", &definition).await;
    let run = ada.run(&json!({"task": "Look around", "agent": agent})).await;
    let run = ada.ended(run["id"].as_str().unwrap()).await;
    assert_eq!(run["answer"], "Done.", "{run}");
    let asked = stub.received();
    let last = asked.last().unwrap().body.to_string();
    assert!(last.contains("{}") && last.contains("Error"), "{last}");
    assert!(!last.contains("sk-canary"), "{last}");
    assert!(last.contains("and was stopped"), "{last}");
    assert!(last.contains("42"), "{last}");
}
