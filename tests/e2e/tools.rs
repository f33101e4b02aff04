//! Tools that a tenant declares, against a service on this machine: how they are called, where they may reach, and that the
//! secret which they send is nowhere else.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use powerhouse_tests::stub_model::{Answer, StubModel, request};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use crate::postgres::{migrated, settings, urls};
use crate::secrets::dump;
use crate::server::{Caller, Server};

const CANARY: &str = "canary-tool-5b1c77";

/// A service that answers each request with what it was sent.
#[derive(Clone)]
struct Echo {
    url: String,
    received: Arc<Mutex<Vec<String>>>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let echo = Self { url, received: Arc::default() };
        let serving = echo.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let echo = serving.clone();
                tokio::spawn(async move { echo.answer(stream).await });
            }
        });
        echo
    }

    async fn answer(&self, mut stream: TcpStream) -> Option<()> {
        let (head, body) = request(&mut stream).await.ok()?;
        let text = head + &String::from_utf8_lossy(&body);
        self.received.lock().unwrap().push(text.clone());
        let (status, extra) = match text.split(' ').nth(1).unwrap_or_default() {
            path if path.starts_with("/moved") => ("302 Found", "location: http://127.0.0.1:1/\r\n"),
            path if path.starts_with("/missing") => ("404 Not Found", ""),
            _ => ("200 OK", ""),
        };
        let body = match text.split(' ').nth(1).unwrap_or_default() {
            path if path.starts_with("/large") => "x".repeat(100_000),
            path if path.starts_with("/openapi.yaml") => "# Pets\nopenapi: 3.1.0\npaths: {}\n".to_owned(),
            path if path.starts_with("/openapi.json") => {
                json!({"openapi": "3.0.3", "servers": [{"url": self.url}],
                "paths": {"/pets/{id}": {"get": {"operationId": "getPet", "summary": "A pet", "parameters": [
                    {"name": "id", "in": "path", "required": true, "schema": {"type": "string"}}]}}}})
                .to_string()
            }
            _ => format!("you sent:\n{text}\nin base64: {}", STANDARD.encode(CANARY)),
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\n{extra}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await.ok()
    }

    fn received(&self) -> Vec<String> {
        self.received.lock().unwrap().clone()
    }
}

/// A server whose tenants' tools may call what is on this machine.
fn reaching_out(stub: &StubModel) -> Server {
    Server::with(&[
        ("POWERHOUSE__MODEL__BASE_URL", &stub.base_url()),
        ("POWERHOUSE__TOOLS__ALLOW", "127.0.0.1"),
    ])
}

