//! The API, as far as the commands use it that talk to a server.

use std::time::Duration;

use anyhow::{Context as _, bail};
use futures::StreamExt;
use futures::stream::BoxStream;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use sse_stream::{Sse, SseStream};
use url::Url;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::cli::ServerArguments;
use crate::first_owner;
use crate::settings::Settings;

/// How often in a row a stream may break off without an event.
pub(crate) const MAX_BREAKS: u32 = 5;
/// How long is waited before a stream is taken up again.
pub(crate) const PAUSE: Duration = Duration::from_millis(300);
/// How long a request may take, streams aside.
const PATIENCE: Duration = Duration::from_secs(30);

struct Credentials {
    tenant: String,
    email: String,
    password: Zeroizing<String>,
}

pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    token: Zeroizing<String>,
}

/// One event of a run.
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) seq: u64,
    pub(crate) data: Value,
}

pub(crate) struct Events(BoxStream<'static, Result<Sse, sse_stream::Error>>);

impl Events {
    /// The next event; nothing when the stream is over, or has broken off.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<Event>> {
        while let Some(Ok(Sse { event, data, .. })) = self.0.next().await {
            let (Some(name), Some(data)) = (event, data) else { continue };
            let data: Value =
                serde_json::from_str(&data).context("the server sent an event that is no JSON")?;
            if name == "error" {
                return Ok(None);
            }
            let seq = data["seq"].as_u64().context("the server sent an event without its number")?;
            return Ok(Some(Event { name, seq, data }));
        }
        Ok(None)
    }
}

impl Client {
    /// Signs in to the server that the arguments name, or the settings.
    pub(crate) async fn of(server: &ServerArguments, settings: &Settings) -> anyhow::Result<Self> {
        let credentials = credentials(server, settings)?;
        let base = match &server.url {
            Some(url) => url.clone(),
            None => format!("http://{}", settings.address).parse().context("the server's URL")?,
        };
        Self::sign_in(base, &credentials).await
    }

