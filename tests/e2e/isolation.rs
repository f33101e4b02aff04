//! Two tenants with the same names for everything. The routes come from the OpenAPI document, so that a new one
//! cannot be forgotten.

use std::cmp::Reverse;
use std::fmt::Write as _;

use futures::future::join_all;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::server::{Caller, PASSWORD, Server};

/// A word in everything that the one tenant owns.
const CANARY: &str = "canary4711";

/// An operation of the document.
pub(crate) struct Operation {
    pub(crate) id: String,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) has_body: bool,
    pub(crate) is_guarded: bool,
    /// The headers that the document lists.
    pub(crate) headers: Vec<String>,
}

pub(crate) async fn operations(server: &Server) -> Vec<Operation> {
    let document: Value =
        Client::new().get(server.url("/openapi.json")).send().await.unwrap().json().await.unwrap();
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations.push(Operation {
                id: operation["operationId"].as_str().expect("every operation has an id").to_owned(),
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
                has_body: operation.get("requestBody").is_some(),
                is_guarded: operation.get("security").is_some(),
                headers: operation["parameters"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter(|parameter| parameter["in"] == "header")
                    .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
                    .collect(),
            });
        }
    }
    assert!(operations.len() >= 25, "the document lists the routes");
    operations
}

/// A body that the operation takes; an operation that is not here fails the test.
pub(crate) fn body(operation: &str, agent: &str) -> Value {
    let definition = json!({"kind": "direct", "description": "Does it"});
    match operation {
        "create_agent" => json!({"name": "clerk", "definition": definition}),
        "update_agent" => json!({ "definition": definition }),
        "create_run" => json!({"task": "Do it", "agent": agent}),
        "give_feedback" => json!({"verdict": "good"}),
        "fork_run" => json!({"step": "0"}),
        "answer_approval" => json!({"decision": "approve"}),
        "create_user" => json!({"email": "eve@example.org", "display_name": "Eve", "role": "member",
            "password": "correct horse battery"}),
        "create_budget" => json!({"scope": "tenant", "period": "month", "cap_micros": 1_000_000_000}),
        "update_budget" => json!({"cap_tokens": 1_000_000_000}),
        "update_prices" | "update_approval_rules" => json!({"items": []}),
        "update_selection" => json!({}),
        "update_user" => json!({"display_name": "Eve"}),
        "create_schedule" | "update_schedule" => {
            json!({"name": "yearly", "cron": "0 0 1 1 *", "task": "Do it", "agent": agent})
        }
        "create_model_provider" => {
            json!({"name": "llm", "kind": "openai", "base_url": "https://llm.invalid/v1", "models": [{"name": "m"}]})
        }
        "update_model_provider" => {
            json!({"kind": "openai", "base_url": "https://llm.invalid/v1", "models": [{"name": "m"}], "key": {"secret": "crm"}})
        }
        "create_secret" => json!({"name": "token", "value": "a good value"}),
        "update_secret" => json!({"value": "another value"}),
        "create_tool" => json!({"name": "crm_find", "tool": http_tool()}),
        "update_tool" => http_tool(),
        "import_tools" => json!({"operations": ["findPet"], "document": {"openapi": "3.1.0",
            "servers": [{"url": "https://pets.invalid"}], "paths": {"/pets": {"get": {"operationId": "findPet"}}}}}),
        "create_mcp_server" => json!({"name": "crm", "server": {"url": "https://mcp.invalid/"}}),
        "update_mcp_server" => json!({"url": "https://mcp.invalid/", "timeout_seconds": 9}),
        "create_collection" => json!({"name": "papers"}),
        "create_document" => json!({"media_type": "text/plain", "content": "A new document"}),
        "create_database" => json!({"name": "sales", "database": database()}),
        "update_database" => database(),
        "update_egress_rules" => json!({"hosts": null}),
        "create_thread" => json!({"title": "Tea"}),
        "create_memory" => json!({"text": "drinks tea"}),
        "update_masking_rules" => json!({"classes": ["email", "secret"]}),
        "create_webhook" | "update_webhook" => json!({"url": "https://hooks.invalid/"}),
        other => panic!("give `{other}` a body in this test"),
    }
}

fn http_tool() -> Value {
    json!({"description": "Finds people", "method": "GET", "url": "https://crm.invalid/", "parameters": {"type": "object"}})
}

fn database() -> Value {
    json!({"host": "db.invalid", "database": "sales", "user": "reader"})
}

