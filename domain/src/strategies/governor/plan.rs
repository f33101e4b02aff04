//! The plan of a governor: calls, and values that are read from what calls gave.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::strategies::acting::arguments;
use crate::strategies::asking::{object, text};
use crate::strategies::dataflow::references;
use crate::strategies::reading::read_object;
use crate::tools::ToolSpec;

/// What a reference starts with.
pub(super) const SIGN: &str = "$";
/// The longest text that is taken from what a tool gave, in characters.
const MAX_TEXT: usize = 200;

/// A step of the plan.
#[derive(Debug)]
pub(super) struct PlannedStep {
    pub(super) why: String,
    /// The earlier steps whose values it is given, counted from 1.
    pub(super) needs: BTreeSet<usize>,
    pub(super) planned: Planned,
}

#[derive(Debug)]
pub(super) enum Planned {
    Call { tool: String, arguments: Value },
    Extract(Extraction),
}

/// A value that is to be read from the output of a step.
#[derive(Debug)]
pub(super) struct Extraction {
    pub(super) from: usize,
    pub(super) what: String,
    pub(super) form: Form,
}

/// The form of a value.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Form {
    Text,
    Number,
    Boolean,
}

impl Form {
    pub(super) fn schema(self) -> Value {
        match self {
            Self::Text => json!({"type": "string", "maxLength": MAX_TEXT}),
            Self::Number => json!({"type": "number"}),
            Self::Boolean => json!({"type": "boolean"}),
        }
    }

    pub(super) fn in_words(self) -> String {
        match self {
            Self::Text => format!("a text of at most {MAX_TEXT} characters"),
            Self::Number => "a number".to_owned(),
            Self::Boolean => "true or false".to_owned(),
        }
    }

    /// Reads a value of this form, and of no other; nothing when it is not there.
    pub(super) fn read(self, reply: &str) -> Result<Option<String>, String> {
        #[derive(Deserialize)]
        struct Found {
            found: bool,
            #[serde(default)]
            value: Value,
        }
        let Found { found, value } = read_object(reply)?;
        match (self, value) {
            _ if !found => Ok(None),
            (Self::Text, Value::String(text)) if text.chars().nth(MAX_TEXT).is_none() => Ok(Some(text)),
            (Self::Number, Value::Number(number)) => Ok(Some(number.to_string())),
            (Self::Boolean, Value::Bool(value)) => Ok(Some(value.to_string())),
            _ => Err(format!("the value is not {}", self.in_words())),
        }
    }
}

#[derive(Deserialize)]
struct Plan {
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    #[serde(default)]
    why: String,
    action: Action,
    #[serde(default)]
    tool: String,
    #[serde(default)]
    arguments: Value,
    #[serde(default)]
    from: usize,
    #[serde(default)]
    what: String,
    form: Option<Form>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Call,
    Extract,
}

pub(super) fn step_schema(tools: &[ToolSpec]) -> Value {
    let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).chain([""]).collect();
    object([
        ("why", text()),
        ("action", json!({"type": "string", "enum": ["call", "extract"]})),
        ("tool", json!({"type": "string", "enum": names})),
        ("arguments", text()),
        ("from", json!({"type": "integer", "minimum": 0})),
        ("what", text()),
        ("form", json!({"type": "string", "enum": ["text", "number", "boolean"]})),
    ])
}

/// Reads a plan. A call may be given values that were extracted and what trusted tools gave, and nothing else of what tools gave.
pub(super) fn read_plan(
    reply: &str,
    tools: &[ToolSpec],
    trusted: &[String],
    max: u32,
) -> Result<Vec<PlannedStep>, String> {
    let Plan { steps } = read_object(reply)?;
    if u32::try_from(steps.len()).is_ok_and(|count| count > max) {
        return Err(format!("the plan has more than {max} steps"));
    }
    let mut plan: Vec<PlannedStep> = Vec::new();
    for (number, step) in (1..).zip(steps) {
        let is_call = |at: usize| matches!(plan[at - 1].planned, Planned::Call { .. });
        let is_value = |at: usize| match &plan[at - 1].planned {
            Planned::Extract(_) => true,
            Planned::Call { tool, .. } => trusted.contains(tool),
        };
        let (needs, planned) = match step.action {
            Action::Call => {
                let given = match &step.arguments {
                    Value::String(text) => text.clone(),
                    Value::Null => String::new(),
                    other => other.to_string(),
                };
                let arguments = arguments(tools, &step.tool, &given)
                    .map_err(|reason| format!("in step {number}, {reason}"))?;
                let needs = references(&arguments, SIGN);
                if let Some(wrong) = needs.iter().find(|at| **at >= number || !is_value(**at)) {
                    return Err(format!(
                        "step {number} refers to {SIGN}{wrong}, which is no earlier `extract`"
                    ));
                }
                (needs, Planned::Call { tool: step.tool, arguments })
            }
            Action::Extract => {
                if step.from == 0 || step.from >= number || !is_call(step.from) {
                    return Err(format!(
                        "step {number} extracts from step {}, which is no earlier call",
                        step.from
                    ));
                }
                let form = step.form.unwrap_or(Form::Text);
                let extraction = Extraction { from: step.from, what: step.what, form };
                (BTreeSet::from([step.from]), Planned::Extract(extraction))
            }
        };
        plan.push(PlannedStep { why: step.why, needs, planned });
    }
    Ok(plan)
}
