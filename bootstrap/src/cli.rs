//! The command line.

use std::fmt::Display;
use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use powerhouse_domain::audit::AuditHash;
use powerhouse_domain::ids::TenantId;
use serde_json::Value;

/// Runs AI agents for many organisations: API, orchestrator and worker in one binary.
#[derive(Debug, Parser)]
#[command(name = "powerhouse", version, propagate_version = true)]
pub(crate) struct Cli {
    /// The configuration file; `powerhouse.toml` is read when it is there.
    #[arg(long, global = true, env = "POWERHOUSE_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the API and work off runs (the default).
    Serve,
    /// Bring the database's schema up to date.
    Migrate,
    /// Look at the configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Say what is missing for the server to work, and how to mend it.
    Doctor,
    /// Submit a task to a server, and watch it.
    Run(RunArguments),
    /// Do a run again offline, from its journal, and compare. No model and no tool is called.
    Replay(ReplayArguments),
    /// Work with exports of the audit trail.
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Measure what needs no server.
    Bench {
        #[command(subcommand)]
        command: BenchCommand,
    },
    /// Look into how agents are chosen.
    Selection {
        #[command(subcommand)]
        command: SelectionCommand,
    },
    /// Look after the keys of tenants' secrets.
    Secrets {
        #[command(subcommand)]
        command: SecretsCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// How well and how fast agents are selected, on sentences that were never seen.
    Selection(SelectionArguments),
}

#[derive(Debug, Args)]
pub(crate) struct SelectionArguments {
    /// Sentences with the agents that they are for, in the form of CLINC150's `data_full.json`.
    #[arg(long, value_name = "FILE", default_value = "tests/data/clinc150.json")]
    pub(crate) data: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SelectionCommand {
    /// Estimate what other ways of choosing would have been worth, from choices that were made. Reads the database.
    Estimate(EstimateArguments),
}

#[derive(Debug, Args)]
pub(crate) struct EstimateArguments {
    /// Whose choices, `tenant_…`.
    #[arg(long)]
    pub(crate) tenant: TenantId,
    /// Only those of so many days.
    #[arg(long)]
    pub(crate) days: Option<u32>,
    /// At most so many, the newest.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) limit: u32,
    /// Parts of the probability that would be spread evenly, from 0 to 1, by commas; it is 0.05.
    #[arg(long = "width", value_delimiter = ',', default_values_t = [0.0, 0.2])]
    pub(crate) widths: Vec<f64>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretsCommand {
    /// Wrap the key of every tenant's secrets by a new master key: the configured one, or one that is made now. Servers go
    /// on meanwhile.
    RotateMasterKey,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Check that nothing in an export was changed, taken out or put in. Needs no server.
    Verify(VerifyArguments),
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// The export, as `GET /v1/audit` gives it with `Accept: application/x-ndjson`; `-` for the standard input.
    pub(crate) file: PathBuf,
    /// A head that was noted before: the trail must lead there, or beyond.
    #[arg(long, value_name = "HASH")]
    pub(crate) head: Option<AuditHash>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the effective settings with secrets masked, and name every mistake.
    Check,
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// What is to be done.
    pub(crate) task: String,
    /// The agent that does it, `agent_…`; the platform chooses when left out.
    #[arg(long, conflicts_with = "kind")]
    pub(crate) agent: Option<String>,
    /// The conversation of yours that it goes on with: `thread_…`, or a title. A title that you have none of begins one.
    #[arg(long, value_name = "THREAD|TITLE")]
    pub(crate) thread: Option<String>,
    #[command(flatten)]
    pub(crate) tried: TriedArguments,
    #[command(flatten)]
    pub(crate) server: ServerArguments,
    /// Print the run's events as JSON, one a line, and the run itself last.
    #[arg(long)]
    pub(crate) json: bool,
}

/// An agent that is made to try a kind, and retired afterwards.
#[derive(Debug, Args)]
pub(crate) struct TriedArguments {
    /// Try a kind of agents, one of `GET /v1/agent-kinds`, with an agent that is made for it.
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<String>,
    /// Its parameters, a JSON object; what is left out has its default.
    #[arg(long, value_name = "JSON", requires = "kind", default_value = "{}", value_parser = object)]
    pub(crate) parameters: Value,
    /// The tools that it may call, separated by commas.
    #[arg(long, value_name = "TOOLS", requires = "kind", value_delimiter = ',')]
    pub(crate) tools: Vec<String>,
    /// The agents that it may have do something, by their names, separated by commas.
    #[arg(long, value_name = "AGENTS", requires = "kind", value_delimiter = ',')]
    pub(crate) agents: Vec<String>,
    /// A PostgreSQL database that it may read, declared for this run: such as
    /// `sales=postgres://reporting@db.example.org/sales?schemas=shop`. The password is read from
    /// `POWERHOUSE_DATABASE_PASSWORD`, never from the command line, which others can see.
    #[arg(long, value_name = "NAME=URL", requires = "kind")]
    pub(crate) database: Option<String>,
    /// Its model; the platform's default when left out.
    #[arg(long, value_name = "MODEL", requires = "kind")]
    pub(crate) model: Option<String>,
}

fn object(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(object @ Value::Object(_)) => Ok(object),
        Ok(_) => Err("it must be a JSON object".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArguments {
    /// The run, `run_…`, whose journal the server gives; or a file with a journal, for which no server is needed.
    #[arg(value_name = "RUN|FILE")]
    pub(crate) run: String,
    /// Keep the journal in this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) server: ServerArguments,
}

/// The server to talk to. The password is read from `POWERHOUSE_PASSWORD`, never from the command line, which others can
/// see.
#[derive(Debug, Args)]
pub(crate) struct ServerArguments {
    /// The server; the configured address when left out.
    #[arg(long, env = "POWERHOUSE_URL")]
    pub(crate) url: Option<url::Url>,
    /// The tenant to sign in to; the first owner's when left out.
    #[arg(long, env = "POWERHOUSE_TENANT")]
    pub(crate) tenant: Option<String>,
    /// The address to sign in with; the first owner's when left out.
    #[arg(long, env = "POWERHOUSE_EMAIL")]
    pub(crate) email: Option<String>,
}

/// Prints a line for people. Nobody reads when it cannot be written, so that is no error.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Prints an error with its causes.
pub(crate) fn complain(error: &anyhow::Error) {
    let mut stderr = std::io::stderr();
    let _ = writeln!(stderr, "error: {error}");
    for cause in error.chain().skip(1) {
        let _ = writeln!(stderr, "  because: {cause}");
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        assert!(Cli::try_parse_from(["powerhouse"]).unwrap().command.is_none());
        assert!(Cli::try_parse_from(["powerhouse", "config", "check", "--config", "a"]).is_ok());
        assert!(Cli::try_parse_from(["powerhouse", "run"]).is_err());
        assert!(Cli::try_parse_from(["powerhouse", "audit", "verify", "-"]).is_ok());
        assert!(Cli::try_parse_from(["powerhouse", "audit", "verify", "-", "--head", "F00"]).is_err());
        assert!(Cli::try_parse_from(["powerhouse", "replay"]).is_err());
        let run = |more: &[&str]| Cli::try_parse_from([&["powerhouse", "run", "x"], more].concat());
        assert!(run(&["--kind", "react", "--parameters", "{}", "--tools", "a,b"]).is_ok());
        assert!(run(&["--kind", "react", "--parameters", "[]"]).is_err());
        assert!(run(&["--kind", "react", "--agent", "agent_x"]).is_err());
        assert!(run(&["--tools", "a"]).is_err());
        assert!(run(&["--database", "a=postgres://b@c/d"]).is_err());
        assert!(run(&["--thread", "Lisbon", "--agent", "agent_x"]).is_ok());
        assert!(Cli::try_parse_from(["powerhouse", "bench", "selection"]).is_ok());
        let estimate =
            |tenant| Cli::try_parse_from(["powerhouse", "selection", "estimate", "--tenant", tenant]);
        assert!(estimate("tenant_01h455vb4pex5vsknk084sn02q").is_ok() && estimate("acme").is_err());
    }
}
