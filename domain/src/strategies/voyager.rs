//! Voyager (Wang et al. 2023): a task is learnt as a skill. A procedure is written by the skills that are like it, carried out, and
//! verified by a critic, at most four times; one that works is stored, found by what it says, and built on in later tasks.
//!
//! A skill is a procedure in words, which the agent carries out with its tools. A verdict that cannot be read is a failure with
//! its text as the critique. A skill of the same name is replaced. A task that was not learnt is given up, and has no answer.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::acting::{Acted, Acting, DATA_NOT_ORDERS, act};
use super::asking::{answer, ask, object, text};
use super::kind::{About, Kind, Source, ToolUse};
use super::parameters::Parameter;
use super::reading::read_object;
use super::remembering::{self, By, Mind, Remembered, adding, listed};
use super::{Answer, Brief, StrategyError};
use crate::effects::Effects;
use crate::model::{Channel, ModelRequest};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Parameters {
    max_rounds: u32,
    recalled: usize,
    max_turns: u32,
}

impl Kind for Parameters {
    const ABOUT: About = About {
        name: "Voyager",
        summary: "Learns how to do a task, has a critic verify it, and keeps what works as a skill to build on.",
        use_when: "Tasks of the same sort that come again and again, with tools to do them. Its first run of a sort is dear, and it pays \
            back in the ones after.",
        sources: &[Source::arxiv(
            "Wang et al.",
            2023,
            "Voyager: An Open-Ended Embodied Agent with Large Language Models",
            "2305.16291",
        )],
        cost: "in each round 1 to write, 1 for each turn and 1 more when all are used up, and 1 to verify; 1 to name what works: 4 to \
            max_rounds × (max_turns + 3) + 1",
        tools: ToolUse::Needed,
        parameters: &[
            Parameter::integer(
                "max_rounds",
                1..=4,
                4,
                "The most rounds of writing, carrying out and verifying.",
            ),
            Parameter::integer("recalled", 1..=10, 5, "How many skills are recalled."),
            Parameter::integer(
                "max_turns",
                1..=16,
                4,
                "The most turns of a round in which tools may be called.",
            ),
        ],
    };

    fn model_calls(&self) -> RangeInclusive<u32> {
        4..=self.max_rounds * (self.max_turns + 3) + 1
    }

    fn needed_tools(&self) -> Vec<String> {
        remembering::tools()
    }

    async fn run(self, brief: Brief, fx: Effects) -> Result<Answer, StrategyError> {
        let mind = Mind { brief: &brief, fx: &fx };
        let skills = mind.recall(&brief.task, self.recalled, &["skill"], By::Relevance).await?;
        let known = listed(&skills);
        let mut before = Attempt::default();
        for _ in 0..self.max_rounds {
            let procedure = write(&mind, &known, &before).await?;
            let acted = self.carry_out(&mind, &procedure).await?;
            let verdict = verify(&mind, &procedure, &acted).await?;
            if verdict.success {
                let named = name(&mind, &procedure).await?;
                let mut learnt: Vec<Value> =
                    named.and_then(|named| kept(&named, &procedure, &skills)).into_iter().collect();
                learnt.extend(adding("observation", &format!("{SUCCEEDED}{}", brief.task), OUTCOMES_MATTER));
                mind.apply(learnt).await?;
                return answer(&acted.text, "act");
            }
            before = Attempt { procedure, result: shown(&acted), critique: verdict.critique };
        }
        mind.apply(
            adding("observation", &format!("{FAILED}{}", brief.task), OUTCOMES_MATTER).into_iter().collect(),
        )
        .await?;
        Err(StrategyError::Exhausted { limit: self.max_rounds, what: "rounds" })
    }
}

/// How observations of outcomes begin, which a curriculum reads.
pub(super) const SUCCEEDED: &str = "Succeeded: ";
pub(super) const FAILED: &str = "Failed: ";
/// What the importance of an outcome is taken to be.
pub(super) const OUTCOMES_MATTER: u32 = 5;

/// What went wrong in the round before.
#[derive(Default)]
struct Attempt {
    procedure: String,
    result: String,
    critique: String,
}

