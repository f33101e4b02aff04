//! The binary: wires the adapters to the use cases, and serves them. Start reading at [`serve`] and `wiring.rs`.

mod cli;
mod doctor;
mod first_owner;
mod logging;
mod model;
mod run;
mod serve;
mod settings;
mod wiring;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;

use cli::{Cli, Command, ConfigCommand};
use settings::{Layers, Settings};

fn main() -> ExitCode {
    let cli = Cli::parse();
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
    let command = cli.command.unwrap_or(Command::Serve);
    if let Command::Config { command: ConfigCommand::Check } = command {
        cli::say(layers.effective());
        layers.settings()?;
        return Ok(ExitCode::SUCCESS);
    }
    let settings = layers.settings()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the asynchronous runtime could not be started")?;
    runtime.block_on(execute(command, settings))
}

async fn execute(command: Command, settings: Settings) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve => {
            logging::start(&settings.log);
            serve::serve(settings).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Migrate => {
            let what = wiring::migrate(&settings).await?;
            cli::say(format!("The schema of {what} is up to date."));
            Ok(ExitCode::SUCCESS)
        }
        Command::Config { .. } => Ok(ExitCode::SUCCESS),
        Command::Doctor => doctor::examine(&settings).await,
        Command::Run(arguments) => run::run(arguments, &settings).await,
    }
}
