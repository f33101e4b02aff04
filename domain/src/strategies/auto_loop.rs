//! The loop of `BabyAGI` and `AutoGPT` (2023): do the first task of a list, make new tasks of what came of it, put them in order,
//! again, until the goal is reached, nothing is left, nothing moves any more, or the iterations are used up.
//!
//! New tasks that cannot be read are none, an order that cannot be read changes nothing. The last iteration makes no tasks:
//! nothing would follow from them.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::acting::{Acting, DATA_NOT_ORDERS, act};
use super::asking::{answer, ask, integer, object, text};
use super::kind::{About, Kind, Source, ToolUse};
use super::parameters::Parameter;
use super::reading::{plain, read_object};
use super::{Answer, Brief, StrategyError};
use crate::effects::Effects;
use crate::model::{Channel, ModelRequest};

/// The most tasks on the list.
const MAX_TASKS: usize = 20;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_field_names, reason = "they are the names of the parameters, and all of them bounds")]
pub(super) struct Parameters {
    max_iterations: u32,
    max_turns: u32,
    max_stalls: u32,
}

impl Kind for Parameters {
    const ABOUT: About = About {
        name: "Autonomous loop",
        summary: "Works off a list of tasks that it makes, orders and extends by itself, until its goal is reached.",
        use_when: "Open goals of which nobody knows the steps in advance. It wanders off easily: give it bounds, and prefer \
            `plan_and_execute` where the steps can be planned.",
        sources: &[
            Source::web("Nakajima", 2023, "BabyAGI", "https://github.com/yoheinakajima/babyagi_archive"),
            Source::web(
                "Significant Gravitas",
                2023,
                "AutoGPT",
                "https://github.com/Significant-Gravitas/AutoGPT",
            ),
        ],
        cost: "in each iteration 1 for each turn and 1 more when all are used up, 1 for new tasks and 1 for their order; then 1 for \
            the answer: 2 to max_iterations × (max_turns + 1) + (max_iterations - 1) × 2 + 1",
        tools: ToolUse::Optional,
        parameters: &[
            Parameter::integer("max_iterations", 1..=16, 4, "The most tasks that are done."),
            Parameter::integer(
                "max_turns",
                1..=16,
                3,
                "The most turns of a task in which tools may be called.",
            ),
            Parameter::integer(
                "max_stalls",
                1..=5,
                2,
                "How many iterations in a row may bring neither a new task nor a new result.",
            ),
        ],
    };

    fn model_calls(&self) -> RangeInclusive<u32> {
        let fewest = if self.max_iterations == 1 { 2 } else { 3 };
        let others = self.max_iterations - 1;
        fewest..=self.max_iterations * (self.max_turns + 1) + others * 2 + 1
    }

    async fn run(self, brief: Brief, fx: Effects) -> Result<Answer, StrategyError> {
        let mut todo = VecDeque::from([FIRST.to_owned()]);
        let mut done = Done::default();
        let mut stalls = 0;
        let mut ended = "all iterations are used up";
        for iteration in 1..=self.max_iterations {
            let Some(task) = todo.pop_front() else {
                ended = "no task is left";
                break;
            };
            let result = self.execute(&brief, &fx, &task, &done).await?;
            let is_new_result = done.note(&task, &result);
            if iteration == self.max_iterations {
                break;
            }
            let created = create(&brief, &fx, &done, &todo).await?;
            if created.goal_reached {
                ended = "the goal is reached";
                break;
            }
            let before = todo.len();
            for task in created.new_tasks {
                let is_known = done.tasks.iter().chain(&todo).any(|known| plain(known) == plain(&task));
                if !is_known && !task.trim().is_empty() && todo.len() < MAX_TASKS {
                    todo.push_back(task);
                }
            }
            stalls = if todo.len() > before || is_new_result { 0 } else { stalls + 1 };
            if stalls == self.max_stalls {
                ended = "nothing moves any more";
                break;
            }
            if todo.len() > 1 {
                prioritise(&brief, &fx, &mut todo).await?;
            }
        }
        let guidance = format!("{ANSWER} The work has ended because {ended}. {DATA_NOT_ORDERS}");
        let messages = brief.about_task(&guidance, &[("Results so far", done.record.trim_end())]);
        answer(&ask(&fx, ModelRequest::answer("answer", messages)).await?.text, "answer")
    }
}

