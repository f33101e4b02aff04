//! `powerhouse run`: submits a task to a server and watches it, as any client of the API could.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{IsTerminal as _, stdout};
use std::process::ExitCode;

use serde_json::json;

use crate::cli::{RunArguments, TriedArguments};
use crate::client::{self, Client};
use crate::settings::Settings;

mod progress;

pub(crate) use progress::shown;
use progress::{Form, Progress};

/// Submits, watches, and tells by the exit code whether the run has succeeded. Ctrl-C cancels the run.
pub(crate) async fn run(arguments: RunArguments, settings: &Settings) -> anyhow::Result<ExitCode> {
    let form = match (arguments.json, stdout().is_terminal()) {
        (true, _) => Form::Json,
        (false, true) => Form::Live,
        (false, false) => Form::Plain,
    };
    let client = Client::of(&arguments.server, settings).await?;
    let agent = match &arguments.tried.kind {
        Some(kind) => Some(tried(&client, kind, &arguments.tried).await?),
        None => arguments.agent.clone(),
    };
    let run = client.submit(&arguments.task, agent.as_deref()).await?;
    let mut progress = Progress::new(form, stdout());
    let watched = tokio::select! {
        watched = watch(&client, &run, &mut progress) => Some(watched),
        _ = tokio::signal::ctrl_c() => None,
    };
    let Some(watched) = watched else {
        client.cancel(&run).await?;
        client.sign_out().await;
        anyhow::bail!("the run was cancelled");
    };
    watched?;
    let ended = client.run(&run).await?;
    progress.end(&ended)?;
    client.sign_out().await;
    let has_succeeded = ended["status"] == "succeeded";
    Ok(if has_succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// An agent to try a kind with: the one of the last time, if the same was tried, else a new one.
async fn tried(client: &Client, kind: &str, wanted: &TriedArguments) -> anyhow::Result<String> {
    let TriedArguments { parameters, tools, model, .. } = wanted;
    let definition = json!({
        "kind": kind,
        "parameters": parameters,
        "tools": tools,
        "model": model,
        "description": format!("Made by `powerhouse run --kind {kind}`"),
    });
    let mut hash = DefaultHasher::new();
    definition.to_string().hash(&mut hash);
    let name = format!("try-{}-{:016x}", kind.replace('_', "-"), hash.finish());
    match client.published_agent(&name).await? {
        Some(agent) => Ok(agent),
        None => client.publish_agent(&name, &definition).await,
    }
}

async fn watch(client: &Client, run: &str, progress: &mut Progress<std::io::Stdout>) -> anyhow::Result<()> {
    let mut last = 0;
    let mut quiet_breaks = 0;
    // A stream that breaks off is taken up after the last event.
    while quiet_breaks < client::MAX_BREAKS {
        let before = last;
        let mut events = client.events(run, last).await?;
        while let Some(event) = events.next().await? {
            last = event.seq;
            progress.event(&event.name, &event.data)?;
            if is_final(&event.name) {
                return Ok(());
            }
        }
        quiet_breaks = if last == before { quiet_breaks + 1 } else { 0 };
        tokio::time::sleep(client::PAUSE).await;
    }
    anyhow::bail!("the run's events broke off again and again; read it with GET /v1/runs/{run}")
}

fn is_final(name: &str) -> bool {
    matches!(name, "run.succeeded" | "run.failed" | "run.cancelled" | "run.timed_out")
}
