//! `powerhouse run`: submits a task to a server and watches it, as any client of the API could.

use std::io::{IsTerminal as _, stdout};
use std::process::ExitCode;

use powerhouse_domain::ids::ThreadId;

use crate::cli::{RunArguments, say};
use crate::client::{self, Client};
use crate::settings::Settings;

mod database;
mod progress;
mod tried;

pub(crate) use progress::shown;
use progress::{Form, Progress};
use tried::Tried;

/// Submits, watches, and tells by the exit code whether the run has succeeded. Ctrl-C cancels the run.
pub(crate) async fn run(arguments: RunArguments, settings: &Settings) -> anyhow::Result<ExitCode> {
    let form = match (arguments.json, stdout().is_terminal()) {
        (true, _) => Form::Json,
        (false, true) => Form::Live,
        (false, false) => Form::Plain,
    };
    let client = Client::of(&arguments.server, settings).await?;
    let tried = match &arguments.tried.kind {
        Some(kind) => Some(Tried::make(&client, kind, &arguments.tried).await?),
        None => None,
    };
    let agent = tried.as_ref().map_or(arguments.agent.as_deref(), Tried::agent);
    let followed = follow(&client, &arguments, agent, form).await;
    let removed = match tried {
        Some(tried) => tried.remove().await,
        None => Ok(()),
    };
    client.sign_out().await;
    let has_succeeded = followed?;
    removed?;
    Ok(if has_succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Submits a task and shows its run to the end. Whether it has succeeded.
async fn follow(
    client: &Client,
    arguments: &RunArguments,
    agent: Option<&str>,
    form: Form,
) -> anyhow::Result<bool> {
    let thread = match &arguments.thread {
        Some(wanted) => Some(thread(client, wanted, form).await?),
        None => None,
    };
    let run = client.submit(&arguments.task, agent, thread.as_deref()).await?;
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

/// The id of a thread that is named by its id or its title. One is begun if there is none of the title.
async fn thread(client: &Client, wanted: &str, form: Form) -> anyhow::Result<String> {
    if wanted.parse::<ThreadId>().is_ok() {
        return Ok(wanted.to_owned());
    }
    // As the server has it.
    let title = wanted.trim();
    if let Some(found) = client.thread(title).await? {
        return Ok(found);
    }
    let begun = client.begin_thread(title).await?;
    if form != Form::Json {
        say(format_args!("{begun}: begun, there was no thread `{}`", shown(title)));
    }
    Ok(begun)
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
