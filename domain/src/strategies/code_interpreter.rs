//! PAL (Gao et al. 2022) with `CodeAct`'s turns (Wang et al. 2024): the model writes a program instead of calculating in words, the
//! program runs in the sandbox, and what it gave is read; a program that failed is mended.
//!
//! A reply with code is a program; of several blocks, all together, in their order. A reply without code is the answer. What
//! a program prints or gives is all that the next turn knows of it: each runs in an interpreter of its own. Once a program
//! failed and may not be mended any more, the run fails with its error; once enough have run, the model answers from what it
//! knows.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::acting::{DATA_NOT_ORDERS, untrusted};
use super::asking::{answer, ask};
use super::kind::{About, Kind, Source, ToolUse};
use super::parameters::Parameter;
use super::{Answer, Brief, StrategyError};
use crate::effects::Effects;
use crate::model::{Channel, Message, ModelRequest};

/// The tool that runs programs.
const RUN_CODE: &str = "run_code";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Parameters {
    max_programs: u32,
    max_repairs: u32,
}

impl Kind for Parameters {
    const ABOUT: About = About {
        name: "Code interpreter",
        summary: "Writes a program that finds the answer, runs it in a sandbox, mends it when it fails, and answers from its output.",
        use_when: "Arithmetic, dates, statistics, lists and texts to be worked on exactly. The program has no network and no files: \
            what it works on must be in the task.",
        sources: &[
            Source::arxiv("Gao et al.", 2022, "PAL: Program-aided Language Models", "2211.10435"),
            Source::arxiv(
                "Wang et al.",
                2024,
                "Executable Code Actions Elicit Better LLM Agents",
                "2402.01030",
            ),
        ],
        cost: "1 for each program, 1 to mend each that fails, 1 to answer: 1 to max_programs + max_repairs + 1; mostly 2",
        tools: ToolUse::Needed,
        parameters: &[
            Parameter::integer(
                "max_programs",
                1..=8,
                3,
                "The most programs, those that are mended not counted.",
            ),
            Parameter::integer(
                "max_repairs",
                0..=5,
                2,
                "How often a program that failed is mended, over all of them.",
            ),
        ],
    };

    fn model_calls(&self) -> RangeInclusive<u32> {
        1..=self.max_programs + self.max_repairs + 1
    }

    fn needed_tools(&self) -> Vec<String> {
        vec![RUN_CODE.to_owned()]
    }

    async fn run(self, brief: Brief, fx: Effects) -> Result<Answer, StrategyError> {
        let mut messages = brief.about_task(&format!("{WRITE} {DATA_NOT_ORDERS}"), &[]);
        let (mut programs, mut repairs, mut purpose) = (0, 0, "write");
        while programs < self.max_programs {
            let reply = ask(&fx, ModelRequest::thought(purpose, messages.clone())).await?.text;
            let Some(code) = code_in(&reply) else {
                return answer(&reply, purpose);
            };
            let output = fx.tool(RUN_CODE, json!({ "code": code })).await?;
            messages.push(Message::assistant(reply));
            let then = if output.is_error {
                if repairs == self.max_repairs {
                    return Err(StrategyError::ToolFailed {
                        tool: RUN_CODE.to_owned(),
                        reason: output.content,
                    });
                }
                repairs += 1;
                purpose = "mend";
                MEND
            } else {
                programs += 1;
                purpose = "go_on";
                if programs == self.max_programs { LAST } else { GO_ON }
            };
            messages.push(Message::user(format!("The program gave:\n{}\n\n{then}", untrusted(&output))));
        }
        let request = ModelRequest { channel: Channel::Answer, ..ModelRequest::thought("answer", messages) };
        answer(&ask(&fx, request).await?.text, "answer")
    }
}

/// The blocks of code in a reply, one after the other. A block that says to be in another language than Python is text.
fn code_in(reply: &str) -> Option<String> {
    let mut blocks: Vec<String> = Vec::new();
    // Whether it is Python, and its lines.
    let mut open: Option<(bool, Vec<&str>)> = None;
    for line in reply.lines() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(_), Some((is_code, lines))) => {
                blocks.extend(is_code.then(|| lines.join("\n")));
                open = None;
            }
            (Some(language), None) => open = Some((is_python(language.trim()), Vec::new())),
            (None, Some((_, lines))) => lines.push(line),
            (None, None) => {}
        }
    }
    // One that is not closed ends with the reply.
    blocks.extend(open.filter(|(is_code, _)| *is_code).map(|(_, lines)| lines.join("\n")));
    blocks.retain(|block| !block.trim().is_empty());
    (!blocks.is_empty()).then(|| blocks.join("\n"))
}

fn is_python(language: &str) -> bool {
    let language = language.to_ascii_lowercase();
    ["", "python", "python3", "py"].contains(&language.as_str())
}

const WRITE: &str = "Do not calculate yourself: write a Python program that does, in one block of code that starts with ```python. It has \
    Python 3.11 and its standard library, and no files, network, clock or installed packages. Print what is to be known, or \
    leave it as the last expression. You are shown what it gave, and then answer the task in words, without code.";
