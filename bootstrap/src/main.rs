//! The binary: wires the adapters to the use cases, and serves them. Start reading at [`serve`] and `wiring.rs`.

mod audit;
mod bench;
mod cli;
mod client;
mod doctor;
mod embeddings;
mod estimate;
mod first_owner;
mod logging;
mod model;
mod operations;
mod replay;
mod run;
mod secrets;
mod serve;
mod settings;
mod wiring;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;

use cli::{AuditCommand, BenchCommand, Cli, Command, ConfigCommand, SecretsCommand, SelectionCommand};
use settings::Layers;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Before anything else: it knows no settings, and bounds itself.
    if let Some(Command::ReadPdf) = cli.command {
        return powerhouse_documents::read_pdf();
    }
    match work(cli) {
        Ok(code) => code,
        Err(error) => {
            cli::complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn work(cli: Cli) -> anyhow::Result<ExitCode> {
    let layers = Layers::read(cli.config.as_deref(), std::env::vars_os())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the asynchronous runtime could not be started")?;
    runtime.block_on(execute(cli.command.unwrap_or(Command::Serve), &layers))
}

async fn execute(command: Command, layers: &Layers) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve => {
            let settings = layers.settings()?;
            logging::start(&settings.log);
            Box::pin(serve::serve(settings)).await?;
        }
        Command::Migrate => {
            cli::say(wiring::migrate(&layers.settings()?).await?);
        }
        Command::Config { command: ConfigCommand::Check } => {
            cli::say(layers.effective());
            layers.settings()?;
        }
        Command::Doctor => return doctor::examine(&layers.settings()?).await,
        Command::Audit { command: AuditCommand::Verify(arguments) } => audit::verify(&arguments)?,
        Command::Bench { command: BenchCommand::Selection(arguments) } => {
            bench::selection(&arguments.data)?;
        }
        Command::Selection { command: SelectionCommand::Estimate(arguments) } => {
            estimate::estimate(&arguments, &layers.settings()?).await?;
        }
        Command::Secrets { command: SecretsCommand::RotateMasterKey } => {
            secrets::rotate_master_key(&layers.settings()?).await?;
        }
        Command::ReadPdf => return Ok(powerhouse_documents::read_pdf()),
        Command::Replay(arguments) => return replay::replay(arguments, layers).await,
        Command::Run(arguments) => return run::run(arguments, &layers.settings()?).await,
    }
    Ok(ExitCode::SUCCESS)
}
