//! The offline model: a stand-in where no language model is configured. It is no language model and says so in
//! every answer: it repeats sentences of what it was given, and calculates through a tool.

mod arithmetic;
mod embed;
mod extract;
mod schema;

use async_trait::async_trait;
use powerhouse_domain::idempotency::CallKey;
use powerhouse_domain::model::{Message, ModelReply, ModelRequest, StopReason};
use powerhouse_domain::tools::ToolCall;
use powerhouse_ports::models::{DeltaSink, ModelError, ModelProvider};

use crate::flaws::checked;
use crate::tokens;

pub use embed::{OFFLINE_EMBEDDINGS, OfflineEmbedder};

/// The name under which the offline model answers, whatever model it was asked for.
pub const OFFLINE_MODEL: &str = "powerhouse-offline";

/// What every text of the model starts with.
const MARK: &str = "[offline model]";
/// What strategies put behind a task.
const SECTIONS: [&str; 23] = [
    "\n\nSteps so far:",
    "\n\nDraft:",
    "\n\nThe debate so far:",
    "\n\nResults so far:\n",
    "\n\nTools:\n",
    "\n\nEvidence:\n",
    "\n\nLearnt from earlier trials:\n",
    "\n\nTrial:\n",
    "\n\nThoughts so far:\n",
    "\n\nResponses:\n",
    "\n\nText so far:\n",
    "\n\nTasks that are left:\n",
    "\n\nSchema:\n",
    "\n\nQuery:\n",
    "\n\nWhat you remember:\n",
    "\n\nNew facts:\n",
    "\n\nAnswer:\n",
    "\n\nYour plan:\n",
    "\n\nWhat you have seen:\n",
    "\n\nQuestion:\n",
    "\n\nSkills that you have:\n",
    "\n\nProcedure:\n",
    "\n\nTasks that have succeeded:\n",
];
/// What strategies say to a model that has spoken: no task.
const FOLLOW_UPS: [&str; 5] = [
    "Observation:\n",
    "You cannot call any more tools",
    "Therefore",
    "End with a line that starts with `Answer:`",
    "This is not the JSON",
];
/// What they say of a reply that they cannot read.
const COMPLAINT: &str = " cannot be used: ";
/// What chain of thought puts behind it.
const TRIGGER: &str = "\n\nLet's think step by step.";
/// Words that are streamed at a time.
const WORDS_AT_A_TIME: usize = 4;

/// Answers without a language model: deterministic, extractive, free of charge.
#[derive(Clone, Copy, Debug, Default)]
pub struct OfflineModel;

#[async_trait]
impl ModelProvider for OfflineModel {
    async fn complete(
        &self,
        _: &CallKey,
        _: &str,
        request: &ModelRequest,
        mut deltas: Box<dyn DeltaSink>,
    ) -> Result<ModelReply, ModelError> {
        let (text, tool_calls) = match tool_call(request) {
            Some(call) => (String::new(), vec![call]),
            None => (said(request), Vec::new()),
        };
        for piece in pieces(&text) {
            deltas.push(piece).await;
        }
        let stop = if tool_calls.is_empty() { StopReason::EndTurn } else { StopReason::ToolCalls };
        let usage = tokens::estimate(request, &text);
        let reply = ModelReply { tool_calls, stop, ..ModelReply::text(text, usage, OFFLINE_MODEL) };
        Ok(checked(reply, request))
    }
}

/// The one tool that it knows how to use, once for a conversation.
fn tool_call(request: &ModelRequest) -> Option<ToolCall> {
    let has_result = request.messages.iter().any(|message| matches!(message, Message::Tool { .. }));
    if has_result || !request.tools.iter().any(|tool| tool.name == "calculator") {
        return None;
    }
    let expression = arithmetic::find(task(request))?;
    let arguments = serde_json::json!({ "expression": expression }).to_string();
    Some(ToolCall { id: "offline-1".to_owned(), name: "calculator".to_owned(), arguments })
}

fn said(request: &ModelRequest) -> String {
    let text = format!("{MARK} {}", body(request));
    match &request.response_schema {
        Some(wanted) => schema::instance(&wanted.schema, &text).to_string(),
        // The one form in words that a strategy asks for.
        None if last_user(request).contains("`Answer:`") => format!("Answer: {text}"),
        None => text,
    }
}

fn body(request: &ModelRequest) -> String {
    let after_task = &request.messages[task_at(request)..];
    let said_before = after_task.iter().rev().find_map(|message| match message {
        Message::Tool { content, .. } => Some(result(task(request), content)),
        Message::Assistant { content, .. } if !content.is_empty() => {
            Some(content.replace(MARK, "").trim().to_owned())
        }
        _ => None,
    });
    said_before.unwrap_or_else(|| extract::from(&task(request).replace(MARK, "")))
}

/// A tool's result in words.
fn result(task: &str, output: &str) -> String {
    // Tool output comes between marks of its own, a line each.
    let shown: Vec<&str> = output.lines().filter(|line| !line.contains("untrusted_tool_output")).collect();
    let shown = shown.join("\n");
    match arithmetic::find(task) {
        Some(expression) => format!("{expression} = {}", shown.trim()),
        None => shown.trim().to_owned(),
    }
}