/// What one tenant owns.
#[derive(Default)]
pub(crate) struct Property {
    pub(crate) agent: String,
    user: String,
    pub(crate) run: String,
    pub(crate) approval: String,
    pub(crate) schedule: String,
    pub(crate) webhook: String,
    secret: String,
    tool: String,
    mcp_server: String,
    pub(crate) collection: String,
    document: String,
    database: String,
    message: String,
    budget: String,
    pub(crate) provider: String,
    thread: String,
    memory: String,
}

impl Property {
    /// All that paths are made of.
    fn ids(&self) -> [&str; 17] {
        let Self {
            agent,
            user,
            run,
            approval,
            schedule,
            webhook,
            secret,
            tool,
            mcp_server,
            collection,
            document,
            database,
            message,
            budget,
            provider,
            thread,
            memory,
        } = self;
        [
            agent, user, run, approval, schedule, webhook, secret, tool, mcp_server, database, collection,
            document, message, budget, provider, thread, memory,
        ]
        .map(String::as_str)
    }

    async fn of(caller: &Caller) -> Self {
        Self::named(caller, "clerk", "bob@example.org", |_| true).await
    }

    pub(crate) async fn numbered(caller: &Caller, number: u32) -> Self {
        Self::numbered_part(caller, number, |_| true).await
    }

    /// As much of it as an operation's path and body name.
    async fn numbered_for(caller: &Caller, number: u32, operation: &Operation) -> Self {
        let names_agent = operation.has_body && body(&operation.id, CANARY).to_string().contains(CANARY);
        let is_named = |part: &str| operation.path.contains(part) || (names_agent && part == "{agent_id}");
        Self::numbered_part(caller, number, is_named).await
    }

    async fn numbered_part(caller: &Caller, number: u32, has: impl Fn(&str) -> bool) -> Self {
        Self::named(caller, &format!("clerk-{number}"), &format!("bob-{number}@example.org"), has).await
    }

    /// What `has` says of it, by the parameter of a path, and what that belongs to; the rest has no name.
    async fn named(caller: &Caller, name: &str, email: &str, has: impl Fn(&str) -> bool) -> Self {
        let underscored = name.replace('-', "_");
        let mut its = Self::default();
        let post = async |path: &str, body: &Value| caller.post(path, body).await;
        let id = |of: &Value| of["id"].as_str().unwrap().to_owned();
        if ["{agent_id}", "{run_id}", "{schedule_id}", "{memory_id}"].into_iter().any(&has) {
            its.agent = caller.publish(name, &json!({"kind": "direct", "description": CANARY})).await;
        }
        if has("{user_id}") || has("{budget_id}") {
            let user = json!({"email": email, "display_name": CANARY, "role": "member",
                "password": "correct horse battery"});
            its.user = id(&post("/v1/users", &user).await);
        }
        if has("{run_id}") {
            its.run = id(&caller.run(&json!({"task": CANARY, "agent": its.agent})).await);
        }
        if has("{approval_id}") {
            its.approval = Self::asked(caller, name).await;
        }
        if has("{schedule_id}") {
            let schedule = json!({"name": CANARY, "cron": "0 0 1 1 *", "task": CANARY, "agent": its.agent});
            its.schedule = id(&post("/v1/schedules", &schedule).await);
        }
        if has("{webhook_id}") {
            let webhook = json!({"url": format!("https://{CANARY}.invalid/"), "events": ["run.waiting"]});
            its.webhook = id(&post("/v1/webhooks", &webhook).await["webhook"]);
            its.message = id(&post(&format!("/v1/webhooks/{}/test", its.webhook), &Value::Null).await);
        }
        // Names, and no word of the tenant's: they are written in the audit trail.
        if has("{secret_name}") {
            its.secret = format!("token-of-{name}");
            post("/v1/secrets", &json!({"name": its.secret, "value": CANARY})).await;
        }
        if has("{tool_name}") {
            its.tool = format!("tool_of_{underscored}");
            let mut body = json!({"name": its.tool, "tool": http_tool()});
            body["tool"]["description"] = json!(CANARY);
            post("/v1/tools", &body).await;
        }
        if has("{server_name}") {
            its.mcp_server = format!("served_by_{underscored}");
            let server = json!({"url": format!("https://{CANARY}.invalid/")});
            post("/v1/mcp-servers", &json!({"name": its.mcp_server, "server": server})).await;
        }
        if has("{collection_name}") {
            its.collection = format!("papers_of_{underscored}");
            post("/v1/collections", &json!({"name": its.collection, "description": CANARY})).await;
            let document = json!({"title": CANARY, "media_type": "text/plain", "content": CANARY});
            let documents = format!("/v1/collections/{}/documents", its.collection);
            its.document = id(&post(&documents, &document).await);
        }
        if has("{database_name}") {
            its.database = format!("read_by_{underscored}");
            let mut body = json!({"name": its.database, "database": database()});
            body["database"]["description"] = json!(CANARY);
            post("/v1/databases", &body).await;
        }
        if has("{budget_id}") {
            let budget = json!({"scope": its.user, "period": "day", "cap_micros": 1});
            its.budget = id(&post("/v1/budgets", &budget).await);
        }
        if has("{model_provider_id}") {
            let provider = json!({"name": format!("own-{name}"), "kind": "anthropic", "key": {"secret": "llm"},
                "base_url": format!("https://{CANARY}.invalid/v1"), "models": [{"name": CANARY}]});
            its.provider = id(&post("/v1/model-providers", &provider).await);
        }
        if has("{thread_id}") {
            its.thread = id(&post("/v1/threads", &json!({"title": CANARY})).await);
        }
        if has("{memory_id}") {
            let memories = format!("/v1/agents/{}/memories", its.agent);
            its.memory = id(&post(&memories, &json!({"text": CANARY})).await);
        }
        its
    }

