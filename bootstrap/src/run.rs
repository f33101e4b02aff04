//! `powerhouse run`: submits a task to a server and watches it, as any client of the API could.

use std::io::{IsTerminal as _, stdout};
use std::process::ExitCode;

use serde_json::json;
use uuid::Uuid;

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
    let tried = match &arguments.tried.kind {
        Some(kind) => Some(publish(&client, kind, &arguments.tried).await?),
        None => None,
    };
    let agent = tried.as_deref().or(arguments.agent.as_deref());
    let followed = follow(&client, &arguments.task, agent, form).await;
    let retired = match &tried {
        Some(agent) => client.retire_agent(agent).await,
        None => Ok(()),
    };
    client.sign_out().await;
    let has_succeeded = followed?;
    retired?;
    Ok(if has_succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// An agent to try a kind with. It is retired after its run, so that no task is given to it by selection.
async fn publish(client: &Client, kind: &str, wanted: &TriedArguments) -> anyhow::Result<String> {
    let TriedArguments { parameters, tools, agents, model, .. } = wanted;
    let agents = if agents.is_empty() { Vec::new() } else { client.described(agents).await? };
    let definition = json!({
        "kind": kind,
        "parameters": parameters,
        "tools": tools,
        "agents": agents,
        "model": model,
        "description": format!("Made by `powerhouse run --kind {kind}`"),
    });
    let name = format!("try-{}-{}", kind.replace('_', "-"), Uuid::new_v4().simple());
    client.publish_agent(&name, &definition).await
}

/// Submits a task and shows its run to the end. Whether it has succeeded.
async fn follow(client: &Client, task: &str, agent: Option<&str>, form: Form) -> anyhow::Result<bool> {
    let run = client.submit(task, agent).await?;
    let mut progress = Progress::new(form, stdout());
    let watched = tokio::select! {
        watched = watch(client, &run, &mut progress) => Some(watched),
        _ = tokio::signal::ctrl_c() => None,
    };
    let Some(watched) = watched else {
        client.cancel(&run).await?;
        anyhow::bail!("the run was cancelled");
    };
    watched?;
    let ended = client.run(&run).await?;
    progress.end(&ended)?;
    Ok(ended["status"] == "succeeded")
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
