//! What the process logs, and how: to standard error, filtered, as JSON or for people.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::settings::{Log, LogFormat};

/// Starts logging for the process.
pub(crate) fn start(log: &Log) {
    let is_terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter(log)).with_writer(std::io::stderr);
    let json = match log.format {
        LogFormat::Auto => !is_terminal,
        LogFormat::Json => true,
        LogFormat::Pretty => false,
    };
    let started = if json {
        builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
    } else {
        builder.with_ansi(is_terminal).with_target(false).try_init()
    };
    // Only a second start fails, and the first one logs.
    drop(started);
}

/// What is never logged, whatever the filter: the client of MCP servers writes whole messages down, and an answer may repeat
/// the secret that was sent (S44). Failures of its are told by our own lines.
const SILENT: &str = "rmcp=off";

fn filter(log: &Log) -> EnvFilter {
    let filter = format!("{},{SILENT}", log.filter);
    // Checked when the settings were read.
    EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new(format!("info,{SILENT}")))
}
