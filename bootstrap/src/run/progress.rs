//! How a run is shown: live on a terminal, in plain lines through a pipe, or as JSON.

use std::io::{self, Write};

use serde_json::Value;

use crate::client::text;

const DIM: &str = "\x1b[2m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";
/// The most characters of a step's output that are shown.
const MAX_OUTPUT: usize = 160;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Live,
    Plain,
    Json,
}

pub(super) struct Progress<W> {
    form: Form,
    to: W,
    /// What was shown of the answer while it came.
    answered: String,
    /// Whether the last line has no end yet.
    is_open: bool,
    /// Whose text that line is.
    speaks: String,
}

impl<W: Write> Progress<W> {
    pub(super) fn new(form: Form, to: W) -> Self {
        Self { form, to, answered: String::new(), is_open: false, speaks: String::new() }
    }

    /// Shows an event.
    pub(super) fn event(&mut self, name: &str, data: &Value) -> io::Result<()> {
        match self.form {
            Form::Json => writeln!(self.to, "{}", serde_json::json!({ "event": name, "data": data })),
            Form::Live => self.live(name, data),
            Form::Plain => self.plain(name, data),
        }?;
        self.to.flush()
    }

    /// Shows the run as it ended.
    pub(super) fn end(&mut self, run: &Value) -> io::Result<()> {
        if self.form == Form::Json {
            return writeln!(self.to, "{run}");
        }
        self.close()?;
        match text(run, "status") {
            "succeeded" => {
                if self.answered.trim() != text(run, "answer") {
                    writeln!(self.to, "{}", shown(text(run, "answer")))?;
                }
            }
            "failed" => writeln!(self.to, "failed: {}", shown(text(&run["failure"], "message")))?,
            status => writeln!(self.to, "{status}")?,
        }
        let usage = &run["usage"];
        let (dim, plain) = if self.form == Form::Live { (DIM, PLAIN) } else { ("", "") };
        writeln!(
            self.to,
            "{dim}{}: {}; {} tokens read, {} written{plain}",
            text(run, "id"),
            shown(text(&run["selection"], "reason")),
            usage["input_tokens"],
            usage["output_tokens"],
        )
    }

    fn live(&mut self, name: &str, data: &Value) -> io::Result<()> {
        match name {
            "step.started" => {
                self.close()?;
                writeln!(self.to, "{BOLD}• {}{PLAIN}", step(data))
            }
            "step.delta" => {
                let piece = text(data, "text");
                if self.speaks != text(data, "key") {
                    self.close()?;
                    text(data, "key").clone_into(&mut self.speaks);
                }
                self.is_open = !piece.ends_with('\n');
                if data["channel"] == "answer" {
                    self.answered.push_str(piece);
                    write!(self.to, "{}", shown(piece))
                } else {
                    write!(self.to, "{DIM}{}{PLAIN}", shown(piece))
                }
            }
            "step.ended" => self.outcome(data),
            _ => Ok(()),
        }
    }

    fn plain(&mut self, name: &str, data: &Value) -> io::Result<()> {
        match name {
            "step.started" => writeln!(self.to, "started: {}", step(data)),
            "step.ended" => self.outcome(data),
            _ => Ok(()),
        }
    }

    /// A tool's output, or a failure; a model's text has been shown, or will be.
    fn outcome(&mut self, data: &Value) -> io::Result<()> {
        let is_model = data["model"].is_string();
        let has_failed = data["status"] == "failed";
        if is_model && !has_failed && (self.form == Form::Live && self.is_open) {
            return Ok(());
        }
        self.close()?;
        let output: String = text(data, "output").chars().take(MAX_OUTPUT).collect();
        let sign = if has_failed { "failed" } else { "→" };
        writeln!(self.to, "  {sign} {}", shown(&output.replace('\n', " ")))
    }

    fn close(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.is_open) { writeln!(self.to) } else { Ok(()) }
    }
}

fn step(data: &Value) -> String {
    match text(data, "kind") {
        "tool" => format!("tool {}", text(data, "tool")),
        "run" => format!("run of {}", text(data, "agent")),
        _ => format!("model: {}", text(data, "purpose")),
    }
}

/// Text that cannot steer the terminal: a model's or a tool's words are not ours.
pub(crate) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn show(form: Form) -> String {
        let mut progress = Progress::new(form, Vec::new());
        for (name, data) in [
            ("run.started", json!({"seq": 2})),
            ("step.started", json!({"kind": "tool", "tool": "calculator"})),
            ("step.ended", json!({"status": "succeeded", "output": "47.5"})),
            ("step.started", json!({"kind": "model", "purpose": "answer"})),
            ("step.delta", json!({"channel": "answer", "text": "It is \u{1b}[31m"})),
            ("step.delta", json!({"channel": "answer", "text": "47.5."})),
            ("step.ended", json!({"status": "succeeded", "model": "m", "output": "It is 47.5."})),
        ] {
            progress.event(name, &data).unwrap();
        }
        let usage = json!({"input_tokens": 7, "output_tokens": 3});
        let run = json!({"id": "run_1", "status": "succeeded", "answer": "It is 47.5.", "usage": usage,
            "selection": {"reason": "named by the caller"}});
        progress.end(&run).unwrap();
        String::from_utf8(progress.to).unwrap()
    }

    #[test]
    fn plain_lines_are_for_a_pipe() {
        assert_eq!(
            show(Form::Plain),
            "started: tool calculator\n  → 47.5\nstarted: model: answer\n  → It is 47.5.\nIt is 47.5.\n\
             run_1: named by the caller; 7 tokens read, 3 written\n"
        );
    }

    #[test]
    fn a_terminal_shows_text_as_it_comes_and_is_not_steered_by_it() {
        let shown = show(Form::Live);
        assert!(shown.contains("It is [31m47.5.\n"), "{shown:?}");
    }

    #[test]
    fn two_that_speak_at_once_have_lines_of_their_own() {
        let mut progress = Progress::new(Form::Live, Vec::new());
        for (key, piece) in [("0", "pro"), ("1", "con"), ("1", "tra")] {
            let data = json!({"channel": "answer", "key": key, "text": piece});
            progress.event("step.delta", &data).unwrap();
        }
        assert_eq!(String::from_utf8(progress.to).unwrap(), "pro\ncontra");
    }

    #[test]
    fn json_is_one_value_a_line() {
        let shown = show(Form::Json);
        let lines: Vec<Value> = shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((lines.len(), &lines[7]["status"]), (8, &json!("succeeded")));
    }
}