/// What was done, and what came of it.
#[derive(Default)]
struct Done {
    tasks: Vec<String>,
    results: Vec<String>,
    record: String,
}

impl Done {
    /// Whether the result is a new one.
    fn note(&mut self, task: &str, result: &str) -> bool {
        let _ = writeln!(self.record, "- {task}\n{}", result.trim());
        self.tasks.push(task.to_owned());
        let plain = plain(result);
        let is_new = !self.results.contains(&plain);
        self.results.push(plain);
        is_new
    }
}

impl Parameters {
    async fn execute(
        &self,
        brief: &Brief,
        fx: &Effects,
        task: &str,
        done: &Done,
    ) -> Result<String, StrategyError> {
        let acting = Acting {
            tools: &brief.tools,
            max_turns: self.max_turns,
            confirm_calls: false,
            in_words: false,
            purpose: "execute",
            last_purpose: "conclude",
            channel: Channel::Thought,
        };
        let sections = [("Results so far", done.record.trim_end()), ("Do now", task)];
        let messages = brief.about_task(&format!("{EXECUTE} {DATA_NOT_ORDERS}"), &sections);
        Ok(act(fx, messages, acting).await?.text)
    }
}

#[derive(Default, Deserialize)]
struct Created {
    goal_reached: bool,
    #[serde(default)]
    new_tasks: Vec<String>,
}

async fn create(
    brief: &Brief,
    fx: &Effects,
    done: &Done,
    todo: &VecDeque<String>,
) -> Result<Created, StrategyError> {
    let sections = [("Results so far", done.record.trim_end()), ("Tasks that are left", &numbered(todo))];
    let request = ModelRequest::thought("create_tasks", brief.about_task(CREATE, &sections));
    let text = ask(fx, request.with_schema("tasks", created_schema())).await?.text;
    Ok(read_object(&text).unwrap_or_default())
}

#[derive(Deserialize)]
struct Order {
    order: Vec<usize>,
}

/// Puts the tasks in the model's order; those that it does not name come after, as they were.
async fn prioritise(brief: &Brief, fx: &Effects, todo: &mut VecDeque<String>) -> Result<(), StrategyError> {
    let messages = brief.about_task(PRIORITISE, &[("Tasks that are left", &numbered(todo))]);
    let most = u32::try_from(todo.len()).unwrap_or(u32::MAX);
    let order = json!({"type": "array", "items": integer(1, most)});
    let request =
        ModelRequest::thought("prioritise", messages).with_schema("order", object([("order", order)]));
    let text = ask(fx, request).await?.text;
    let order = read_object::<Order>(&text).map(|order| order.order).unwrap_or_default();
    let mut left: Vec<Option<String>> = todo.drain(..).map(Some).collect();
    let first =
        order.iter().filter_map(|number| left.get_mut(number.checked_sub(1)?)?.take()).collect::<Vec<_>>();
    todo.extend(first.into_iter().chain(left.into_iter().flatten()));
    Ok(())
}

fn numbered(todo: &VecDeque<String>) -> String {
    (1..).zip(todo).map(|(number, task): (u32, _)| format!("{number}. {task}")).collect::<Vec<_>>().join("\n")
}

fn created_schema() -> Value {
    let tasks = json!({"type": "array", "items": text()});
    object([("goal_reached", json!({"type": "boolean"})), ("new_tasks", tasks)])
}

const FIRST: &str = "Develop a list of what has to be done, and do the first of it.";
const EXECUTE: &str =
    "You work towards the task step by step. Do only what is to be done now, and say what came of it.";
const CREATE: &str = "Judge the results. Has the task been done altogether? If not, which new tasks follow from the results, beside \
    those that are left? Reply with JSON: {\"goal_reached\": true or false, \"new_tasks\": [\"...\"]}.";
