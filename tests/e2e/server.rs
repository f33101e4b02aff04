//! A server of one's own: the binary on a free port, with a data folder that goes with it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long the binary has to start.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const PASSWORD: &str = "correct horse battery";

/// The binary, with an environment that has nothing of ours.
pub(crate) fn binary(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_powerhouse"));
    command.env_clear().current_dir(folder).stdin(Stdio::null());
    command.env("POWERHOUSE__DATA__FOLDER", folder.join("data"));
    command
}

pub(crate) struct Server {
    folder: TempDir,
    settings: Vec<(String, String)>,
    child: Child,
    pub(crate) base: String,
    /// What it printed before it was ready.
    pub(crate) greeting: String,
}

impl Server {
    /// With the offline model.
    pub(crate) fn start() -> Self {
        Self::with(&[("POWERHOUSE__MODEL__PROVIDER", "offline")])
    }

    /// With a model's API at this address.
    pub(crate) fn with_model(base_url: &str) -> Self {
        Self::with(&[
            ("POWERHOUSE__MODEL__BASE_URL", base_url),
            ("POWERHOUSE__MODEL__API_KEY", "sk-canary-9b1d"),
            ("POWERHOUSE__WORKER__LEASE_SECONDS", "3"),
        ])
    }

    pub(crate) fn with(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let settings =
            settings.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect::<Vec<_>>();
        let (child, base, greeting) = spawn(folder.path(), &settings);
        Self { folder, settings, child, base, greeting }
    }

    /// Another server with the same settings and the same keys, in a folder of its own.
    pub(crate) fn beside(&self) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join("data")).expect("a data folder");
        for name in ["signing-keys.pem", "secrets.key", "master.keys"] {
            let keys = Path::new("data").join(name);
            std::fs::copy(self.folder().join(&keys), folder.path().join(&keys)).expect("the keys are copied");
        }
        let (child, base, greeting) = spawn(folder.path(), &self.settings);
        Self { folder, settings: self.settings.clone(), child, base, greeting }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What a shell prints that runs this command of `powerhouse` as the first owner, and without complaint.
    pub(crate) fn shell(&self, command: &str) -> String {
        self.shell_with(&[], command)
    }

    /// The same, with these variables.
    pub(crate) fn shell_with(&self, variables: &[(&str, &str)], command: &str) -> String {
        let command = command.replacen("powerhouse", env!("CARGO_BIN_EXE_powerhouse"), 1);
        let mut shell = Command::new("bash");
        shell.args(["-c", &command]).current_dir(self.folder()).envs(variables.iter().copied());
        let output =
            shell.env("POWERHOUSE_URL", &self.base).env("POWERHOUSE__DATA__FOLDER", "data").output().unwrap();
        assert!(output.stderr.is_empty(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(log_file(self.folder())).unwrap_or_default()
    }

    /// SIGKILL: nothing in the process can do anything about it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the server can be killed");
        self.child.wait().expect("the server is gone");
    }

    /// SIGTERM; gives its exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(pid).status().expect("kill runs").success());
        self.child.wait().expect("the server is gone").code()
    }

    /// Starts again on the same data.
    pub(crate) fn restart(&mut self) {
        (self.child, self.base, self.greeting) = spawn(self.folder.path(), &self.settings);
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Signs a tenant up, and its owner in.
    pub(crate) async fn tenant(&self, slug: &str) -> Caller {
        let body = json!({"slug": slug, "name": "Acme", "owner":
            {"email": "ada@example.org", "display_name": "Ada", "password": PASSWORD}});
        let answer = Client::new().post(self.url("/v1/tenants")).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED, "{}", answer.text().await.unwrap());
        self.sign_in(slug).await
    }

    pub(crate) async fn sign_in(&self, slug: &str) -> Caller {
        self.sign_in_as(slug, "ada@example.org").await
    }

    /// The owner that the server made at its first start.
    pub(crate) async fn first_owner(&self) -> Caller {
        let password =
            std::fs::read_to_string(self.folder().join("data/owner-password")).expect("it is there");
        self.sign_in_with("home", "owner@localhost", password.trim()).await
    }

    pub(crate) async fn sign_in_as(&self, slug: &str, email: &str) -> Caller {
        self.sign_in_with(slug, email, PASSWORD).await
    }

    async fn sign_in_with(&self, slug: &str, email: &str, password: &str) -> Caller {
        let body = json!({"tenant": slug, "email": email, "password": password});
        let answer = Client::new().post(self.url("/v1/sessions")).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        let session: Value = answer.json().await.unwrap();
        let token = session["access_token"].as_str().unwrap().to_owned();
        Caller { http: Client::new(), base: self.base.clone(), token, session }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log_file(folder: &Path) -> PathBuf {
    folder.join("server.log")
}

fn spawn(folder: &Path, settings: &[(String, String)]) -> (Child, String, String) {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(log_file(folder)).expect("a log");
    let mut command = binary(folder);
    command
        .env("POWERHOUSE__SERVER__ADDRESS", "127.0.0.1:0")
        .env("POWERHOUSE__TENANTS__PLAN", "enterprise")
        .env("POWERHOUSE__SERVER__ANONYMOUS_BURST", "10000")
        .env("POWERHOUSE__SERVER__ANONYMOUS_PER_MINUTE", "100000")
        .envs(settings.iter().map(|(key, value)| (key, value)))
        .stdout(Stdio::piped())
        .stderr(log);
    let mut child = command.spawn().expect("the binary starts");
    let stdout = child.stdout.take().expect("it is piped");
    let (to, from) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = to.send(line);
        }
    });
    let first = from.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        let log = std::fs::read_to_string(log_file(folder)).unwrap_or_default();
        panic!("the server did not start: {log}")
    });
    let base =
        first.split_once("http://").map(|(_, address)| format!("http://{address}")).expect("its address");
    let rest = std::iter::from_fn(|| from.recv_timeout(Duration::from_millis(200)).ok());
    let greeting = std::iter::once(first).chain(rest).collect::<Vec<_>>().join("\n");
    (child, base, greeting)
}