    /// What a run of a careful agent has asked.
    async fn asked(caller: &Caller, name: &str) -> String {
        let definition = json!({"kind": "react", "description": CANARY, "tools": ["calculator"],
            "approvals": ["calculator"]});
        let agent = caller.publish(&format!("careful-{name}"), &definition).await;
        let run = caller.post("/v1/runs", &json!({"task": "What is 12.5 % of 380?", "agent": agent})).await;
        for _ in 0..500 {
            let open = caller.get("/v1/approvals?state=open&limit=100").await;
            let open = open["items"].as_array().unwrap();
            if let Some(approval) = open.iter().find(|approval| approval["run"] == run["id"]) {
                return approval["id"].as_str().unwrap().to_owned();
            }
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        }
        panic!("the run has asked nothing: {run}");
    }

    /// Removes what a tenant may have few of.
    async fn put_away(&self, caller: &Caller) {
        for (of, name) in [
            ("webhooks", &self.webhook),
            ("secrets", &self.secret),
            ("tools", &self.tool),
            ("mcp-servers", &self.mcp_server),
            ("collections", &self.collection),
            ("databases", &self.database),
            ("model-providers", &self.provider),
        ] {
            if !name.is_empty() {
                caller.request(Method::DELETE, &format!("/v1/{of}/{name}")).send().await.unwrap();
            }
        }
    }

    pub(crate) fn path(&self, operation: &Operation) -> String {
        let path = operation.path.replace("{agent_id}", &self.agent).replace("{user_id}", &self.user);
        let path = path.replace("{run_id}", &self.run).replace("{approval_id}", &self.approval);
        let path = path.replace("{schedule_id}", &self.schedule).replace("{budget_id}", &self.budget);
        let path = path.replace("{kind}", "direct");
        let path = path.replace("{webhook_id}", &self.webhook).replace("{message_id}", &self.message);
        let path = path.replace("{model_provider_id}", &self.provider);
        let path = path.replace("{secret_name}", &self.secret).replace("{tool_name}", &self.tool);
        let path = path.replace("{server_name}", &self.mcp_server).replace("{database_name}", &self.database);
        let path =
            path.replace("{collection_name}", &self.collection).replace("{document_id}", &self.document);
        let path = path.replace("{thread_id}", &self.thread).replace("{memory_id}", &self.memory);
        let path = match operation.id.as_str() {
            "search_collection" => path + "?query=document",
            "search_memories" => path + "?query=tea",
            _ => path,
        };
        assert!(!path.contains('{'), "say in this test what stands for the parameter in {path}");
        path
    }
}