/// Where the task is: in the last message of the user that does not follow up on what the model has said. What was said in the
/// thread stands before it.
fn task_at(request: &ModelRequest) -> usize {
    let is_task = |message: &Message| {
        let text = tokens::content(message);
        let follows_up = FOLLOW_UPS.iter().any(|start| text.starts_with(start)) || text.contains(COMPLAINT);
        matches!(message, Message::User { .. }) && !follows_up
    };
    let is_users = |message: &Message| matches!(message, Message::User { .. });
    let messages = &request.messages;
    messages.iter().rposition(is_task).or_else(|| messages.iter().position(is_users)).unwrap_or(0)
}

/// What is to be done.
fn task(request: &ModelRequest) -> &str {
    let text = match request.messages.get(task_at(request)) {
        Some(message @ Message::User { .. }) => tokens::content(message),
        _ => "",
    };
    // Some put more behind it, in sections with a heading.
    let end = |task: &str| SECTIONS.iter().filter_map(|heading| task.find(heading)).min();
    match text.strip_prefix("Task:\n") {
        Some(task) => &task[..end(task).unwrap_or(task.len())],
        None => text.rfind(TRIGGER).map_or(text, |end| &text[..end]),
    }
}

fn last_user(request: &ModelRequest) -> &str {
    let last = request.messages.iter().rfind(|message| matches!(message, Message::User { .. }));
    last.map(tokens::content).unwrap_or_default()
}

/// The text in groups of words; together they are the text.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = rest.match_indices(' ').nth(WORDS_AT_A_TIME - 1).map_or(rest.len(), |(at, _)| at + 1);
        let (piece, after) = rest.split_at(end);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use powerhouse_domain::tools::ToolSpec;
    use serde_json::{Value, json};

    use super::*;

    fn calculator() -> ToolSpec {
        ToolSpec { name: "calculator".into(), description: String::new(), parameters: json!({}) }
    }

    fn asks(text: &str) -> ModelRequest {
        ModelRequest::answer("answer", vec![Message::system("Be brief."), Message::user(text)])
    }

    #[test]
    fn arithmetic_is_handed_to_the_calculator_once() {
        let mut request = asks("What is 12.5 % of 380?").with_tools(vec![calculator()]);
        let call = tool_call(&request).unwrap();
        assert_eq!(call.arguments, r#"{"expression":"(12.5 / 100) * 380"}"#);
        let content = "<untrusted_tool_output status=\"ok\">\n47.5\n</untrusted_tool_output>".to_owned();
        request.messages.push(Message::Tool { call_id: call.id, content });
        assert_eq!(tool_call(&request), None);
        assert_eq!(said(&request), "[offline model] (12.5 / 100) * 380 = 47.5");
        assert_eq!(tool_call(&asks("What is 6 * 7?")), None, "no calculator is offered");
    }

    #[test]
    fn schemas_are_answered_in_their_form_and_marked() {
        let schema = json!({
            "type": "object",
            "properties": {
                "status": {"enum": ["done", "blocked"]},
                "result": {"type": "string"},
            },
            "required": ["status", "result"],
        });
        let reply: Value = serde_json::from_str(&said(&asks("Go.").with_schema("step", schema))).unwrap();
        assert_eq!(reply["status"], "done");
        assert!(reply["result"].as_str().unwrap().starts_with(MARK));
    }

    #[test]
    fn the_marker_of_an_answer_is_given_when_asked_for() {
        assert!(said(&asks("Go. End with a line that starts with `Answer:`.")).starts_with("Answer: [off"));
    }

    #[test]
    fn only_the_task_is_looked_at() {
        let request = asks("Task:\nAdd 1 + 2\n\nSteps so far:\n- 7 * 8 [done]");
        assert_eq!(task(&request), "Add 1 + 2");
        assert_eq!(task(&asks("Add 1 + 2\n\nLet's think step by step.\n\nEnd so.")), "Add 1 + 2");
        assert_eq!(task(&asks("Task:\nAdd 1 + 2\n\nThoughts so far:\n1. 7 * 8")), "Add 1 + 2");
    }

    #[test]
    fn what_was_said_before_is_repeated_with_one_mark() {
        let mut request = asks("Go.");
        request.messages.extend([Message::assistant("[offline model] So."), Message::user("Therefore?")]);
        assert_eq!(said(&request), "[offline model] So.");
    }

    #[test]
    fn the_task_is_what_was_said_last_in_a_thread() {
        let mut request = asks("What is 1 + 2?");
        request
            .messages
            .extend([Message::assistant("[offline model] 1 + 2 = 3"), Message::user("Name a colour.")]);
        assert_eq!(task(&request), "Name a colour.");
        assert!(said(&request).starts_with(MARK) && said(&request).ends_with("Name a colour."));
        request
            .messages
            .extend([Message::assistant("Blue."), Message::user("Therefore, what is the answer?")]);
        assert_eq!((task(&request), said(&request)), ("Name a colour.", "[offline model] Blue.".to_owned()));
    }

    proptest::proptest! {
        #[test]
        fn pieces_make_up_the_text(text in ".{0,80}") {
            proptest::prop_assert_eq!(pieces(&text).collect::<String>(), text);
        }

        #[test]
        fn any_task_has_a_marked_answer_that_is_the_same_again(task in "\\PC{0,200}") {
            let request = asks(&task).with_tools(vec![calculator()]);
            proptest::prop_assert!(said(&request).contains(MARK));
            proptest::prop_assert_eq!(said(&request), said(&request));
            proptest::prop_assert_eq!(tool_call(&request), tool_call(&request));
        }
    }
}
