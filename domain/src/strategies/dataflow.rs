//! Plans whose steps call tools with each other's outputs: references in arguments, and putting outputs in their place.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::acting::arguments;
use super::asking::{list, object, text};
use super::reading::read_object;
use crate::tools::ToolSpec;

/// A step of a plan.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PlannedCall {
    /// What it is for.
    pub(super) why: String,
    /// The tool.
    pub(super) tool: String,
    /// Its arguments; texts in them may refer to outputs of earlier steps.
    pub(super) arguments: Value,
    /// The earlier steps that it refers to, counted from 1.
    pub(super) needs: BTreeSet<usize>,
}

#[derive(Deserialize)]
struct Plan {
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    #[serde(default)]
    why: String,
    tool: String,
    #[serde(default)]
    arguments: Value,
}

/// The schema of a plan. Arguments are JSON in a text: providers that enforce schemas want the members of every object.
pub(super) fn plan_schema(tools: &[ToolSpec], max: u32) -> Value {
    let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
    let tool = serde_json::json!({"type": "string", "enum": names});
    let step = object([("why", text()), ("tool", tool), ("arguments", text())]);
    object([("steps", list(&step, 0, max))])
}

/// Reads a plan: every tool is there, arguments are an object, and a step refers to earlier steps only.
pub(super) fn read_plan(
    reply: &str,
    tools: &[ToolSpec],
    sign: &str,
    max: u32,
) -> Result<Vec<PlannedCall>, String> {
    let Plan { steps } = read_object(reply)?;
    if u32::try_from(steps.len()).is_ok_and(|count| count > max) {
        return Err(format!("the plan has more than {max} steps"));
    }
    let number_of_steps = steps.len();
    let call = |(number, Step { why, tool, arguments: given }): (usize, Step)| {
        let given = match given {
            Value::String(text) => text,
            Value::Null => String::new(),
            other => other.to_string(),
        };
        let arguments =
            arguments(tools, &tool, &given).map_err(|reason| format!("in step {number}, {reason}"))?;
        let mut needs = references(&arguments, sign);
        // A `$` with a number beyond the plan is no reference but a text, such as a price.
        needs.retain(|reference| sign != "$" || *reference <= number_of_steps);
        match needs.iter().find(|reference| **reference >= number) {
            Some(later) => {
                Err(format!("step {number} refers to {sign}{later}, which is not an earlier step"))
            }
            None => Ok(PlannedCall { why, tool, arguments, needs }),
        }
    };
    (1..).zip(steps).map(call).collect()
}

/// The steps that the texts of a value refer to, each by the sign and its number.
pub(super) fn references(value: &Value, sign: &str) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    each_reference(value, sign, &mut |number| {
        found.insert(number);
        None
    });
    found
}

/// The value with every reference replaced by what `output` gives for it; where it gives nothing, the text stays.
pub(super) fn substituted(
    value: &Value,
    sign: &str,
    mut output: impl FnMut(usize) -> Option<String>,
) -> Value {
    each_reference(value, sign, &mut output)
}

fn each_reference(value: &Value, sign: &str, output: &mut dyn FnMut(usize) -> Option<String>) -> Value {
    match value {
        Value::String(text) => Value::String(in_text(text, sign, output)),
        Value::Array(items) => items.iter().map(|item| each_reference(item, sign, output)).collect(),
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(name, member)| (name.clone(), each_reference(member, sign, output)))
                .collect(),
        ),
        other => other.clone(),
    }
}

fn in_text(text: &str, sign: &str, output: &mut dyn FnMut(usize) -> Option<String>) -> String {
    let (mut written, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(sign) {
        let after = &rest[at + sign.len()..];
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let replacement = after[..digits].parse().ok().filter(|number| *number > 0).and_then(&mut *output);
        written.push_str(&rest[..at]);
        match replacement {
            // What is put in is not looked at again: an output cannot refer to another.
            Some(replacement) => written.push_str(&replacement),
            None => written.push_str(&rest[at..at + sign.len() + digits]),
        }
        rest = &after[digits..];
    }
    written + rest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tools() -> Vec<ToolSpec> {
        vec![ToolSpec { name: "add".into(), description: String::new(), parameters: json!({}) }]
    }

    fn read(steps: &Value) -> Result<Vec<PlannedCall>, String> {
        read_plan(&json!({ "steps": steps }).to_string(), &tools(), "$", 3)
    }

    #[test]
    fn references_are_found_and_replaced_wherever_they_are() {
        let value = json!({"a": ["$1 and $12", {"b": "$2$1"}], "n": 1, "$3": "$", "c": "$0 $x"});
        assert_eq!(references(&value, "$"), BTreeSet::from([1, 2, 12]));
        let replaced = substituted(&value, "$", |number| (number < 3).then(|| format!("<$1 of {number}>")));
        assert_eq!(
            replaced,
            json!({"a": ["<$1 of 1> and $12", {"b": "<$1 of 2><$1 of 1>"}], "n": 1, "$3": "$", "c": "$0 $x"})
        );
    }

    #[test]
    fn a_plan_may_have_arguments_as_text_or_object_and_refers_backwards() {
        let plan = read(&json!([
            {"why": "first", "tool": "add", "arguments": "{\"a\": 1}"},
            {"tool": "add", "arguments": {"a": "$1", "price": "$100"}},
            {"tool": "add"},
        ]))
        .unwrap();
        assert_eq!((plan[0].why.as_str(), &plan[0].arguments), ("first", &json!({"a": 1})));
        assert_eq!((plan[1].needs.clone(), plan[2].needs.len()), (BTreeSet::from([1]), 0));
    }

    #[test]
    fn what_is_wrong_with_a_plan_is_said() {
        for (steps, reason) in [
            (json!([{"tool": "rm"}]), "no tool `rm`"),
            (json!([{"tool": "add", "arguments": "{"}]), "in step 1"),
            (json!([{"tool": "add", "arguments": "[]"}]), "JSON object"),
            (json!([{"tool": "add", "arguments": {"a": "$1"}}]), "not an earlier step"),
            (json!([{"tool": "add", "arguments": {"a": "$2"}}, {"tool": "add"}]), "refers to $2"),
            (json!([{"tool": "add"}, {"tool": "add"}, {"tool": "add"}, {"tool": "add"}]), "more than 3"),
        ] {
            let error = read(&steps).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        assert!(read_plan("no plan", &tools(), "$", 3).is_err());
        let beyond = json!({"steps": [{"tool": "add", "arguments": {"a": "#E9"}}]}).to_string();
        assert!(read_plan(&beyond, &tools(), "#E", 3).unwrap_err().contains("#E9"));
    }
}
