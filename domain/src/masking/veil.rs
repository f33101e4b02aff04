//! What is taken out of a request to a model, with numbers, and put back into its reply.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Class, Classes, replaced};
use crate::model::{Message, ModelReply, ModelRequest};
use crate::tools::ToolCall;

/// The most bytes of a placeholder.
const MAX_PLACEHOLDER: usize = 16;

/// What the placeholders of one request stand for. The same text has the same placeholder all over the request. Secrets have no
/// number, and are not put back: no model has a use for them.
#[derive(Clone, Default)]
pub struct Veil {
    placeholders: HashMap<(&'static str, String), String>,
    originals: HashMap<String, String>,
    /// How many of each class there are.
    counts: BTreeMap<&'static str, u32>,
    /// Placeholders that were in the request before, and stand for themselves.
    taken: BTreeSet<String>,
}

impl std::fmt::Debug for Veil {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Veil").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl Veil {
    /// The request as it may leave, and what was taken out of its messages. It depends on nothing but the request.
    pub fn over(request: &ModelRequest, classes: Classes) -> (ModelRequest, Self) {
        let mut veil = Self::default();
        for message in &request.messages {
            changed(message, &mut |text| {
                veil.taken.extend(placeholders(text).map(|(_, placeholder)| placeholder.to_owned()));
                String::new()
            });
        }
        let messages = request.messages.iter();
        let messages =
            messages.map(|message| changed(message, &mut |text| veil.text(text, classes))).collect();
        (ModelRequest { messages, ..request.clone() }, veil)
    }

    fn text(&mut self, text: &str, classes: Classes) -> String {
        replaced(text, classes, |class, original| self.placeholder(class, original)).into_owned()
    }

    fn placeholder(&mut self, class: Class, original: &str) -> String {
        let label = class.label();
        if class == Class::Secret {
            return format!("<{label}>");
        }
        if let Some(placeholder) = self.placeholders.get(&(label, original.to_owned())) {
            return placeholder.clone();
        }
        let count = self.counts.entry(label).or_default();
        let placeholder = loop {
            *count += 1;
            let placeholder = format!("<{label}_{count}>");
            if !self.taken.contains(&placeholder) {
                break placeholder;
            }
        };
        self.placeholders.insert((label, original.to_owned()), placeholder.clone());
        self.originals.insert(placeholder.clone(), original.to_owned());
        placeholder
    }

    /// A text of the reply with what the placeholders stand for.
    pub fn lifted<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.originals.is_empty() || !text.contains('<') {
            return Cow::Borrowed(text);
        }
        let mut lifted = String::with_capacity(text.len());
        let mut from = 0;
        for (at, placeholder) in placeholders(text) {
            if let Some(original) = self.originals.get(placeholder) {
                lifted.push_str(&text[from..at]);
                lifted.push_str(original);
                from = at + placeholder.len();
            }
        }
        lifted.push_str(&text[from..]);
        Cow::Owned(lifted)
    }

    /// The reply with what the placeholders stand for: in its text, and in what tools are called with.
    #[must_use]
    pub fn lifted_reply(&self, reply: ModelReply) -> ModelReply {
        let tool_calls = reply.tool_calls.into_iter().map(|call| {
            let arguments = self.lifted(&call.arguments).into_owned();
            ToolCall { arguments, ..call }
        });
        ModelReply {
            text: self.lifted(&reply.text).into_owned(),
            tool_calls: tool_calls.collect(),
            flaw: reply.flaw.map(|flaw| self.lifted(&flaw).into_owned()),
            ..reply
        }
    }

    /// The same for a text that comes in pieces.
    pub fn unveiling(&self) -> Unveiling<'_> {
        Unveiling { veil: self, held: String::new() }
    }
}

/// Puts back what placeholders stand for in a text that comes in pieces, also where one is cut in two.
#[derive(Debug)]
pub struct Unveiling<'a> {
    veil: &'a Veil,
    /// What may be the beginning of a placeholder.
    held: String,
}

impl Unveiling<'_> {
    /// The next piece; what may be given of it and of the pieces before.
    pub fn push(&mut self, piece: &str) -> String {
        self.held.push_str(piece);
        let begun = self.held.rfind('<').filter(|at| is_beginning(&self.held[*at..]));
        let rest = self.held.split_off(begun.unwrap_or(self.held.len()));
        let whole = std::mem::replace(&mut self.held, rest);
        self.veil.lifted(&whole).into_owned()
    }

    /// There are no more pieces: what is left.
    pub fn finish(self) -> String {
        self.veil.lifted(&self.held).into_owned()
    }
}

/// Whether more text could make this a placeholder.
fn is_beginning(text: &str) -> bool {
    let rest = text[1..].trim_start_matches(|c: char| c.is_ascii_uppercase());
    let rest = rest.strip_prefix('_').unwrap_or(rest).trim_start_matches(|c: char| c.is_ascii_digit());
    text.len() < MAX_PLACEHOLDER && rest.is_empty()
}

/// What looks like a placeholder, and where.
fn placeholders(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices('<').filter_map(|(at, _)| {
        let near = &text.as_bytes()[at..text.len().min(at + MAX_PLACEHOLDER)];
        let end = at + near.iter().position(|byte| *byte == b'>')?;
        let (label, number) = text.get(at + 1..end)?.split_once('_')?;
        let is_one = Class::ALL.iter().any(|class| class.label() == label)
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit());
        is_one.then(|| (at, &text[at..=end]))
    })
}

/// A message with each of its texts changed.
fn changed(message: &Message, change: &mut impl FnMut(&str) -> String) -> Message {
    match message {
        Message::System { content } => Message::System { content: change(content) },
        Message::User { content } => Message::User { content: change(content) },
        Message::Tool { call_id, content } => {
            Message::Tool { call_id: call_id.clone(), content: change(content) }
        }
        Message::Assistant { content, tool_calls } => Message::Assistant {
            content: change(content),
            tool_calls: tool_calls
                .iter()
                .map(|call| ToolCall { arguments: change(&call.arguments), ..call.clone() })
                .collect(),
        },
    }
}
