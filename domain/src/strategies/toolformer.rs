//! Toolformer (Schick et al. 2023), at inference only: the model writes calls into its text, they are made, and their results are
//! put in their place.
//!
//! The paper trains a model to do so; nothing is trained here, a model is only told the form. Writing stops at the first call, as
//! in the paper: what the model wrote behind it, not knowing the result, is dropped. A call that fails is shown to the model, and
//! left out of the answer. What looks like a call but has no tool, or no JSON, is text.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::acting::{DATA_NOT_ORDERS, arguments, described, first_value, untrusted};
use super::asking::{answer, ask};
use super::kind::{About, Kind, Source, ToolUse};
use super::parameters::Parameter;
use super::{Answer, Brief, StrategyError};
use crate::effects::Effects;
use crate::model::{Channel, ModelRequest};
use crate::tools::{ToolOutput, ToolSpec};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Parameters {
    max_calls: u32,
}

impl Kind for Parameters {
    const ABOUT: About = About {
        name: "Toolformer",
        summary: "Writes tool calls into its text, and goes on writing with their results in place. At inference only.",
        use_when: "Texts in which figures or facts come from tools, each at its place. Models that call tools natively do better \
            with `react`. The paper's training is not part of it.",
        sources: &[Source::arxiv(
            "Schick et al.",
            2023,
            "Toolformer: Language Models Can Teach Themselves to Use Tools",
            "2302.04761",
        )],
        cost: "1, and 1 more for each call of a tool: 1 to max_calls + 1",
        tools: ToolUse::Optional,
        parameters: &[Parameter::integer("max_calls", 1..=16, 4, "The most calls of tools in a text.")],
    };

    fn model_calls(&self) -> RangeInclusive<u32> {
        1..=self.max_calls + 1
    }

    async fn run(self, brief: Brief, fx: Effects) -> Result<Answer, StrategyError> {
        let mut text = Text::default();
        let most = if brief.tools.is_empty() { 0 } else { self.max_calls };
        for call in 0..=most {
            let guidance = if call < most {
                format!("{WRITE} {FORM} {DATA_NOT_ORDERS} The tools are:\n{}", described(&brief.tools))
            } else {
                format!("{WRITE} {DATA_NOT_ORDERS}")
            };
            let messages = brief.about_task(&guidance, &[("Text so far", &text.for_the_model())]);
            let request = ModelRequest::thought("write", messages);
            // Only without tools is it known beforehand that this is the answer.
            let channel = if most == 0 { Channel::Answer } else { Channel::Thought };
            let reply = ask(&fx, ModelRequest { channel, ..request }).await?.text;
            let Some(found) = first_call(&reply, &brief.tools) else {
                text.write(&reply);
                break;
            };
            text.write(&reply[..found.start]);
            if call == most {
                // It was told not to: what follows does not know the result.
                break;
            }
            let output = match arguments(&brief.tools, found.tool, found.arguments) {
                Ok(arguments) => fx.tool(found.tool, arguments).await?,
                Err(reason) => ToolOutput::error(reason),
            };
            text.splice(found.tool, found.arguments, output);
        }
        answer(&text.for_the_reader(), "write")
    }
}

/// What was written, with the results of calls in their places.
#[derive(Default)]
struct Text(Vec<Piece>);

enum Piece {
    Written(String),
    Spliced { call: String, output: ToolOutput },
}

impl Text {
    fn write(&mut self, text: &str) {
        self.0.push(Piece::Written(text.to_owned()));
    }

    fn splice(&mut self, tool: &str, arguments: &str, output: ToolOutput) {
        self.0.push(Piece::Spliced { call: format!("{tool}({arguments})"), output });
    }

    fn for_the_model(&self) -> String {
        let shown = |piece: &Piece| match piece {
            Piece::Written(text) => text.clone(),
            Piece::Spliced { call, output } => format!("[{call} → {}]", untrusted(output)),
        };
        self.0.iter().map(shown).collect()
    }

    /// Two words that were written apart stay apart.
    fn for_the_reader(&self) -> String {
        self.0.iter().fold(String::new(), |text, piece| {
            let next = match piece {
                Piece::Written(text) => text.as_str(),
                Piece::Spliced { output, .. } if output.is_error => "",
                Piece::Spliced { output, .. } => output.content.trim(),
            };
            let would_join = text.ends_with(char::is_alphanumeric) && next.starts_with(char::is_alphanumeric);
            text + if would_join { " " } else { "" } + next
        })
    }
}

