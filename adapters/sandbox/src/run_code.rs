//! The tool that runs a program.

use std::sync::Arc;

use async_trait::async_trait;
use powerhouse_domain::idempotency::CallKey;
use powerhouse_domain::tools::{ToolOutput, ToolSpec};
use powerhouse_ports::tools::Tool;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Bounds, Ended, Failed, Program, Sandbox};

/// Longest program, in bytes.
const MAX_CODE: usize = 64 * 1024;
/// Longest data, in bytes of JSON.
const MAX_DATA: usize = 256 * 1024;

/// Runs Python. What comes back follows from the arguments alone.
pub struct RunCode(Arc<Sandbox>);

impl RunCode {
    /// The tool, with a sandbox of its own.
    pub fn new(bounds: Bounds) -> Self {
        Self(Arc::new(Sandbox::new(bounds)))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    code: String,
    #[serde(default)]
    data: Value,
}

#[async_trait]
impl Tool for RunCode {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "run_code".to_owned(),
            description: "Runs a Python 3.11 program in a sandbox and returns what it printed and the value of its last \
                          expression. It has the standard library, and no files, network, clock or installed packages. \
                          Nothing is kept from one call to the next."
                .to_owned(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "code": {
                        "type": "string",
                        "maxLength": MAX_CODE,
                        "description": "The program, for example: import statistics; statistics.median(data)"
                    },
                    "data": {"description": "Any JSON value, which the program finds as `data`; at most 256 KiB."}
                },
                "required": ["code"],
                "additionalProperties": false
            }),
        }
    }

    fn is_safe_to_repeat(&self) -> bool {
        true
    }

    fn reaches_out(&self) -> bool {
        false
    }

    async fn call(&self, _: &CallKey, arguments: &Value) -> ToolOutput {
        let Arguments { code, data } = match read(arguments) {
            Ok(arguments) => arguments,
            Err(refusal) => return ToolOutput::error(refusal),
        };
        match self.0.run(Program { code, data }).await {
            Ok(ended) => output(&ended),
            Err(error) => {
                tracing::error!(%error, "run_code.failed");
                ToolOutput::error("The sandbox failed; the program was not at fault. Try again later.")
            }
        }
    }
}

fn read(arguments: &Value) -> Result<Arguments, String> {
    let read = Arguments::deserialize(arguments).map_err(|error| {
        let complaint: String = error.to_string().chars().take(300).collect();
        format!("The arguments do not fit the schema: {complaint}.")
    })?;
    if read.code.len() > MAX_CODE {
        return Err(format!("The program is longer than {MAX_CODE} bytes."));
    }
    if read.data.to_string().len() > MAX_DATA {
        return Err(format!("The data is longer than {MAX_DATA} bytes of JSON."));
    }
    Ok(read)
}

/// What a model reads: JSON with what was printed, and the value or the error.
fn output(ended: &Ended) -> ToolOutput {
    let mut shown = json!({"printed": ended.printed});
    if ended.printed_bytes > ended.printed.len() as u64 {
        shown["printed_bytes"] = ended.printed_bytes.into();
        shown["note"] = "Only the beginning of what was printed is shown.".into();
    }
    match &ended.outcome {
        Ok(result) => {
            shown["result"] = json!(result);
            ToolOutput::ok(shown.to_string())
        }
        Err(failed) => {
            shown["error"] = match failed {
                Failed::Raised { kind, message, line } => {
                    json!({"kind": kind, "message": message, "line": line})
                }
                other => json!({"kind": "Stopped", "message": other.to_string()}),
            };
            ToolOutput::error(shown.to_string())
        }
    }
}