async fn write(mind: &Mind<'_>, known: &str, before: &Attempt) -> Result<String, StrategyError> {
    let tools: Vec<_> =
        mind.other_tools().iter().map(|tool| format!("- {}: {}", tool.name, tool.description)).collect();
    let tools = tools.join("\n");
    let sections = [
        ("Skills that you have", known),
        ("Tools", tools.as_str()),
        ("Procedure of the round before", &before.procedure),
        ("What came of it", &before.result),
        ("Critique", &before.critique),
    ];
    let messages = mind.brief.about_task(&format!("{WRITE} {DATA_NOT_ORDERS}"), &sections);
    Ok(ask(mind.fx, ModelRequest::thought("write", messages)).await?.text.trim().to_owned())
}

impl Parameters {
    async fn carry_out(&self, mind: &Mind<'_>, procedure: &str) -> Result<Acted, StrategyError> {
        let tools = mind.other_tools();
        let acting = Acting {
            tools: &tools,
            max_turns: self.max_turns,
            confirm_calls: false,
            in_words: false,
            purpose: "act",
            last_purpose: "conclude",
            channel: Channel::Thought,
        };
        let guidance = format!("{ACT} {DATA_NOT_ORDERS}");
        act(mind.fx, mind.brief.about_task(&guidance, &[("Procedure", procedure)]), acting).await
    }
}

#[derive(Deserialize)]
struct Verdict {
    success: bool,
    #[serde(default)]
    critique: String,
}

async fn verify(mind: &Mind<'_>, procedure: &str, acted: &Acted) -> Result<Verdict, StrategyError> {
    let sections = [("Procedure", procedure), ("What came of it", &shown(acted))];
    let messages = mind.brief.about_task(&format!("{VERIFY} {DATA_NOT_ORDERS}"), &sections);
    let schema = object([("success", json!({"type": "boolean"})), ("critique", text())]);
    let request = ModelRequest::thought("verify", messages).with_schema("verdict", schema);
    let reply = ask(mind.fx, request).await?.text;
    Ok(read_object(&reply).unwrap_or(Verdict { success: false, critique: reply }))
}

fn shown(Acted { text, record, .. }: &Acted) -> String {
    format!("{record}\nIt answered:\n{text}").trim_start().to_owned()
}

#[derive(Deserialize)]
struct Named {
    name: String,
    description: String,
}

/// What the skill is called and good for; nothing, when that cannot be read: then nothing is kept.
async fn name(mind: &Mind<'_>, procedure: &str) -> Result<Option<Named>, StrategyError> {
    let messages = mind.brief.about_task(NAME, &[("Procedure", procedure)]);
    let schema = object([("name", text()), ("description", text())]);
    let request = ModelRequest::thought("name", messages).with_schema("skill", schema);
    Ok(read_object(&ask(mind.fx, request).await?.text).ok())
}

/// How a skill is kept: in the place of one of the same name that was recalled, if one was.
fn kept(named: &Named, procedure: &str, skills: &[Remembered]) -> Option<Value> {
    let title = format!("{}:", named.name.trim());
    let skill = format!("{title} {}\n{procedure}", named.description.trim());
    let added = adding("skill", &skill, SKILLS_MATTER).filter(|_| title.len() > 1)?;
    match skills.iter().find(|known| known.text.starts_with(&title)) {
        Some(known) => Some(json!({"op": "UPDATE", "id": known.id, "text": added["text"]})),
        None => Some(added),
    }
}

/// What the importance of a skill is taken to be: a task's outcome is lost before it.
const SKILLS_MATTER: u32 = 8;

const WRITE: &str = "Write a procedure for the task: numbered steps that you can carry out with the tools, and that will serve for \
    other tasks of its sort, so name what varies. Use the skills that you have where they fit, and mind what went wrong in the round \
    before. Write the procedure only.";
const ACT: &str = "Do the task by carrying out the procedure with the tools, and answer once it is done.";
const VERIFY: &str = "You verify strictly whether the task is done: by what the tools gave, not by what is claimed. Reply with JSON: \
    {\"success\": true or false, \"critique\": \"what to do differently\"}.";