fn parameters(properties: &Value, required: &Value) -> Value {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn note(echo: &Echo, auth: &Value) -> Value {
    json!({"description": "Writes a note about a person", "method": "POST", "url": format!("{}/people/{{id}}/notes", echo.url),
        "parameters": parameters(&json!({"id": {"type": "string"}, "notify": {"type": "boolean"}, "text": {"type": "string"}}),
                                 &json!(["id", "text"])),
        "query": ["notify"], "auth": auth})
}

/// An agent that lists these tools.
async fn agent(ada: &Caller, name: &str, tools: &Value) -> String {
    ada.publish(name, &json!({"kind": "react", "description": "Does it", "tools": tools})).await
}

async fn outputs(ada: &Caller, run: &Value) -> Vec<String> {
    let steps = ada.get(&format!("/v1/runs/{}/steps", run["id"].as_str().unwrap())).await;
    let steps = steps["items"].as_array().unwrap().iter().filter(|step| step["kind"] == "tool");
    steps.map(|step| step["output"].as_str().unwrap().to_owned()).collect()
}

async fn refused(caller: &Caller, method: Method, path: &str, body: &Value) -> Value {
    let answer = caller.request(method, path).json(body).send().await.unwrap();
    assert!(answer.status().is_client_error(), "{}: {body}", answer.status());
    answer.json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_tool_is_called_with_each_argument_in_its_place() {
    let echo = Echo::start().await;
    let stub = StubModel::start([
        Answer::call("note", &json!({"id": "a/1", "notify": true, "text": 5}), 1, 1),
        Answer::call("note", &json!({"id": "a/1", "notify": true, "text": "Hello"}), 1, 1),
        Answer::text(["Done."], 1, 1),
    ])
    .await
    .unwrap();
    let server = reaching_out(&stub);
    let ada = server.tenant("acme").await;
    ada.post("/v1/secrets", &json!({"name": "crm", "value": CANARY})).await;
    let auth = json!({"kind": "header", "name": "X-Api-Key", "secret": "crm"});
    let made = ada.post("/v1/tools", &json!({"name": "note", "tool": note(&echo, &auth)})).await;
    assert_eq!((&made["name"], &made["version"]), (&json!("note"), &json!(1)));
    assert_eq!(made["tool"]["safe_to_repeat"], false);
    assert_eq!(ada.get("/v1/tools/note").await, made);
    let agent = agent(&ada, "clerk", &json!(["note", "calculator"])).await;
    let run = ada.run(&json!({"task": "Greet person a/1", "agent": agent})).await;
    assert_eq!(run["answer"], "Done.", "{run}");

    // The model was offered the tool, told of its mistake, and shown the answer as data.
    let asked = stub.received();
    let offered = asked[0].body["tools"].as_array().unwrap();
    assert_eq!((offered.len(), &offered[0]["function"]["name"]), (2, &json!("note")));
    let outputs = outputs(&ada, &run).await;
    assert!(outputs[0].contains("/text: 5 is not of type \"string\""), "{outputs:?}");
    let received = echo.received();
    let [request] = received.as_slice() else { panic!("{received:?}") };
    assert!(request.starts_with("POST /people/a%2F1/notes?notify=true HTTP/1.1\r\n"), "{request}");
    let lower = request.to_lowercase();
    assert!(
        lower.contains(&format!("x-api-key: {CANARY}")) && lower.contains("idempotency-key: "),
        "{request}"
    );
    assert!(request.ends_with("\r\n\r\n{\"text\":\"Hello\"}"), "{request}");
    assert!(outputs[1].starts_with("status: 200") && outputs[1].contains("[secret crm]"), "{outputs:?}");
    let events = ada.events(run["id"].as_str().unwrap(), 0).await;
    let offered = events.iter().find(|(_, name, _)| name == "run.tools_offered").expect("it is journalled");
    assert_eq!(offered.2["tools"], json!(["note", "calculator"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_bounded_redirects_are_not_followed_and_failures_are_told() {
    let echo = Echo::start().await;
    let stub = StubModel::answering(|received| {
        let messages = received.body["messages"].as_array().unwrap();
        let task = messages.iter().find(|message| message["role"] == "user").unwrap()["content"].to_string();
        let is_told = messages.iter().any(|message| message["role"] == "tool");
        if is_told {
            Answer::text(["Done."], 1, 1)
        } else {
            Answer::call(task.trim_matches('"'), &json!({}), 1, 1)
        }
    })
    .await
    .unwrap();
    let server = reaching_out(&stub);
    let ada = server.tenant("acme").await;
    for (name, url, auth) in [
        ("large", format!("{}/large", echo.url), Value::Null),
        ("moved", format!("{}/moved", echo.url), Value::Null),
        ("missing", format!("{}/missing", echo.url), Value::Null),
        ("nobody", "http://127.0.0.1:1/".to_owned(), Value::Null),
        ("locked", format!("{}/", echo.url), json!({"kind": "bearer", "secret": "not-there"})),
        ("rebound", "https://localhost/".to_owned(), Value::Null),
    ] {
        let tool = json!({"description": "d", "method": "GET", "url": url, "parameters": {"type": "object"},
            "auth": auth, "max_bytes": 1000});
        ada.post("/v1/tools", &json!({"name": name, "tool": tool})).await;
    }
    let all = json!(["large", "moved", "missing", "nobody", "locked", "rebound"]);
    let agent = agent(&ada, "clerk", &all).await;
    for (task, said) in [
        ("large", "The body was cut after 1000 bytes."),
        ("moved", "sends elsewhere (302), which is not followed"),
        ("missing", "status: 404"),
        ("nobody", "no connection to the endpoint could be made"),
        ("locked", "there is no secret `not-there`"),
        ("rebound", "an address that is not on the public Internet"),
    ] {
        let run = ada.run(&json!({"task": task, "agent": agent})).await;
        let outputs = outputs(&ada, &run).await;
        assert!(outputs[0].contains(said) && outputs[0].len() < 1_500, "{task}: {outputs:?}");
    }
    // The tenant's own list narrows what the operator allows.
    let rules = json!({"hosts": ["crm.example.org"]});
    let put = ada.request(Method::PUT, "/v1/egress-rules").json(&rules).send().await.unwrap();
    assert_eq!(put.headers()["etag"], "\"1\"");
    assert_eq!(ada.get("/v1/egress-rules").await, rules);
    let before = echo.received().len();
    let run = ada.run(&json!({"task": "large", "agent": agent})).await;
    assert!(outputs(&ada, &run).await[0].contains("not on the tenant's list of hosts"));
    assert_eq!(echo.received().len(), before);
    let problem =
        refused(&ada, Method::POST, "/v1/tools", &json!({"name": "x", "tool": note(&echo, &Value::Null)}))
            .await;
    assert_eq!(problem["pointer"], "/tool/url", "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_declared_is_refused() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    let good = json!({"description": "d", "method": "GET", "url": "https://a.invalid/", "parameters": {"type": "object"}});
    let with = |field: &str, value: Value| {
        let mut tool = good.clone();
        tool[field] = value;
        json!({"name": "x", "tool": tool})
    };
    for (body, pointer) in [
        (json!({"name": "calculator", "tool": good}), "/name"),
        (json!({"name": "a__b", "tool": good}), "/name"),
        (with("url", json!("http://a.invalid/")), "/tool/url"),
        (with("url", json!("https://127.0.0.1/")), "/tool/url"),
        (with("url", json!("https://[::ffff:169.254.169.254]/")), "/tool/url"),
        (with("url", json!("https://{host}/")), "/tool/url"),
        (
            with("parameters", json!({"type": "object", "$ref": "https://evil.invalid/s.json"})),
            "/tool/parameters",
        ),
        (with("parameters", json!([])), "/tool/parameters"),
        (with("method", json!("TRACE")), "/tool/method"),
        (with("auth", json!({"kind": "basic", "secret": "a"})), "/tool/auth/kind"),
        (with("auth", json!({"kind": "header", "name": "Host", "secret": "a"})), "/tool/auth/name"),
        (with("timeout_seconds", json!(0)), "/tool/timeout_seconds"),
    ] {
        let problem = refused(&ada, Method::POST, "/v1/tools", &body).await;
        let found = problem["pointer"].as_str().unwrap().to_owned();
        assert!(
            found == pointer || found == "/method" && pointer == "/tool/method" || pointer.ends_with(&found),
            "{problem}"
        );
    }
    ada.post("/v1/tools", &json!({"name": "x", "tool": good})).await;
    let problem = refused(&ada, Method::POST, "/v1/tools", &json!({"name": "x", "tool": good})).await;
    assert_eq!(problem["code"], "tool_name_taken");
    for (tools, said) in [
        (json!(["y"]), "there is no such tool"),
        (json!(["x__y"]), "no MCP server and no database `x`"),
        (json!(["X"]), "there is no such tool"),
    ] {
        let definition = json!({"kind": "react", "description": "d", "tools": tools});
        let problem =
            refused(&ada, Method::POST, "/v1/agents", &json!({"name": "a", "definition": definition})).await;
        assert_eq!(problem["pointer"], "/definition/tools/0");
        assert!(problem["detail"].as_str().unwrap().contains(said), "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_come_from_an_openapi_document_at_an_address() {
    let echo = Echo::start().await;
    let stub = StubModel::start([
        Answer::call("pets_get_pet", &json!({"id": "7"}), 1, 1),
        Answer::text(["Done."], 1, 1),
    ])
    .await
    .unwrap();
    let server = reaching_out(&stub);
    let ada = server.tenant("acme").await;
    let body = json!({"document_url": format!("{}/openapi.json", echo.url), "operations": ["getPet"], "prefix": "pets"});
    let made = ada.post("/v1/tools/import", &body).await;
    assert_eq!(made["items"][0]["name"], "pets_get_pet", "{made}");
    let agent = agent(&ada, "vet", &json!(["pets_get_pet"])).await;
    ada.run(&json!({"task": "See to pet 7", "agent": agent})).await;
    assert!(echo.received().last().unwrap().starts_with("GET /pets/7 HTTP/1.1"));
    let problem = refused(
        &ada,
        Method::POST,
        "/v1/tools/import",
        &json!({"document_url": "https://127.0.0.2/", "operations": ["getPet"]}),
    )
    .await;
    assert_eq!(problem["pointer"], "/document_url");
    // S33: nobody's YAML is read, and it is said what to do instead.
    let yaml = "openapi: 3.1.0\npaths: {}\n";
    for (at, document) in
        [("/document_url", json!(format!("{}/openapi.yaml", echo.url))), ("/document", json!(yaml))]
    {
        let body = json!({&at[1..]: document, "operations": ["getPet"]});
        let problem = refused(&ada, Method::POST, "/v1/tools/import", &body).await;
        assert_eq!(
            (&problem["code"], &problem["pointer"]),
            (&json!("openapi_yaml"), &json!(at)),
            "{problem}"
        );
        assert!(problem["detail"].as_str().unwrap().contains("convert the document to JSON"), "{problem}");
    }
}

/// A tool that is declared anew while a run that has it is under way: the run goes on being offered what it was offered, its
/// next call goes by the new declaration, and it replays.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_keeps_what_it_was_offered() {
    let echo = Echo::start().await;
    let call = || Answer::call("note", &json!({"id": "1", "text": "x"}), 1, 1);
    let hanging = Answer::stream().raw(b": thinking\n\n").hang();
    let stub = StubModel::start([call(), hanging, call(), Answer::text(["Done."], 1, 1)]).await.unwrap();
    let mut server = Server::with(&[
        ("POWERHOUSE__MODEL__BASE_URL", &stub.base_url()),
        ("POWERHOUSE__TOOLS__ALLOW", "127.0.0.1"),
        ("POWERHOUSE__WORKER__LEASE_SECONDS", "3"),
    ]);
    let ada = server.tenant("acme").await;
    let mut tool = note(&echo, &Value::Null);
    ada.post("/v1/tools", &json!({"name": "note", "tool": tool})).await;
    let agent = agent(&ada, "clerk", &json!(["note"])).await;
    let run = ada.post("/v1/runs", &json!({"task": "Note it", "agent": agent})).await;
    while stub.received().len() < 2 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    server.kill();
    server.restart();
    let ada = server.sign_in("acme").await;
    tool["description"] = json!("Something else altogether");
    tool["url"] = json!(format!("{}/v2/{{id}}", echo.url));
    let put = ada.request(Method::PUT, "/v1/tools/note").json(&tool).send().await.unwrap();
    assert_eq!(put.status(), StatusCode::OK);
    let id = run["id"].as_str().unwrap();
    let ended = ada.ended(id).await;
    assert_eq!(ended["answer"], "Done.", "{ended}");
    let paths: Vec<String> =
        echo.received().iter().map(|request| request.split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(paths[0], "/people/1/notes");
    let journal = ada.get(&format!("/v1/runs/{id}/journal")).await;
    assert_eq!(journal["tools"][0]["description"], "Writes a note about a person");
    let file = server.folder().join("journal.json");
    std::fs::write(&file, journal.to_string()).unwrap();
    let output = crate::server::binary(server.folder()).arg("replay").arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A secret that a tool sends, and that the service sends back, is nowhere but in the request: not in answers, journals,
/// prompts, logs at their loudest, metrics, exports, errors or the database (S44).
#[tokio::test(flavor = "multi_thread")]
async fn s44_a_secret_is_in_the_request_that_it_is_for_and_nowhere_else() {
    let echo = Echo::start().await;
    let stub = StubModel::start([
        Answer::call("by_bearer", &json!({"id": "1", "text": "x"}), 1, 1),
        Answer::call("by_query", &json!({"id": "1", "text": "x"}), 1, 1),
        Answer::call("by_header", &json!({"id": "1", "text": "x"}), 1, 1),
        Answer::text(["Done."], 1, 1),
    ])
    .await
    .unwrap();
    let own = migrated().await;
    let urls = urls(&own);
    let base = stub.base_url();
    let mut all = settings(&urls, &base);
    all.extend([
        ("POWERHOUSE__TOOLS__ALLOW", "127.0.0.1"),
        ("POWERHOUSE__LOG__FILTER", "trace"),
        ("POWERHOUSE__OPERATIONS__ADDRESS", "127.0.0.1:0"),
    ]);
    let server = Server::with(&all);
    let ada = server.tenant("acme").await;
    let mut seen = Vec::new();
    let secret = json!({"name": "crm", "value": CANARY});
    seen.push(ada.post("/v1/secrets", &secret).await.to_string());
    for (name, auth) in [
        ("by_bearer", json!({"kind": "bearer", "secret": "crm"})),
        ("by_query", json!({"kind": "query", "name": "key", "secret": "crm"})),
        ("by_header", json!({"kind": "header", "name": "X-Api-Key", "secret": "crm"})),
    ] {
        let tool = json!({"name": name, "tool": note(&echo, &auth)});
        seen.push(ada.post("/v1/tools", &tool).await.to_string());
    }
    let agent = agent(&ada, "clerk", &json!(["by_bearer", "by_query", "by_header"])).await;
    let run = ada.run(&json!({"task": "Note it", "agent": agent})).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    let sent = echo.received();
    assert_eq!(
        sent.iter().filter(|request| request.contains(CANARY)).count(),
        3,
        "each has sent it: {sent:?}"
    );

    let id = run["id"].as_str().unwrap();
    for path in ["", "/steps", "/explain", "/journal"] {
        seen.push(ada.get(&format!("/v1/runs/{id}{path}")).await.to_string());
    }
    for path in ["secrets", "tools", "agents", "runs", "audit", "approvals", "usage", "webhooks"] {
        seen.push(ada.get(&format!("/v1/{path}")).await.to_string());
    }
    seen.push(format!("{:?}", ada.events(id, 0).await));
    let export = ada.request(Method::GET, "/v1/audit").header("accept", "application/x-ndjson");
    seen.push(export.send().await.unwrap().text().await.unwrap());
    seen.push(refused(&ada, Method::POST, "/v1/secrets", &secret).await.to_string());
    let prompts: Vec<String> =
        stub.received().iter().map(|asked| format!("{}{}", asked.head, asked.body)).collect();
    assert!(
        prompts.iter().any(|prompt| prompt.contains("[secret crm]")),
        "the answers came to the model, masked"
    );
    seen.extend(prompts);
    let address = server.greeting.lines().find_map(|line| line.split_once("metrics    http://")).unwrap().1;
    let metrics = Client::new().get(format!("http://{}", address.trim())).send().await.unwrap();
    assert!(metrics.status().is_success());
    seen.push(metrics.text().await.unwrap());
    seen.push(dump(&own).await);
    seen.push(server.log());
    seen.push(server.greeting.clone());
    assert!(server.log().len() > 10_000, "the log is at its loudest");
    let (encoded, hex) =
        (STANDARD.encode(CANARY), CANARY.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}")));
    for text in seen {
        for form in [CANARY, &encoded, &hex] {
            let at = text.find(form);
            assert!(at.is_none(), "{}", &text[at.unwrap_or(0).saturating_sub(300)..at.unwrap_or(0)]);
        }
    }
}