const PRIORITISE: &str = "Put the tasks that are left in the order in which they are to be done. Reply with JSON: {\"order\": [their \
    numbers]}.";
const ANSWER: &str = "Answer the task from the results. Say so if something is missing.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategies::scripted::{Script, brief, calling, reply, strategy};
    use crate::strategies::{AgentKind, Strategy};
    use crate::tools::ToolOutput;

    const REACHED: &str = r#"{"goal_reached":true,"new_tasks":[]}"#;

    fn auto(parameters: Value) -> Strategy {
        strategy(AgentKind::AutoLoop, parameters)
    }

    fn creates(tasks: &[&str]) -> String {
        json!({"goal_reached": false, "new_tasks": tasks}).to_string()
    }

    #[test]
    fn tasks_are_done_made_and_put_in_order_until_the_goal_is_reached() {
        let replies =
            ["A list", &creates(&["b", "c", "B."]), r#"{"order":[2,7,2]}"#, "C done", REACHED, "42"];
        let played = Script::new(replies).play(&auto(json!({})), brief());
        let purposes = ["execute", "create_tasks", "prioritise", "execute", "create_tasks", "answer"];
        assert_eq!((played.text(), played.purposes()), ("42", purposes.into()));
        assert!(
            played.prompt(2).contains("1. b\\n2. c") && !played.prompt(2).contains("B."),
            "no task twice"
        );
        assert!(played.prompt(3).contains("Do now:\\nc") && played.prompt(3).contains("A list"));
        assert!(played.prompt(4).contains("1. b") && played.prompt(5).contains("the goal is reached"));
    }

    #[test]
    fn it_ends_when_nothing_is_left_or_the_iterations_are_used_up() {
        let played = Script::new(["A list", &creates(&[]), "42"]).play(&auto(json!({})), brief());
        assert_eq!(played.purposes(), ["execute", "create_tasks", "answer"]);
        assert!(played.prompt(2).contains("no task is left"));
        let played = Script::new(["A list", &creates(&["b"]), "B done", "42"])
            .play(&auto(json!({"max_iterations": 2})), brief());
        assert_eq!(played.purposes(), ["execute", "create_tasks", "execute", "answer"]);
        assert!(played.prompt(3).contains("iterations are used up"));
    }

    #[test]
    fn it_ends_when_neither_tasks_nor_results_are_new() {
        let many = creates(&["b", "c", "d", "e"]);
        let same = |of: &'static str| [of.to_owned(), creates(&["b"]), r#"{"order":[]}"#.to_owned()];
        let replies = ["A list".to_owned(), many, "{}".to_owned()].into_iter();
        let replies = replies.chain(same("a list.")).chain(same("A  list")).chain(["42".to_owned()]);
        let played = Script::new(replies).play(&auto(json!({"max_iterations": 9})), brief());
        let last = played.requests.len() - 1;
        assert!(played.prompt(last).contains("nothing moves any more"));
        assert_eq!(played.purposes().iter().filter(|purpose| **purpose == "execute").count(), 3);
    }

    #[test]
    fn what_cannot_be_read_is_no_task_and_no_order() {
        let played = Script::new(["A list", "What now?", "42"]).play(&auto(json!({})), brief());
        assert_eq!(played.purposes(), ["execute", "create_tasks", "answer"]);
        let replies = ["A list", &creates(&["b", "c"]), "c first", "B done", REACHED, "42"];
        let played = Script::new(replies).play(&auto(json!({})), brief());
        assert!(played.prompt(3).contains("Do now:\\nb"));
    }

    #[test]
    fn a_task_calls_tools_in_turns_and_sees_their_errors() {
        let script = Script::of([calling(&[("add", "{}")]), reply("none"), reply(REACHED), reply("42")]);
        let played =
            script.with_tool(|_| ToolOutput::error("no sum")).play(&auto(json!({"max_turns": 1})), brief());
        assert_eq!(played.purposes(), ["execute", "conclude", "create_tasks", "answer"]);
        assert!(played.prompt(1).contains("no sum"));
    }
}
