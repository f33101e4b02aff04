//! `powerhouse replay`: does a run again from its journal, without the server, a model or a tool, and compares.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use powerhouse_domain::ids::RunId;
use powerhouse_domain::runs::{Replay, ReplayedStep, StepKind};
use powerhouse_http::JournalDocument;

use crate::cli::{ReplayArguments, say};
use crate::client::Client;
use crate::run::shown;
use crate::settings::Layers;

/// Replays, and tells by the exit code whether all was the same.
pub(crate) async fn replay(arguments: ReplayArguments, layers: &Layers) -> anyhow::Result<ExitCode> {
    let json = match arguments.run.parse::<RunId>() {
        Ok(run) => fetch(&arguments, run, layers).await?,
        Err(_) => read(Path::new(&arguments.run))?,
    };
    if let Some(file) = &arguments.save {
        std::fs::write(file, &json).with_context(|| format!("{} cannot be written", file.display()))?;
    }
    let document: JournalDocument =
        serde_json::from_str(&json).with_context(|| format!("{} is no journal", arguments.run))?;
    let run = shown(document.run());
    let recording =
        document.into_recording().with_context(|| format!("{} cannot be replayed", arguments.run))?;
    let replayed = powerhouse_domain::runs::replay(&recording);
    say(table(&run, &replayed));
    Ok(if replayed.difference.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn fetch(arguments: &ReplayArguments, run: RunId, layers: &Layers) -> anyhow::Result<String> {
    let client = Client::of(&arguments.server, &layers.settings()?).await?;
    let json = client.journal(&run.to_string()).await;
    client.sign_out().await;
    json
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file)
        .with_context(|| format!("{} is neither a run, `run_…`, nor a file that can be read", file.display()))
}

fn table(run: &str, replayed: &Replay) -> String {
    let Replay { steps, end, hash, difference } = replayed;
    let differs = difference.as_ref().and_then(|difference| difference.step);
    let mut table = format!("{run}, replayed without a model or a tool\n");
    for ReplayedStep { number, kind, fingerprint, has_ended, .. } in steps {
        let what = match kind {
            StepKind::Model { purpose } => format!("model: {purpose}"),
            StepKind::Tool { name } => format!("tool {name}"),
            StepKind::Run { agent } => format!("run of {agent}"),
        };
        let became = match has_ended {
            _ if differs == Some(*number) => "differs",
            true => "same",
            false => "same, without an outcome",
        };
        let _ = writeln!(table, "{number:>5}  {:<32}  asks {fingerprint}  {became}", shown(&what));
    }
    if let Some(end) = end {
        let _ = writeln!(table, "  end  {:<32}  {:<37}  same", end.name(), "");
    }
    let _ = writeln!(table, "event hash {hash}");
    let _ = match (difference, end) {
        (Some(difference), _) => write!(table, "{}", shown(&difference.to_string())),
        (None, Some(_)) => write!(table, "same: {}, as its journal says", steps_in_words(steps.len())),
        (None, None) => write!(table, "same so far: {}; the run has not ended", steps_in_words(steps.len())),
    };
    table
}

fn steps_in_words(count: usize) -> String {
    if count == 1 { "1 step".to_owned() } else { format!("{count} steps") }
}
