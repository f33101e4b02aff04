//! What a journal is made of: keys, requests, outcomes and the fingerprints that tie them together.

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::access::Role;
use crate::ids::RunId;
use crate::model::{ModelReply, ModelRequest, Usage};
use crate::tools::ToolOutput;

/// Where in a strategy an effect was asked for: a path of indexes, written `2` or `2.0.1`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EffectKey(Vec<u32>);

impl EffectKey {
    pub(crate) fn child(&self, index: u32) -> Self {
        let mut path = Vec::with_capacity(self.0.len() + 1);
        path.extend_from_slice(&self.0);
        path.push(index);
        Self(path)
    }
}

impl fmt::Display for EffectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, index) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_char('.')?;
            }
            write!(f, "{index}")?;
        }
        Ok(())
    }
}

/// A text that is not an effect's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an effect key is numbers joined by dots")]
pub struct InvalidKey;

impl FromStr for EffectKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let path = text.split('.').map(str::parse).collect::<Result<_, _>>().map_err(|_| InvalidKey)?;
        Ok(Self(path))
    }
}

impl TryFrom<String> for EffectKey {
    type Error = InvalidKey;

    fn try_from(text: String) -> Result<Self, InvalidKey> {
        text.parse()
    }
}

impl From<EffectKey> for String {
    fn from(key: EffectKey) -> Self {
        key.to_string()
    }
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolRequest {
    /// The tool's name.
    pub name: String,
    /// Its arguments, an object.
    pub arguments: serde_json::Value,
    /// Why the strategy wants a person to approve the call first, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<String>,
}

impl ToolRequest {
    /// A call that needs nobody's word, as far as its strategy is concerned.
    pub fn new(name: impl Into<String>, arguments: serde_json::Value) -> Self {
        Self { name: name.into(), arguments, approval: None }
    }
}

/// A run of another agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubRunRequest {
    /// The agent's name within the tenant.
    pub agent: String,
    /// What it is to do.
    pub task: String,
}

/// What came of a run of another agent. Its answer is as trustworthy as what that agent has read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubRunOutput {
    /// The run; none when it could not begin.
    pub run: Option<RunId>,
    /// Its answer, or why there is none.
    pub content: String,
    /// Whether there is no answer.
    pub is_error: bool,
    /// What it consumed, with the runs that it began itself.
    pub usage: Usage,
    /// Why whoever asked for all of this may not run the agent, where that is why there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub barred: Option<Barred>,
}

impl SubRunOutput {
    /// Of a run that could not begin, and why.
    pub fn refused(why: impl Into<String>) -> Self {
        Self { run: None, content: why.into(), is_error: true, usage: Usage::default(), barred: None }
    }

    /// Of a run that could not begin, since whoever asked for all of this may not run this agent.
    pub fn barred(agent: &str, why: Barred) -> Self {
        let content = format!("whoever asked for this may not have `{agent}` do anything");
        Self { barred: Some(why), ..Self::refused(content) }
    }
}

/// What whoever asked for a run was, when an agent was to begin in it that they may not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Barred {
    /// A member with this role, which does not allow it.
    Role(#[serde(with = "role_by_name")] Role),
    /// No active member any more.
    Gone,
}

/// Roles in a journal.
mod role_by_name {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::access::Role;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub(super) fn serialize<S: Serializer>(role: &Role, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(role.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Role, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What a strategy asks of the world.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum EffectRequest {
    /// A call of the agent's model.
    Model(ModelRequest),
    /// A call of a tool.
    Tool(ToolRequest),
    /// A run of another agent.
    Run(SubRunRequest),
}

impl EffectRequest {
    /// The first 128 bits of SHA-256 over the request's JSON.
    pub fn fingerprint(&self) -> Fingerprint {
        // Sorted keys, whatever order `serde_json` is built to keep. Serialising cannot fail: every key is a
        // string, and a number that JSON lacks becomes null.
        let mut json = serde_json::to_value(self).unwrap_or_default();
        json.sort_all_objects();
        let json = json.to_string();
        let digest = Sha256::digest(json.as_bytes());
        let mut hex = String::with_capacity(32);
        for byte in &digest[..16] {
            let _ = write!(hex, "{byte:02x}");
        }
        Fingerprint(hex)
    }
}

/// A short hash of a request, in 32 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What kind of failure an effect met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// It may work later; the runner has already tried again as often as it may.
    Unavailable,
    /// It will not work as asked.
    Rejected,
    /// A limit of the run does not allow it.
    LimitReached,
}

/// Why an effect has no result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct EffectFailure {
    /// Its kind.
    pub class: FailureClass,
    /// A sentence for people, without internals.
    pub message: String,
    /// What it may have consumed all the same, where it had begun to answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Usage>,
}

impl EffectFailure {
    /// Of this kind, in these words; it has consumed nothing.
    pub fn new(class: FailureClass, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), used: None }
    }

    pub(crate) fn wrong_kind() -> Self {
        Self::new(FailureClass::Rejected, "the outcome is of another kind than its request")
    }
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum EffectOutcome {
    /// The model answered.
    Model(ModelReply),
    /// The tool answered, perhaps with an error that the model may react to.
    Tool(ToolOutput),
    /// The run of another agent has ended, perhaps without an answer.
    Run(SubRunOutput),
    /// There is no answer.
    Failed(EffectFailure),
}

impl EffectOutcome {
    /// What it consumed.
    pub fn usage(&self) -> Usage {
        match self {
            Self::Model(reply) => reply.usage,
            Self::Run(output) => output.usage,
            Self::Tool(output) => output.used.as_ref().map_or_else(Usage::default, |used| used.usage),
            Self::Failed(failure) => failure.used.unwrap_or_default(),
        }
    }

    /// Whether there is no result, or one that says that it is none.
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Model(_) => false,
            Self::Tool(output) => output.is_error,
            Self::Run(output) => output.is_error,
            Self::Failed(_) => true,
        }
    }

    pub(crate) fn answers(&self, request: &EffectRequest) -> bool {
        matches!(
            (self, request),
            (Self::Model(_), EffectRequest::Model(_))
                | (Self::Tool(_), EffectRequest::Tool(_))
                | (Self::Run(_), EffectRequest::Run(_))
                | (Self::Failed(_), _)
        )
    }
}

/// One line of a run's journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Where the effect was asked for.
    pub key: EffectKey,
    /// What was asked, as a hash.
    pub fingerprint: Fingerprint,
    /// What came of it.
    pub outcome: EffectOutcome,
}