    async fn sign_in(base: Url, credentials: &Credentials) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let mut client = Self { http, base, token: Zeroizing::default() };
        let Credentials { tenant, email, password } = credentials;
        let body = json!({"tenant": tenant, "email": email, "password": password.as_str()});
        let answer = client.send(client.request(Method::POST, "v1/sessions")?.json(&body)).await?;
        let session: Value = answer.json().await.context("the server's answer is no JSON")?;
        client.token = Zeroizing::new(text(&session, "access_token").to_owned());
        Ok(client)
    }

    pub(crate) async fn sign_out(&self) {
        if let Ok(request) = self.request(Method::DELETE, "v1/sessions/current") {
            // The session ends by itself otherwise.
            let _ = request.send().await;
        }
    }

    /// Submits a task; gives the run's id.
    pub(crate) async fn submit(
        &self,
        task: &str,
        agent: Option<&str>,
        thread: Option<&str>,
    ) -> anyhow::Result<String> {
        let mut body = json!({ "task": task });
        for (field, id) in [("agent", agent), ("thread", thread)] {
            if let Some(id) = id {
                body[field] = json!(id);
            }
        }
        let run = self.post("v1/runs", &body).await?;
        Ok(text(&run, "id").to_owned())
    }

    /// Makes an agent and publishes it; gives its id.
    pub(crate) async fn publish_agent(&self, name: &str, definition: &Value) -> anyhow::Result<String> {
        let draft = self.post("v1/agents", &json!({"name": name, "definition": definition})).await?;
        let agent = text(&draft, "id").to_owned();
        self.send_once(&self.keyed(&format!("v1/agents/{agent}/publish"))?).await?;
        Ok(agent)
    }

    /// The newest of the caller's threads with this title, if there is one.
    pub(crate) async fn thread(&self, title: &str) -> anyhow::Result<Option<String>> {
        let me = self.get("v1/me").await?;
        let mut found = None;
        self.each("v1/threads", |thread| {
            if thread["owner"] == me["user"]["id"] && thread["title"] == title {
                found = Some(text(thread, "id").to_owned());
            }
            found.is_none()
        })
        .await?;
        Ok(found)
    }

    /// Begins a thread; gives its id.
    pub(crate) async fn begin_thread(&self, title: &str) -> anyhow::Result<String> {
        Ok(text(&self.post("v1/threads", &json!({ "title": title })).await?, "id").to_owned())
    }

    /// Puts a secret in.
    pub(crate) async fn put_secret(&self, name: &str, value: &str) -> anyhow::Result<()> {
        self.post("v1/secrets", &json!({"name": name, "value": value})).await.map(drop)
    }

    /// Declares a database; gives the names of its tools: that of its schema, and that of queries.
    pub(crate) async fn declare_database(
        &self,
        name: &str,
        database: &Value,
    ) -> anyhow::Result<(String, String)> {
        let made = self.post("v1/databases", &json!({"name": name, "database": database})).await?;
        let tool = |index: usize| made["tools"][index].as_str().map(str::to_owned);
        tool(0).zip(tool(1)).context("the server did not say which tools the database has")
    }

    /// Published agents by their names, each with what it says of itself.
    pub(crate) async fn described(&self, names: &[String]) -> anyhow::Result<Vec<Value>> {
        let mut found = Vec::new();
        self.each("v1/agents", |agent| {
            if names.iter().any(|name| agent["name"] == name.as_str()) {
                let description = &agent["published"]["definition"]["description"];
                found.push(json!({"name": agent["name"], "description": description}));
            }
            true
        })
        .await?;
        let place = |agent: &Value| names.iter().position(|name| agent["name"] == name.as_str());
        found.sort_by_key(place);
        match names.iter().find(|name| found.iter().all(|agent| agent["name"] != name.as_str())) {
            Some(missing) => {
                anyhow::bail!("there is no agent `{missing}`: `GET /v1/agents` lists those that there are")
            }
            None => Ok(found),
        }
    }

    /// Takes an agent out of use; its runs still name it.
    pub(crate) async fn retire_agent(&self, id: &str) -> anyhow::Result<()> {
        self.delete(&format!("v1/agents/{id}")).await
    }

    pub(crate) async fn delete(&self, path: &str) -> anyhow::Result<()> {
        self.send(self.request(Method::DELETE, path)?).await.map(drop)
    }

    pub(crate) async fn run(&self, id: &str) -> anyhow::Result<Value> {
        self.get(&format!("v1/runs/{id}")).await
    }

    /// A run's journal, as the server wrote it.
    pub(crate) async fn journal(&self, id: &str) -> anyhow::Result<String> {
        let answer = self.send(self.request(Method::GET, &format!("v1/runs/{id}/journal"))?).await?;
        answer.text().await.context("the server's answer broke off")
    }

    pub(crate) async fn cancel(&self, id: &str) -> anyhow::Result<()> {
        self.send(self.request(Method::POST, &format!("v1/runs/{id}/cancel"))?).await.map(drop)
    }

    /// A run's events after one of them.
    pub(crate) async fn events(&self, id: &str, after: u64) -> anyhow::Result<Events> {
        let request = self.http.get(self.url(&format!("v1/runs/{id}/events"))?);
        let request = request.bearer_auth(self.token.as_str()).header("Last-Event-ID", after);
        let answer = self.send(request).await?;
        Ok(Events(SseStream::from_bytes_stream(answer.bytes_stream()).boxed()))
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self.send(self.request(Method::GET, path)?).await?;
        answer.json().await.context("the server's answer is no JSON")
    }

    /// Every item of a list, page after page, as long as more are wanted.
    async fn each(&self, path: &str, mut wants_more: impl FnMut(&Value) -> bool) -> anyhow::Result<()> {
        let mut url = self.url(path)?;
        loop {
            let page: Value = self.send(self.authorized(self.http.get(url.clone()))).await?.json().await?;
            if !page["items"].as_array().into_iter().flatten().all(&mut wants_more) {
                return Ok(());
            }
            match page["next_cursor"].as_str() {
                Some(next) => drop(url.query_pairs_mut().clear().append_pair("cursor", next)),
                None => return Ok(()),
            }
        }
    }

    async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send_once(&self.keyed(path)?.json(body)).await
    }

    /// A request that is carried out once, however often it is sent.
    fn keyed(&self, path: &str) -> anyhow::Result<RequestBuilder> {
        Ok(self.request(Method::POST, path)?.header("Idempotency-Key", Uuid::new_v4().to_string()))
    }

    fn request(&self, method: Method, path: &str) -> anyhow::Result<RequestBuilder> {
        Ok(self.authorized(self.http.request(method, self.url(path)?)))
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        let request = request.timeout(PATIENCE);
        if self.token.is_empty() { request } else { request.bearer_auth(self.token.as_str()) }
    }

    fn url(&self, path: &str) -> anyhow::Result<Url> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| anyhow::anyhow!("the server's URL must be http:// or https://"))?
            .pop_if_empty()
            .extend(path.split('/'));
        Ok(url)
    }

    /// Sends a request that has a key, again and again while no answer arrives: it is carried out once.
    async fn send_once(&self, request: &RequestBuilder) -> anyhow::Result<Value> {
        let mut breaks = 0;
        loop {
            let attempt = async {
                let again = request.try_clone().context("the request cannot be sent again")?;
                self.send(again).await?.json().await.context("the server's answer is no JSON")
            };
            match attempt.await {
                Err(error) if breaks < MAX_BREAKS && error.is::<reqwest::Error>() => breaks += 1,
                done => return done,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Sends a request; a problem document becomes an error in its own words.
    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let answer = request.send().await.map_err(|error| {
            let base = self.base.as_str();
            let error = anyhow::Error::new(error.without_url());
            error.context(format!("{base} does not answer: is the server started there? see --url"))
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let failed = answer.error_for_status_ref().err().map(reqwest::Error::without_url);
        let problem: Value = answer.json().await.unwrap_or_default();
        let detail = match text(&problem, "detail") {
            "" => status.to_string(),
            detail => detail.to_owned(),
        };
        let detail = match text(&problem, "pointer") {
            "" => detail,
            pointer => format!("{}: {detail}", pointer.trim_start_matches('/')),
        };
        if status == StatusCode::UNAUTHORIZED {
            bail!("{detail} (tenant and address are --tenant and --email)");
        }
        // Whoever has a key may try again.
        let is_passing = status.is_server_error() || text(&problem, "code") == "idempotency_key_in_use";
        match is_passing.then_some(failed).flatten() {
            Some(error) => Err(anyhow::Error::new(error).context(detail)),
            None => bail!(detail),
        }
    }
}

fn credentials(server: &ServerArguments, settings: &Settings) -> anyhow::Result<Credentials> {
    let tenant = server.tenant.clone().unwrap_or_else(|| first_owner::TENANT.to_owned());
    let email = server.email.clone().unwrap_or_else(|| first_owner::EMAIL.to_owned());
    let given = std::env::var("POWERHOUSE_PASSWORD").ok().map(Zeroizing::new);
    let is_first_owner = tenant == first_owner::TENANT && email == first_owner::EMAIL;
    let password = given.or_else(|| is_first_owner.then(|| first_owner::password(settings)).flatten());
    let password = password.with_context(|| {
        format!(
            "there is no password: set POWERHOUSE_PASSWORD, with POWERHOUSE_TENANT and POWERHOUSE_EMAIL; or start \
             the server first, in this folder, which makes {}",
            settings.owner_password().display()
        )
    })?;
    Ok(Credentials { tenant, email, password })
}

/// What a value says, as text; nothing when it is not there.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}