const NAME: &str = "Name the procedure in a few words and say in a sentence what it is good for, so that it is found for other tasks of \
    its sort. Reply with JSON: {\"name\": \"…\", \"description\": \"…\"}.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::ToolRequest;
    use crate::strategies::AgentKind;
    use crate::strategies::remembering::SEARCH;
    use crate::strategies::remembering::scripted::{found, minded, operations};
    use crate::strategies::scripted::{Played, Script, brief, calling, reply, strategy};
    use crate::tools::ToolOutput;

    const GOOD: &str = r#"{"success":true,"critique":""}"#;
    const BAD: &str = r#"{"success":false,"critique":"off by one"}"#;
    const NAMED: &str = r#"{"name":"Multiply","description":"Multiplies two numbers."}"#;

    fn library(request: &ToolRequest) -> ToolOutput {
        if request.name == SEARCH {
            found(&[("memory_a", "Multiply: an old way", 8), ("memory_b", "Add: with the tool", 8)])
        } else {
            ToolOutput::ok("{}")
        }
    }

    fn play(rounds: u32, script: Script) -> Played {
        let voyager = strategy(AgentKind::Voyager, json!({"max_rounds": rounds, "max_turns": 1}));
        script.with_tool(library).play(&voyager, minded())
    }

    fn outcome(text: &str) -> Value {
        json!({"op": "ADD", "kind": "observation", "text": text, "importance": 5})
    }

    #[test]
    fn what_works_is_kept_and_replaces_a_skill_of_its_name() {
        let played = play(4, Script::new(["1. Multiply", "42", GOOD, NAMED]));
        assert_eq!((played.text(), played.purposes()), ("42", vec!["write", "act", "verify", "name"]));
        let searched = json!({"query": "What is 6 × 7?", "k": 5, "kinds": ["skill"], "scoring": "relevance"});
        assert_eq!(played.tools[0].arguments, searched);
        assert!(played.prompt(0).contains("- Add: with the tool"));
        assert!(played.prompt(1).contains("1. Multiply") && played.prompt(2).contains("It answered:\\n42"));
        let text = "Multiply: Multiplies two numbers.\n1. Multiply";
        let expected =
            [json!({"op": "UPDATE", "id": "memory_a", "text": text}), outcome("Succeeded: What is 6 × 7?")];
        assert_eq!(operations(&played.tools), expected);
        let other = r#"{"name":"Times","description":"Multiplies."}"#;
        let played = play(4, Script::new(["1. Multiply", "42", GOOD, other]));
        let text = "Times: Multiplies.\n1. Multiply";
        let added = json!({"op": "ADD", "kind": "skill", "text": text, "importance": 8});
        assert_eq!(operations(&played.tools)[0], added);
    }

    #[test]
    fn a_critique_is_minded_in_the_next_round() {
        let played = play(4, Script::new(["1. Add", "41", BAD, "1. Multiply", "42", GOOD, NAMED]));
        assert_eq!(played.text(), "42");
        let prompt = played.prompt(3);
        assert!(
            prompt.contains("1. Add") && prompt.contains("off by one") && prompt.contains("41"),
            "{prompt}"
        );
    }

    #[test]
    fn after_the_last_round_the_task_is_given_up_and_remembered_as_failed() {
        let played = play(2, Script::new(["1. Add", "41", BAD, "1. Add", "41", "Hm, no."]));
        assert_eq!(played.result, Err(StrategyError::Exhausted { limit: 2, what: "rounds" }));
        assert_eq!(operations(&played.tools), [outcome("Failed: What is 6 × 7?")]);
        let prompt = play(2, Script::new(["1. Add", "41", "Hm, no.", "1. Add"])).prompt(3);
        assert!(prompt.contains("Hm, no."), "{prompt}");
    }

    #[test]
    fn a_skill_without_a_name_is_not_kept() {
        for bad in ["Well done.", r#"{"name":" ","description":"x"}"#] {
            let played = play(4, Script::new(["1. Multiply", "42", GOOD, bad]));
            assert_eq!(operations(&played.tools), [outcome("Succeeded: What is 6 × 7?")], "{bad}");
        }
    }

    #[test]
    fn the_critic_sees_what_the_tools_gave() {
        let voyager = strategy(AgentKind::Voyager, json!({"max_turns": 1}));
        let brief = Brief { tools: [minded().tools, brief().tools].concat(), ..brief() };
        let script = Script::of([
            reply("1. Add"),
            calling(&[("add", r#"{"a":1}"#)]),
            reply("42"),
            reply(GOOD),
            reply(NAMED),
        ]);
        let played = script.with_tool(library).play(&voyager, brief);
        assert_eq!(played.purposes(), ["write", "act", "conclude", "verify", "name"]);
        assert!(played.prompt(3).contains("add({\\\"a\\\":1}) gave"), "{}", played.prompt(3));
        assert!(played.prompt(0).contains("- add: Adds."));
    }
}