const MEND: &str = "It failed. Mend it, and write it again in full.";
const GO_ON: &str = "If that answers the task, give the answer without any code. If not, write the next program; it knows nothing of \
    this one.";
const LAST: &str = "You cannot run any more programs. Answer the task now with what you know.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategies::scripted::{Script, brief, strategy};
    use crate::strategies::{AgentKind, Strategy};
    use crate::tools::{ToolOutput, ToolSpec};

    const PROGRAM: &str = "I add them.\n```python\nprint(1 + 1)\n```\nThat is it.";

    fn interpreter(programs: u32, repairs: u32) -> Strategy {
        strategy(AgentKind::CodeInterpreter, json!({"max_programs": programs, "max_repairs": repairs}))
    }

    fn with_sandbox() -> Brief {
        let parameters = json!({});
        let tool = ToolSpec { name: RUN_CODE.into(), description: String::new(), parameters };
        Brief { tools: vec![tool], ..brief() }
    }

    #[test]
    fn a_program_is_run_and_its_output_read() {
        let script = Script::new([PROGRAM, "It is 2."]).with_tool(|_| ToolOutput::ok("stdout: 2"));
        let played = script.play(&interpreter(3, 2), with_sandbox());
        assert_eq!((played.text(), played.purposes()), ("It is 2.", vec!["write", "go_on"]));
        assert_eq!(played.tools[0].arguments, json!({"code": "print(1 + 1)"}));
        let read = played.prompt(1);
        assert!(
            read.contains("I add them.")
                && read.contains("stdout: 2")
                && read.contains("untrusted_tool_output")
        );
    }

    #[test]
    fn one_that_fails_is_mended_so_often_and_then_fails_the_run() {
        let failing = || Script::new([PROGRAM; 9]).with_tool(|_| ToolOutput::error("NameError in line 1"));
        let played = failing().play(&interpreter(3, 2), with_sandbox());
        assert_eq!(played.purposes(), ["write", "mend", "mend"]);
        assert!(played.prompt(1).contains("NameError in line 1") && played.prompt(1).contains("Mend it"));
        assert!(
            matches!(&played.result, Err(StrategyError::ToolFailed { reason, .. }) if reason == "NameError in line 1")
        );
        assert_eq!(failing().play(&interpreter(3, 0), with_sandbox()).tools.len(), 1);
    }

    #[test]
    fn programs_follow_each_other_up_to_the_bound_and_then_it_answers() {
        let played = Script::new([PROGRAM, PROGRAM, "2"]).play(&interpreter(2, 0), with_sandbox());
        assert_eq!((played.text(), played.purposes()), ("2", vec!["write", "go_on", "answer"]));
        assert!(
            played.prompt(2).contains("cannot run any more")
                && !played.prompt(1).contains("any more programs")
        );
        assert_eq!(played.requests[2].channel, Channel::Answer);
        assert_eq!(u32::try_from(played.requests.len()).unwrap(), interpreter(2, 0).max_model_calls());
    }

    #[test]
    fn what_is_mended_does_not_count_as_a_program() {
        let script = Script::new([PROGRAM, "```\nprint(2)\n```", "2"]).with_tool(|call| {
            if call.arguments["code"] == "print(2)" { ToolOutput::ok("2") } else { ToolOutput::error("no") }
        });
        let played = script.play(&interpreter(1, 1), with_sandbox());
        assert_eq!((played.text(), played.purposes()), ("2", vec!["write", "mend", "answer"]));
        assert_eq!(u32::try_from(played.requests.len()).unwrap(), interpreter(1, 1).max_model_calls());
    }

    #[test]
    fn a_reply_without_code_is_the_answer_and_an_empty_one_an_error() {
        let played = Script::new(["It is 2."]).play(&interpreter(3, 2), with_sandbox());
        assert_eq!((played.text(), played.tools.len()), ("It is 2.", 0));
        let played = Script::new([""]).play(&interpreter(3, 2), with_sandbox());
        assert!(matches!(played.result, Err(StrategyError::Unparseable { .. })));
    }

    #[test]
    fn without_the_sandbox_it_does_nothing_and_says_so() {
        let played = Script::new(["x"]).play(&interpreter(3, 2), brief());
        assert_eq!(played.result, Err(StrategyError::MissingTools { needed: "run_code".into() }));
        assert!(played.requests.is_empty());
    }

    #[test]
    fn code_is_found_in_its_blocks() {
        let code = |text: &str| code_in(text);
        assert_eq!(code("```Python\na = 1\n```\nand\n```\nprint(a)\n```").unwrap(), "a = 1\nprint(a)");
        assert_eq!(code("```py\nprint('open')").unwrap(), "print('open')");
        assert_eq!(code("  ```python3\n  if x:\n      y\n  ```").unwrap(), "  if x:\n      y");
        for text in ["print(1)", "```sql\nSELECT 1\n```", "```python\n\n```", "`x`", ""] {
            assert_eq!(code(text), None, "{text}");
        }
        assert_eq!(code("```sql\nSELECT 1\n```\n```python\nx\n```").unwrap(), "x");
    }
}
