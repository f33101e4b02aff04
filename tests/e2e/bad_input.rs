//! Requests that nobody should send: each is answered by a problem document, and the server goes on.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use crate::server::Server;

/// Sends a request; checks the document, and gives it.
async fn refused(what: &str, request: RequestBuilder, status: u16, code: &str) -> Value {
    let answer = request.send().await.unwrap_or_else(|error| panic!("{what}: {error}"));
    let headers = answer.headers().clone();
    let got = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    assert_eq!(got, status, "{what}: {text}");
    assert_eq!(headers["content-type"], "application/problem+json", "{what}");
    let problem: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{what}: {text}"));
    assert_eq!(problem["code"], code, "{what}: {text}");
    assert_eq!(problem["status"], status, "{what}");
    assert_eq!(problem["type"], format!("urn:powerhouse:problem:{code}"), "{what}");
    assert_eq!(problem["correlation_id"].as_str(), headers["x-correlation-id"].to_str().ok(), "{what}");
    assert!(!problem["detail"].as_str().unwrap().is_empty(), "{what}");
    assert_eq!(headers["x-content-type-options"], "nosniff", "{what}");
    for inside in ["panicked", "sqlite", "SELECT", ".rs:", "sea_orm"] {
        assert!(!text.contains(inside), "{what} shows internals: {text}");
    }
    problem
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    let post = |path: &str| ada.request(Method::POST, path).header("content-type", "application/json");
    let deep = format!(r#"{{"task": {}1{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
    let long = json!({"task": "x".repeat(10 * 1024 * 1024)}).to_string();
    let task_too_long = json!({"task": "x".repeat(40_000)}).to_string();
    let cases: [(&str, Vec<u8>, u16, &str); 21] = [
        ("no body", vec![], 400, "body_missing"),
        ("a blank body", b"  ".to_vec(), 400, "body_malformed"),
        ("no JSON", b"task=x".to_vec(), 400, "body_malformed"),
        ("half a JSON", br#"{"task": "#.to_vec(), 400, "body_malformed"),
        ("two JSONs", br#"{"task": "a"} {}"#.to_vec(), 400, "body_malformed"),
        ("a list", b"[]".to_vec(), 422, "invalid"),
        ("a list in the order of the fields", br#"["a", null, [], []]"#.to_vec(), 422, "invalid"),
        ("a null", b"null".to_vec(), 422, "invalid"),
        ("no field", b"{}".to_vec(), 422, "invalid"),
        ("a wrong type", br#"{"task": 7}"#.to_vec(), 422, "invalid"),
        ("an unknown field", br#"{"task": "a", "colour": "red"}"#.to_vec(), 422, "invalid"),
        ("an empty task", br#"{"task": " "}"#.to_vec(), 422, "invalid"),
        ("a long task", task_too_long.into_bytes(), 422, "invalid"),
        ("invalid UTF-8", b"{\"task\": \"\xff\xfe\"}".to_vec(), 400, "body_malformed"),
        ("a NUL", br#"{"task": "a\u0000"}"#.to_vec(), 422, "invalid"),
        ("10 MB", long.into_bytes(), 413, "body_too_large"),
        ("a priority of ten", br#"{"task": "a", "priority": 10}"#.to_vec(), 422, "invalid"),
        ("no time", br#"{"task": "a", "not_before": "tomorrow"}"#.to_vec(), 422, "invalid"),
        ("a past deadline", br#"{"task": "a", "deadline": "2020-01-01T00:00:00Z"}"#.to_vec(), 422, "invalid"),
        ("a far start", br#"{"task": "a", "not_before": "9020-01-01T00:00:00Z"}"#.to_vec(), 422, "invalid"),
        ("deep JSON", deep.into_bytes(), 422, "invalid"),
    ];
    for (what, body, status, code) in cases {
        refused(what, post("/v1/runs").body(body), status, code).await;
    }
    let deep_object = format!("{}1{}", r#"{"a":"#.repeat(5_000), "}".repeat(5_000));
    let definition = format!(
        r#"{{"name": "a", "definition": {{"kind": "direct", "description": "", "parameters": {deep_object}}}}}"#
    );
    refused("deep parameters", post("/v1/agents").body(definition), 400, "body_malformed").await;
    let plain = ada.request(Method::POST, "/v1/runs").body("task=x");
    refused("no content type", plain, 415, "unsupported_media_type").await;
    let form =
        ada.request(Method::POST, "/v1/runs").header("content-type", "application/x-www-form-urlencoded");
    refused("a form", form.body("task=x"), 415, "unsupported_media_type").await;
    assert_eq!(ada.get("/v1/runs").await["items"], json!([]), "nothing was accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_are_pointed_at() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    let definition = json!({"kind": "direct", "description": "Does it"});
    let with = |name: &str, value: Value| {
        let mut definition = definition.clone();
        definition[name] = value;
        json!({"name": "clerk", "definition": definition})
    };
    let cases = [
        ("/v1/agents", json!({"name": "A b", "definition": definition}), "/name"),
        ("/v1/agents", with("kind", json!("magic")), "/definition/kind"),
        ("/v1/agents", with("parameters", json!({"rounds": 1})), "/definition/parameters/rounds"),
        ("/v1/agents", with("tools", json!(["rm"])), "/definition/tools/0"),
        ("/v1/runs", json!({"task": "a", "agent": "nobody"}), "/agent"),
        ("/v1/runs", json!({"task": "a", "candidates": ["x"]}), "/candidates/0"),
        (
            "/v1/users",
            json!({"email": "b", "display_name": "B", "role": "member", "password": "long enough it is"}),
            "/email",
        ),
        (
            "/v1/users",
            json!({"email": "b@example.org", "display_name": "B", "role": "king", "password": "long enough it is"}),
            "/role",
        ),
        (
            "/v1/users",
            json!({"email": "b@example.org", "display_name": "B", "role": "member", "password": "short"}),
            "/password",
        ),
    ];
    for (path, body, pointer) in cases {
        let problem = refused(pointer, ada.request(Method::POST, path).json(&body), 422, "invalid").await;
        assert_eq!(problem["pointer"], pointer, "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_queries_and_headers() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    let agent = ada.agent("writer").await;
    let run = ada.run(&json!({"task": "1 + 1"})).await;
    let events = format!("/v1/runs/{}/events", run["id"].as_str().unwrap());
    let agent_path = format!("/v1/agents/{agent}");
    let get = |path: &str| ada.request(Method::GET, path);
    refused("no such path", get("/v1/nothing"), 404, "not_found").await;
    refused("a wrong method", ada.request(Method::PUT, "/v1/runs"), 405, "method_not_allowed").await;
    for bad in [
        "x",
        "run_",
        "agent_01h455vb4pex5vsknk084sn02q",
        "%00",
        "..%2f..",
        "run_01h455vb4pex5vsknk084sn02q%20",
        "é",
    ] {
        refused(bad, get(&format!("/v1/runs/{bad}")), 404, "not_found").await;
    }
    for bad in ["limit=0", "limit=101", "limit=x", "limit=-1", "limit="] {
        refused(bad, get(&format!("/v1/runs?{bad}")), 400, "limit_invalid").await;
    }
    let other_list = ada.get("/v1/agents?limit=1").await["next_cursor"].as_str().unwrap().to_owned();
    for bad in ["", "x", "%00", "AAAA", &"A".repeat(4_000), &other_list] {
        refused(bad, get(&format!("/v1/runs?cursor={bad}")), 400, "cursor_invalid").await;
    }
    refused("a long path", get(&format!("/v1/runs?cursor={}", "A".repeat(9_000))), 414, "uri_too_long").await;
    for bad in ["x", "-1", "99999999999999999999"] {
        refused(bad, get(&events).header("last-event-id", bad), 400, "last_event_id_invalid").await;
    }
    let submit = || ada.request(Method::POST, "/v1/runs").json(&json!({"task": "1 + 1"}));
    refused("a wait", submit().header("prefer", "wait=soon"), 400, "prefer_invalid").await;
    let body = json!({"definition": {"kind": "direct", "description": "New"}});
    let put = |tag: &str| ada.request(Method::PUT, &agent_path).header("if-match", tag).json(&body);
    refused("no tag", put("1"), 400, "if_match_invalid").await;
    refused("an old tag", put("\"999\""), 412, "version_changed").await;
    let taken = json!({"name": "writer", "definition": body["definition"]});
    refused(
        "a name that is taken",
        ada.request(Method::POST, "/v1/agents").json(&taken),
        409,
        "agent_name_taken",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    let [header, claims, signature] = ada.token.split('.').collect::<Vec<_>>()[..] else { panic!("a JWT") };
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let decode = |text: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap();
    let none = decode(header).replace("EdDSA", "none");
    let hs256 = decode(header).replace("EdDSA", "HS256");
    let mut later: Value = serde_json::from_str(&decode(claims)).unwrap();
    later["exp"] = json!(4_000_000_000_u64);
    let forged = [
        ("alg none", format!("{}.{claims}.", encode(&none))),
        ("alg none, signed", format!("{}.{claims}.{signature}", encode(&none))),
        ("alg HS256", format!("{}.{claims}.{signature}", encode(&hs256))),
        ("claims of one's own", format!("{header}.{}.{signature}", encode(&later.to_string()))),
        ("no signature", format!("{header}.{claims}.")),
        ("two parts", format!("{header}.{claims}")),
        ("a refresh token", ada.session["refresh_token"].as_str().unwrap().to_owned()),
        ("nonsense", "x".to_owned()),
        ("a long one", "x".repeat(7_000)),
    ];
    for (what, token) in forged {
        let request = Client::new().get(server.url("/v1/me")).bearer_auth(token);
        refused(what, request, 401, "unauthenticated").await;
    }
    let request = Client::new().get(server.url("/v1/me")).basic_auth("ada", Some("x"));
    refused("another scheme", request, 401, "unauthenticated").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_expires() {
    let server = Server::with(&[
        ("POWERHOUSE__MODEL__PROVIDER", "offline"),
        ("POWERHOUSE__TOKENS__LIFETIME_SECONDS", "1"),
    ]);
    let ada = server.tenant("acme").await;
    // Its second, and the leeway for clocks that differ.
    tokio::time::sleep(std::time::Duration::from_millis(7_100)).await;
    refused("an old token", ada.request(Method::GET, "/v1/me"), 401, "unauthenticated").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_requests_are_told_when_to_come_back() {
    let server = Server::with(&[
        ("POWERHOUSE__MODEL__PROVIDER", "offline"),
        ("POWERHOUSE__SERVER__ANONYMOUS_BURST", "3"),
        ("POWERHOUSE__SERVER__ANONYMOUS_PER_MINUTE", "1"),
    ]);
    let http = Client::new();
    let attempt = || http.post(server.url("/v1/sessions")).json(&json!({}));
    for _ in 0..3 {
        refused("within the limit", attempt(), 422, "invalid").await;
    }
    let answer = attempt().send().await.unwrap();
    let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait));
    refused("beyond the limit", attempt(), 429, "rate_limited").await;
}