struct Found<'a> {
    start: usize,
    tool: &'a str,
    arguments: &'a str,
}

/// The first `[tool(json)]` of a text whose tool there is.
fn first_call<'a>(text: &'a str, tools: &[ToolSpec]) -> Option<Found<'a>> {
    text.match_indices('[').find_map(|(start, _)| {
        let (tool, rest) = text[start + 1..].split_once('(')?;
        let tool = tool.trim();
        if !tools.iter().any(|known| known.name == tool) {
            return None;
        }
        let arguments = if rest.trim_start().starts_with(')') { "" } else { first_value(rest) };
        let is_json = arguments.is_empty() || serde_json::from_str::<Value>(arguments).is_ok();
        let after = rest[arguments.len()..].trim_start().strip_prefix(')')?.trim_start();
        (is_json && after.starts_with(']')).then_some(Found { start, tool, arguments: arguments.trim() })
    })
}

const WRITE: &str = "Write the text that the task asks for. If there is a text so far, go on exactly where it stops, without repeating \
    it.";
const FORM: &str = "Where a fact or figure can come from a tool, write the call in its place and stop, as in \
    `Six sevens are [calculator({\"expression\": \"6 * 7\"})]`; its result is put there for the reader.";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::strategies::scripted::{Script, brief, strategy};
    use crate::strategies::{AgentKind, Strategy};

    fn toolformer(calls: u32) -> Strategy {
        strategy(AgentKind::Toolformer, json!({ "max_calls": calls }))
    }

    #[test]
    fn a_call_is_made_where_it_stands_and_its_result_put_there() {
        let replies = ["Six sevens are [add({\"a\": 6})], I guess 41.", ", and [ add() ] is more", "."];
        let script = Script::new(replies)
            .with_tool(|call| ToolOutput::ok(if call.arguments == json!({"a": 6}) { "42" } else { "43" }));
        let played = script.play(&toolformer(4), brief());
        assert_eq!(played.text(), "Six sevens are 42, and 43.");
        assert_eq!((played.tools.len(), played.requests.len()), (2, 3));
        let so_far = played.prompt(1);
        assert!(
            so_far.contains("Six sevens are [add({\\\"a\\\": 6}) → <untrusted_tool_output")
                && so_far.contains("42")
        );
        assert!(!so_far.contains("I guess"), "what stood behind the call did not know its result");
    }

    #[test]
    fn the_bound_ends_the_calls() {
        let played = Script::new(["a [add()]", " b [add()] c"])
            .with_tool(|_| ToolOutput::ok("1"))
            .play(&toolformer(1), brief());
        assert_eq!((played.text(), played.tools.len(), played.requests.len()), ("a 1 b", 1, 2));
        assert!(!played.prompt(1).contains("calculator("), "it is not told of calls any more");
    }

    #[test]
    fn what_is_no_call_is_text() {
        for said in ["See [1] and [rm({})].", "[add(x)]", "[add({}) and more", "[add({\"a\": 1}"] {
            let played = Script::new([said]).play(&toolformer(4), brief());
            assert_eq!((played.text(), played.tools.len(), played.requests.len()), (said, 0, 1));
        }
    }

    #[test]
    fn an_error_is_shown_to_the_model_and_left_out_of_the_answer() {
        let script =
            Script::new(["It is [add([1])]", "unknown", ""]).with_tool(|_| ToolOutput::error("no sum"));
        let played = script.play(&toolformer(4), brief());
        assert_eq!((played.text(), played.tools.len()), ("It is unknown", 0));
        assert!(played.prompt(1).contains("must be a JSON object"));
        let played = Script::new(["It is [add()]", "unknown"])
            .with_tool(|_| ToolOutput::error("no sum"))
            .play(&toolformer(4), brief());
        assert!(played.text() == "It is unknown" && played.prompt(1).contains("no sum"));
    }

    #[test]
    fn without_tools_it_writes_once_and_an_empty_text_is_an_error() {
        let mut without = brief();
        without.tools.clear();
        let played = Script::new(["[add()]"]).play(&toolformer(4), without);
        assert_eq!((played.text(), played.requests.len()), ("[add()]", 1));
        assert_eq!(played.requests[0].channel, Channel::Answer);
        let played = Script::new([" "]).play(&toolformer(4), brief());
        assert!(matches!(played.result, Err(StrategyError::Unparseable { .. })));
    }
}
