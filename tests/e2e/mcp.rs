//! An MCP server made with the Python SDK, which `./scripts/test` installs: an agent lists and calls its tools over
//! streamable HTTP, with a token.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use powerhouse_tests::stub_model::{Answer, StubModel};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::server::{Caller, Server};

const TOKEN: &str = "canary-mcp-token-77d0";

/// The server, in a Python of its own.
struct McpServer {
    child: Child,
    url: String,
}

impl McpServer {
    async fn start() -> Self {
        let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/mcp-venv/bin/python");
        let python = std::env::var_os("TEST_MCP_PYTHON").map_or(usual, Into::into);
        assert!(python.exists(), "{} is not there: ./scripts/test installs the MCP SDK", python.display());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/e2e/mcp_server.py");
        let mut command = Command::new(python);
        command.arg(script).arg(port.to_string()).arg(TOKEN);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let served = Self { child, url: format!("http://127.0.0.1:{port}/mcp") };
        for _ in 0..600 {
            if Client::new().post(&served.url).send().await.is_ok() {
                return served;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the MCP server does not start: is the package `mcp` in that Python?");
    }
}

impl Drop for McpServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn declared(ada: &Caller, mcp: &McpServer, allowed: &Value) -> Value {
    ada.post("/v1/secrets", &json!({"name": "crm-token", "value": TOKEN})).await;
    let server =
        json!({"url": mcp.url, "auth": {"kind": "bearer", "secret": "crm-token"}, "allowed_tools": allowed});
    ada.post("/v1/mcp-servers", &json!({"name": "crm", "server": server})).await
}

fn names(server: &Value) -> Vec<&str> {
    server["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_lists_and_calls_the_tools_of_a_real_server_with_a_token() {
    let mcp = McpServer::start().await;
    let stub = StubModel::start([
        Answer::call("crm__find_person", &json!({"name": "Ada"}), 1, 1),
        Answer::call("crm__note", &json!({"person": "forty-seven"}), 1, 1),
        Answer::call("crm__note", &json!({"person": 47, "text": "called"}), 1, 1),
        Answer::call("crm__fail", &json!({}), 1, 1),
        Answer::call("crm__whoami", &json!({}), 1, 1),
        Answer::call("crm__secret_admin", &json!({}), 1, 1),
        Answer::text(["Ada is person 47."], 1, 1),
    ])
    .await
    .unwrap();
    let server = Server::with(&[
        ("POWERHOUSE__MODEL__BASE_URL", &stub.base_url()),
        ("POWERHOUSE__TOOLS__ALLOW", "127.0.0.1"),
        ("POWERHOUSE__LOG__FILTER", "trace"),
    ]);
    let ada = server.tenant("acme").await;
    let allowed = json!(["find_person", "note", "fail", "whoami"]);
    let crm = declared(&ada, &mcp, &allowed).await;
    assert_eq!(crm["problem"], Value::Null, "{crm}");
    assert_eq!(names(&crm), ["crm__fail", "crm__find_person", "crm__note", "crm__whoami"]);
    assert_eq!(crm["tools"][1]["description"], "Finds a person by their name.");
    assert_eq!(
        (&crm["tools"][1]["safe_to_repeat"], &crm["tools"][2]["safe_to_repeat"]),
        (&json!(true), &json!(false))
    );

    let definition = json!({"kind": "react", "description": "Looks people up", "tools": ["crm__*"]});
    let agent = ada.publish("clerk", &definition).await;
    let run = ada.run(&json!({"task": "Who is Ada?", "agent": agent})).await;
    assert_eq!(run["answer"], "Ada is person 47.", "{run}");
    let offered: Vec<String> = stub.received()[0].body["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["function"]["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(offered, names(&crm));
    let steps = ada.get(&format!("/v1/runs/{}/steps", run["id"].as_str().unwrap())).await;
    let outputs: Vec<(&str, &str)> = steps["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|step| step["kind"] == "tool")
        .map(|step| (step["output"].as_str().unwrap(), step["status"].as_str().unwrap()))
        .collect();
    assert_eq!(outputs[0], ("Ada is person 47 of the CRM", "succeeded"));
    assert!(outputs[1].0.contains("person") && outputs[1].1 == "failed", "{outputs:?}");
    assert_eq!(outputs[2].0, "noted about 47: called");
    assert!(outputs[3].0.contains("Error executing tool fail") && outputs[3].1 == "failed", "{outputs:?}");
    assert_eq!(outputs[4].0, "you sent [secret crm-token]");
    // What is not allowed is not there, whatever the model asks for.
    assert_eq!(outputs.len(), 5);
    let last = stub.received().last().unwrap().body.to_string();
    assert!(last.contains("there is no tool `crm__secret_admin`"), "{last}");
    assert!(last.contains("<untrusted_tool_output"), "{last}");

    let prompts = stub.received().iter().map(|asked| asked.body.to_string()).collect::<String>();
    for text in [prompts, server.log(), steps.to_string(), crm.to_string()] {
        assert!(!text.contains(TOKEN), "the token is in {}", &text[..200.min(text.len())]);
    }
    let mut files = 0;
    for entry in std::fs::read_dir(server.folder().join("data")).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            let bytes = std::fs::read(entry.path()).unwrap();
            let found = bytes.windows(TOKEN.len()).any(|part| part == TOKEN.as_bytes());
            assert!(!found, "the token is in {}", entry.path().display());
            files += usize::from(bytes.windows(11).any(|part| part == b"find_person"));
        }
    }
    assert!(files > 0, "the database, with what the server's tools are, was among them");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_or_take_the_token_says_so_and_is_asked_again() {
    let mcp = McpServer::start().await;
    let server = Server::with(&[
        ("POWERHOUSE__MODEL__PROVIDER", "offline"),
        ("POWERHOUSE__TOOLS__ALLOW", "127.0.0.1"),
    ]);
    let ada = server.tenant("acme").await;
    ada.post("/v1/secrets", &json!({"name": "crm-token", "value": "the wrong token"})).await;
    let body = json!({"url": mcp.url, "auth": {"kind": "bearer", "secret": "crm-token"}});
    let crm = ada.post("/v1/mcp-servers", &json!({"name": "crm", "server": body})).await;
    assert_eq!(crm["tools"], json!([]));
    assert!(crm["problem"].as_str().unwrap().contains("does not take the secret"), "{crm}");
    let refused =
        json!({"name": "a", "definition": {"kind": "react", "description": "d", "tools": ["crm__note"]}});
    let refused = ada.request(Method::POST, "/v1/agents").json(&refused).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);

    let put = ada.request(Method::PUT, "/v1/secrets/crm-token").json(&json!({"value": TOKEN}));
    assert_eq!(put.send().await.unwrap().status(), StatusCode::OK);
    let crm = ada.post("/v1/mcp-servers/crm/refresh", &Value::Null).await;
    assert_eq!((names(&crm).len(), &crm["problem"]), (5, &Value::Null), "{crm}");

    // What it said stays while it is away.
    drop(mcp);
    let crm = ada.post("/v1/mcp-servers/crm/refresh", &Value::Null).await;
    assert_eq!(names(&crm).len(), 5);
    assert!(crm["problem"].as_str().unwrap().contains("cannot be reached"), "{crm}");

    for (server, pointer) in [
        (json!({"url": "http://mcp.example.org/"}), "/server/url"),
        (json!({"url": "https://10.0.0.1/"}), "/server/url"),
        (json!({"url": "https://a.invalid/{x}"}), "/server/url"),
        (
            json!({"url": "https://a.invalid/", "auth": {"kind": "query", "name": "k", "secret": "s"}}),
            "/server/auth/kind",
        ),
    ] {
        let body = json!({"name": "other", "server": server});
        let refused = ada.request(Method::POST, "/v1/mcp-servers").json(&body).send().await.unwrap();
        assert_eq!(refused.json::<Value>().await.unwrap()["pointer"], pointer, "{body}");
    }
}