async fn send(caller: &Caller, operation: &Operation, path: &str, agent: &str) -> (StatusCode, String) {
    let mut request = caller.request(operation.method.clone(), path);
    if operation.has_body {
        request = request.json(&body(&operation.id, agent));
    }
    let answer = request.send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_route_gives_or_takes_what_another_tenant_owns() {
    let server = Server::start();
    let (ada, eve) = (server.tenant("acme").await, server.tenant("evil").await);
    let owned = Property::of(&ada).await;
    let everything = async || {
        let mut everything = Vec::new();
        for path in [
            "agents",
            "users",
            "runs",
            "schedules",
            "secrets",
            "tools",
            "mcp-servers",
            "collections",
            "databases",
            "webhooks",
            "model-providers",
            "threads",
            &format!("agents/{}/memories", owned.agent),
        ] {
            everything.push(ada.get(&format!("/v1/{path}")).await);
        }
        everything
    };
    let before = everything().await;
    let (mut by_id, mut others) = (0, 0);
    for operation in operations(&server).await.iter().filter(|operation| operation.is_guarded) {
        // Signing out is all that this does, whoever asks.
        if operation.id == "delete_session" {
            continue;
        }
        let path = owned.path(operation);
        let (status, text) = send(&eve, operation, &path, &owned.agent).await;
        let is_owned = path != operation.path && operation.id != "get_agent_kind";
        if is_owned || matches!(operation.id.as_str(), "create_run" | "create_schedule") {
            assert_eq!(status, StatusCode::NOT_FOUND, "{}: {text}", operation.id);
            by_id += 1;
        } else {
            assert!(status.is_success(), "{}: {status} {text}", operation.id);
            others += 1;
        }
        assert!(!text.contains(CANARY), "{} gives it away: {text}", operation.id);
        for id in owned.ids() {
            assert!(!text.contains(id), "{} gives it away: {text}", operation.id);
        }
    }
    assert!(by_id >= 29 && others >= 10, "{by_id} and {others} routes were walked");
    assert_eq!(everything().await, before, "nothing has changed");

    // The same requests by their owner do well: the test asks for what is there. What deletes comes last.
    let mut operations = operations(&server).await;
    // And what is in something else before that, and one memory before all.
    operations.sort_by_key(|operation| match operation.method {
        Method::DELETE => (true, operation.id == "erase_memories", Reverse(operation.path.len())),
        _ => (false, false, Reverse(0)),
    });
    for operation in operations.iter().filter(|operation| operation.is_guarded) {
        if matches!(operation.id.as_str(), "create_agent" | "delete_session") {
            continue;
        }
        let (status, text) = send(&ada, operation, &owned.path(operation), &owned.agent).await;
        // It has ended, so this comes too late, or is on its way still; but it is there.
        let of_living = ["cancel_run", "pause_run", "resume_run", "replay_webhook_delivery"];
        let refused = of_living.contains(&operation.id.as_str()) && status == StatusCode::CONFLICT;
        assert!(status.is_success() || refused, "{}: {status} {text}", operation.id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_id_and_another_tenants_read_the_same() {
    let server = Server::start();
    let (ada, eve) = (server.tenant("acme").await, server.tenant("evil").await);
    let run = ada.run(&json!({"task": CANARY})).await;
    let id = run["id"].as_str().unwrap();
    let mut said = Vec::new();
    for id in [id, "run_01h455vb4pex5vsknk084sn02q", "run_x", "agent_01h455vb4pex5vsknk084sn02q"] {
        let answer = eve.request(Method::GET, &format!("/v1/runs/{id}")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        let mut problem: Value = answer.json().await.unwrap();
        problem["correlation_id"].take();
        said.push(problem);
    }
    said.dedup();
    assert_eq!(said.len(), 1, "{said:?}");
}

const ROLES: [&str; 5] = ["owner", "admin", "operator", "member", "viewer"];

/// A tenant with somebody of each role.
struct Office {
    ada: Caller,
    callers: Vec<Caller>,
    shared: Property,
}

impl Office {
    async fn open(server: &Server, slug: &str) -> Self {
        let ada = server.tenant(slug).await;
        let callers = join_all(ROLES.map(async |role| {
            let email = format!("{role}@example.org");
            let user = json!({"email": email, "display_name": role, "role": role, "password": PASSWORD});
            ada.post("/v1/users", &user).await;
            server.sign_in_as(slug, &email).await
        }));
        Self { callers: callers.await, shared: Property::of(&ada).await, ada }
    }

    /// What each role may do, a cell each. `number` and those after it are nobody else's.
    async fn row(&self, operation: &Operation, number: u32) -> String {
        let mut row = format!("{:<26}", operation.id);
        for (caller, number) in self.callers.iter().zip(number..) {
            // What is only read serves for all.
            let fresh = match operation.method {
                Method::GET => None,
                _ => Some(Property::numbered_for(&self.ada, number, operation).await),
            };
            let property = fresh.as_ref().unwrap_or(&self.shared);
            let mut request = caller.request(operation.method.clone(), &property.path(operation));
            if operation.has_body {
                request = request.json(&own_body(&operation.id, property, number));
            }
            let status = request.send().await.unwrap().status();
            // A run that has ended cannot be cancelled, by whoever may.
            let may = status.is_success() || status == StatusCode::CONFLICT;
            if let Some(fresh) = fresh {
                fresh.put_away(&self.ada).await;
            }
            let said = if may { "yes".to_owned() } else { status.as_u16().to_string() };
            let _ = write!(row, "{said:<10}");
        }
        row.trim_end().to_owned()
    }
}

/// A body that names nothing new as another does.
fn own_body(operation: &str, property: &Property, number: u32) -> Value {
    let mut body = body(operation, &property.agent);
    match operation {
        "create_user" => body["email"] = json!(format!("new-{number}@example.org")),
        "create_agent" | "create_secret" | "create_tool" | "create_mcp_server" | "create_collection"
        | "create_database" => body["name"] = json!(format!("new{number}")),
        "import_tools" => body["prefix"] = json!(format!("new{number}")),
        _ => {}
    }
    body
}

/// What a role may do to what its owner has made, as the golden file has it: `yes`, or the status of the refusal.
#[tokio::test(flavor = "multi_thread")]
async fn every_route_as_every_role() {
    // So many requests are more than any plan allows one tenant: two take turns.
    let server = Server::with(&[
        ("POWERHOUSE__MODEL__PROVIDER", "offline"),
        ("POWERHOUSE__TENANTS__PLAN", "enterprise"),
        ("POWERHOUSE__SERVER__ANONYMOUS_BURST", "100"),
    ]);
    let offices = join_all(["acme", "beta"].map(|slug| Office::open(&server, slug))).await;
    let mut walked = operations(&server).await;
    walked.retain(|operation| operation.is_guarded && operation.id != "delete_session");
    let numbers = (0..).step_by(ROLES.len());
    let mut turns: Vec<Vec<_>> = offices.iter().map(|_| Vec::new()).collect();
    for (index, turn) in walked.iter().zip(numbers).enumerate() {
        turns[index % offices.len()].push((index, turn));
    }
    let rows = offices.iter().zip(turns).map(async |(office, turns)| {
        let mut rows = Vec::new();
        for (index, (operation, number)) in turns {
            rows.push((index, office.row(operation, number).await));
        }
        rows
    });
    let mut rows: Vec<_> = join_all(rows).await.into_iter().flatten().collect();
    rows.sort_unstable();
    let mut matrix = format!("{:<26}{}\n", "", ROLES.map(|role| format!("{role:<10}")).concat());
    for (_, row) in rows {
        let _ = writeln!(matrix, "{row}");
    }
    let golden = include_str!("roles.txt");
    assert_eq!(
        matrix.lines().map(str::trim_end).collect::<Vec<_>>().join("\n"),
        golden.trim_end(),
        "{matrix}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_served_without_a_token() {
    let server = Server::start();
    let name = str::to_owned;
    let property = Property {
        agent: name("agent_x"),
        user: name("user_x"),
        run: name("run_x"),
        approval: name("approval_x"),
        schedule: name("schedule_x"),
        webhook: name("webhook_x"),
        secret: name("secret-x"),
        tool: name("tool_x"),
        mcp_server: name("server_x"),
        collection: name("papers_x"),
        document: name("doc_x"),
        database: name("database_x"),
        message: name("message_x"),
        budget: name("budget_x"),
        provider: name("modelprovider_x"),
        thread: name("thread_x"),
        memory: name("memory_x"),
    };
    let open =
        ["create_session", "create_tenant", "health", "health_live", "health_ready", "refresh_session"];
    let mut found = Vec::new();
    for operation in operations(&server).await {
        if !operation.is_guarded {
            found.push(operation.id);
            continue;
        }
        let request = Client::new().request(operation.method.clone(), server.url(&property.path(&operation)));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{}", operation.id);
        assert_eq!(answer.headers()["www-authenticate"], "Bearer");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
    found.sort_unstable();
    assert_eq!(found, open, "who may be asked by anybody is decided here");
}
