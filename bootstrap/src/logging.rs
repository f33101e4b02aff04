//! What the process logs, and how: to standard error, filtered and masked, as JSON or for people.

use std::io::{self, IsTerminal, Write};

use powerhouse_domain::masking::{Classes, mask};
use tracing_subscriber::EnvFilter;

use crate::settings::{Log, LogFormat};

/// Starts logging for the process.
pub(crate) fn start(log: &Log) {
    let is_terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter(log)).with_writer(|| Masked(io::stderr()));
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

/// Writes lines without what should be in no log, whoever logs it: each message and each field passes here, a line at a time.
struct Masked<W>(W);

impl<W: Write> Write for Masked<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        self.0.write_all(mask(&text, Classes::ALL).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// What is never logged, whatever the filter: the client of MCP servers writes whole messages down, and an answer may repeat
/// the secret that was sent (S44). Failures of its are told by our own lines.
const SILENT: &str = "rmcp=off";

fn filter(log: &Log) -> EnvFilter {
    let filter = format!("{},{SILENT}", log.filter);
    // Checked when the settings were read.
    EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new(format!("info,{SILENT}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_written_without_what_should_be_in_no_log() {
        let mut masked = Masked(Vec::new());
        let line = "{\"task\":\"write to ada@example.org\",\"error\":\"password=hunter2hunter2\",\"n\":1}\n";
        masked.write_all(line.as_bytes()).unwrap();
        let expected = "{\"task\":\"write to <EMAIL>\",\"error\":\"password=<SECRET>\",\"n\":1}\n";
        assert_eq!(String::from_utf8(masked.0).unwrap(), expected);
    }
}