/// Somebody who has signed in.
#[derive(Clone)]
pub(crate) struct Caller {
    http: Client,
    base: String,
    pub(crate) token: String,
    pub(crate) session: Value,
}

impl Caller {
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token)
    }

    /// The same caller, on another server.
    pub(crate) fn on(&self, server: &Server) -> Self {
        Self {
            http: self.http.clone(),
            base: server.base.clone(),
            token: self.token.clone(),
            session: self.session.clone(),
        }
    }

    /// A request that must do well; gives the answer's body.
    pub(crate) async fn get(&self, path: &str) -> Value {
        well(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        well(self.request(Method::POST, path).json(body)).await
    }

    /// Makes and publishes an agent; gives its id.
    pub(crate) async fn publish(&self, name: &str, definition: &Value) -> String {
        let agent = self.post("/v1/agents", &json!({"name": name, "definition": definition})).await;
        let agent = agent["id"].as_str().unwrap().to_owned();
        self.post(&format!("/v1/agents/{agent}/publish"), &Value::Null).await;
        agent
    }

    /// The id of an agent that every tenant starts with.
    pub(crate) async fn agent(&self, name: &str) -> String {
        let agents = self.get("/v1/agents?limit=100").await;
        let found = agents["items"].as_array().unwrap().iter().find(|agent| agent["name"] == name);
        found.expect("the agent is there")["id"].as_str().unwrap().to_owned()
    }

    /// Submits, and waits for the end.
    pub(crate) async fn run(&self, body: &Value) -> Value {
        let submitted = self.post("/v1/runs", body).await;
        self.ended(submitted["id"].as_str().unwrap()).await
    }

    /// A run once it has ended.
    pub(crate) async fn ended(&self, id: &str) -> Value {
        self.events(id, 0).await;
        self.get(&format!("/v1/runs/{id}")).await
    }

    /// A run's events after one of them, to its end: id, name and data.
    pub(crate) async fn events(&self, id: &str, after: u64) -> Vec<(u64, String, Value)> {
        let request = self.request(Method::GET, &format!("/v1/runs/{id}/events"));
        let answer = request.header("Last-Event-ID", after).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
        events(&answer.text().await.unwrap())
    }
}

pub(crate) fn events(text: &str) -> Vec<(u64, String, Value)> {
    let field = |event: &str, name: &str| {
        event.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
    };
    text.split("\n\n")
        .filter(|event| event.contains("data:"))
        .map(|event| {
            let data = serde_json::from_str(&field(event, "data:").unwrap()).unwrap();
            (field(event, "id:").unwrap().parse().unwrap(), field(event, "event:").unwrap(), data)
        })
        .collect()
}

async fn well(request: RequestBuilder) -> Value {
    let answer = request.send().await.unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert!(status.is_success(), "{status}: {text}");
    serde_json::from_str(&text).unwrap_or(Value::Null)
}
