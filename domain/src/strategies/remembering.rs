//! Remembering: what several kinds do by the platform's tools that search and change what an agent remembers.
//!
//! What is remembered came from what users and tools have said: it is shown as the output of a tool is, as data. A search that
//! fails ends the run; a change that fails, or that a person refuses, does not take away an answer.

use serde::Deserialize;
use serde_json::{Value, json};

use super::acting::{Acting, DATA_NOT_ORDERS, act, untrusted};
use super::asking::answer;
use super::{Answer, Brief, StrategyError};
use crate::effects::{Effects, FailureClass};
use crate::model::Channel;
use crate::tools::{ToolOutput, ToolSpec};

/// The tool that searches.
pub(super) const SEARCH: &str = "memory_search";
/// The tool that changes.
pub(super) const APPLY: &str = "memory_apply";
/// The most characters of a memory.
const MAX_TEXT: usize = crate::memory::MAX_MEMORY_CHARS;

/// The tools that a kind with a memory cannot work without.
pub(super) fn tools() -> Vec<String> {
    vec![SEARCH.to_owned(), APPLY.to_owned()]
}

/// Something that came to mind.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Remembered {
    pub(super) id: String,
    pub(super) text: String,
    #[serde(default)]
    pub(super) importance: u32,
}

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    memories: Vec<Remembered>,
}

/// How what is found is ranked.
#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    Relevance,
    /// Recency, importance and relevance.
    Weight,
    /// The newest first.
    Age,
}

impl By {
    const fn name(self) -> &'static str {
        match self {
            Self::Relevance => "relevance",
            Self::Weight => "weighted",
            Self::Age => "recent",
        }
    }
}

/// An agent that remembers, with the tools for it.
#[derive(Clone, Copy)]
pub(super) struct Mind<'a> {
    pub(super) brief: &'a Brief,
    pub(super) fx: &'a Effects,
}

impl Mind<'_> {
    /// The tools that it may call by itself: those of its agent but for these two.
    pub(super) fn other_tools(&self) -> Vec<ToolSpec> {
        let tools = self.brief.tools.iter();
        tools.filter(|tool| tool.name != SEARCH && tool.name != APPLY).cloned().collect()
    }

    /// What comes to mind, best first; of any kind, when there are none. The effect is made here and now: several can be joined.
    pub(super) fn recall(
        &self,
        query: &str,
        most: usize,
        kinds: &[&str],
        by: By,
    ) -> impl Future<Output = Result<Vec<Remembered>, StrategyError>> + Send + 'static {
        let query: String = query.chars().take(MAX_TEXT).collect();
        let mut arguments = json!({"query": query, "k": most, "scoring": by.name()});
        if !kinds.is_empty() {
            arguments["kinds"] = json!(kinds);
        }
        let effect = self.fx.tool(SEARCH, arguments);
        async move {
            let output = effect.await?;
            let failed = |reason: String| StrategyError::ToolFailed { tool: SEARCH.to_owned(), reason };
            if output.is_error {
                return Err(failed(output.content));
            }
            let found: Result<Found, _> = serde_json::from_str(&output.content);
            Ok(found.map_err(|error| failed(format!("its output cannot be read: {error}")))?.memories)
        }
    }

    /// Changes what is remembered, all at once; nothing is asked for where nothing changes.
    pub(super) async fn apply(&self, operations: Vec<Value>) -> Result<(), StrategyError> {
        if operations.is_empty() {
            return Ok(());
        }
        match self.fx.tool(APPLY, json!({ "operations": operations })).await {
            // What no budget has room for is one of the changes that fail.
            Err(failure) if failure.class != FailureClass::LimitReached => Err(failure.into()),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Does the task with what came to mind, and with tools in turns: as ReAct does. At most `max_turns` and one call of the
    /// model, or one where there are no tools.
    pub(super) async fn act(
        &self,
        guidance: &str,
        sections: &[(&str, &str)],
        tools: &[ToolSpec],
        max_turns: u32,
    ) -> Result<Answer, StrategyError> {
        let acting = Acting {
            tools,
            max_turns,
            confirm_calls: false,
            in_words: false,
            purpose: "act",
            last_purpose: "conclude",
            channel: Channel::Answer,
        };
        let messages = self.brief.about_task(&format!("{guidance} {DATA_NOT_ORDERS}"), sections);
        answer(&act(self.fx, messages, acting).await?.text, "act")
    }
}

/// A new memory, as an operation: nothing, when it says nothing.
pub(super) fn adding(kind: &str, text: &str, importance: u32) -> Option<Value> {
    let text: String = text.trim().chars().take(MAX_TEXT).collect();
    let importance = importance.clamp(1, 10);
    (!text.is_empty()).then(|| json!({"op": "ADD", "kind": kind, "text": text, "importance": importance}))
}

/// Memories for a model to read, each in a line with its number, as data.
pub(super) fn numbered(memories: &[Remembered]) -> String {
    let lines = (1..).zip(memories).map(|(number, memory)| format!("{number}. {}", memory.text));
    shown(&lines.collect::<Vec<_>>())
}

/// Memories for a model to read, as data.
pub(super) fn listed(memories: &[Remembered]) -> String {
    shown(&memories.iter().map(|memory| format!("- {}", memory.text)).collect::<Vec<_>>())
}

fn shown(lines: &[String]) -> String {
    if lines.is_empty() { String::new() } else { untrusted(&ToolOutput::ok(lines.join("\n"))) }
}

#[cfg(test)]
pub(super) mod scripted {
    //! The tools of memory for tests: they have what they are given.

    use super::*;
    use crate::effects::ToolRequest;
    use crate::strategies::scripted::brief;

    /// A brief with the tools of memory, and whatever else the usual one has.
    pub(in crate::strategies) fn minded() -> Brief {
        let tool = |name: &str| ToolSpec {
            name: name.to_owned(),
            description: "Remembers.".into(),
            parameters: json!({"type": "object"}),
        };
        Brief { tools: vec![tool(SEARCH), tool(APPLY)], ..brief() }
    }

    /// What a search gives: memories of these ids, texts and importances.
    pub(in crate::strategies) fn found(memories: &[(&str, &str, u32)]) -> ToolOutput {
        let memory = |(id, text, importance): &(&str, &str, u32)| json!({"id": id, "kind": "fact", "text": text, "importance": importance, "score": 1.0});
        ToolOutput::ok(json!({"memories": memories.iter().map(memory).collect::<Vec<_>>()}).to_string())
    }

    /// The operations of all calls that change what is remembered.
    pub(in crate::strategies) fn operations(tools: &[ToolRequest]) -> Vec<Value> {
        let applied = tools.iter().filter(|tool| tool.name == APPLY);
        applied
            .flat_map(|tool| tool.arguments["operations"].as_array().cloned().unwrap_or_default())
            .collect()
    }
}
