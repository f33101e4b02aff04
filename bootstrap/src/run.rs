//! `powerhouse run`: submits a task to a server and watches it, as any client of the API could.

use std::io::{IsTerminal as _, stdout};
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::cli::RunArguments;
use crate::first_owner;
use crate::settings::Settings;

mod client;
mod progress;

use client::{Client, Credentials};
use progress::{Form, Progress};

/// Submits, watches, and tells by the exit code whether the run has succeeded. Ctrl-C cancels the run.
pub(crate) async fn run(arguments: RunArguments, settings: &Settings) -> anyhow::Result<ExitCode> {
    let credentials = credentials(&arguments, settings)?;
    let base = match arguments.url {
        Some(url) => url,
        None => format!("http://{}", settings.address).parse().context("the server's URL")?,
    };
    let form = match (arguments.json, stdout().is_terminal()) {
        (true, _) => Form::Json,
        (false, true) => Form::Live,
        (false, false) => Form::Plain,
    };
    let client = Client::sign_in(base, &credentials).await?;
    let run = client.submit(&arguments.task, arguments.agent.as_deref()).await?;
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

fn credentials(arguments: &RunArguments, settings: &Settings) -> anyhow::Result<Credentials> {
    let tenant = arguments.tenant.clone().unwrap_or_else(|| first_owner::TENANT.to_owned());
    let email = arguments.email.clone().unwrap_or_else(|| first_owner::EMAIL.to_owned());
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
fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}
