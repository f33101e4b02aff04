//! Scripts for the examples of `docs/agents`: what a stub of a model says to each call of an example's task.
//!
//! A script is a file of JSON: its task, and replies in their order. A call gets the first reply that has not been given yet and
//! whose `when` stands in the conversation, the task itself if there is no `when`. Once all were given, they begin anew: a
//! command can be repeated.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::{fs, io};

use serde_json::Value;

use crate::stub_model::{Answer, Received};

/// The script of one example.
#[derive(Debug)]
pub struct Script {
    replies: Vec<Reply>,
}

#[derive(Debug)]
struct Reply {
    when: String,
    says: Says,
    was_given: bool,
}

#[derive(Debug)]
enum Says {
    Text(String),
    Call { name: String, arguments: Value },
}

impl Script {
    fn read(json: &Value) -> Option<Self> {
        let task = json["task"].as_str()?;
        let reply = |reply: &Value| {
            let says = match (&reply["say"], &reply["call"]) {
                (Value::String(text), _) => Says::Text(text.clone()),
                (Value::Null, call @ Value::Object(_)) => Says::Call {
                    name: call["name"].as_str()?.to_owned(),
                    arguments: call["arguments"].clone(),
                },
                // A structured reply, written as JSON for people to read.
                (json, _) => Says::Text(json.to_string()),
            };
            let when = reply["when"].as_str().unwrap_or(task).to_owned();
            Some(Reply { when, says, was_given: false })
        };
        let replies = json["replies"].as_array()?.iter().map(reply).collect::<Option<_>>()?;
        Some(Self { replies })
    }

    /// Gives the reply to a conversation, if there is one.
    fn reply(&mut self, conversation: &str) -> Option<Answer> {
        let replies = &mut self.replies;
        let reply =
            replies.iter_mut().find(|reply| !reply.was_given && conversation.contains(&reply.when))?;
        reply.was_given = true;
        let read = tokens(conversation);
        let answer = match &reply.says {
            Says::Text(text) => Answer::text(text.split_inclusive(' '), read, tokens(text)),
            Says::Call { name, arguments } => {
                Answer::call(name, arguments, read, tokens(&arguments.to_string()))
            }
        };
        if replies.iter().all(|reply| reply.was_given) {
            for reply in replies {
                reply.was_given = false;
            }
        }
        Some(answer)
    }
}

fn tokens(text: &str) -> u64 {
    u64::try_from(text.chars().count().div_ceil(4)).unwrap_or(u64::MAX)
}

/// The scripts of a folder, ordered by the names of their files.
pub fn of_folder(folder: &Path) -> io::Result<Vec<Script>> {
    let mut files: Vec<_> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    files.sort();
    let read = |file: &std::path::PathBuf| {
        let json = serde_json::from_str(&fs::read_to_string(file)?)?;
        Script::read(&json).ok_or_else(|| io::Error::other(format!("{} is no script", file.display())))
    };
    files
        .iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "json"))
        .map(read)
        .collect()
}

/// What a stub says that knows these scripts.
pub fn speaker(scripts: Vec<Script>) -> impl Fn(&Received) -> Answer + Send + Sync + 'static {
    let scripts = Mutex::new(scripts);
    move |received| {
        let conversation: String = received.body["messages"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|message| message["content"].as_str())
            .collect::<Vec<_>>()
            .join("\n\n");
        let mut scripts = scripts.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = scripts.iter_mut().find_map(|script| script.reply(&conversation));
        answer.unwrap_or_else(|| Answer::error(400, &format!("no script has a reply to: {conversation}")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asks(text: &str) -> Received {
        Received { head: String::new(), body: json!({"messages": [{"role": "user", "content": text}]}) }
    }

    #[test]
    fn replies_come_in_order_where_they_fit_and_begin_anew() {
        let script = json!({"task": "Count", "replies": [{"say": "one"}, {"when": "Judge", "say": {"ok": true}}, {"say": "two"}]});
        let speak = speaker(vec![Script::read(&script).unwrap()]);
        let said = |text| format!("{:?}", speak(&asks(text)));
        let [first, second, judged] = [said("Count"), said("Count"), said("Judge")];
        assert!(first != second && second != judged);
        assert_eq!(said("Count"), first);
        assert!(said("Judge").len() > 10 && said("other").contains("400"));
    }
}
