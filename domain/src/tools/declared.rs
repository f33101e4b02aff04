//! Tools that a tenant declares: single ones by HTTP, MCP servers with the tools that they have, and databases.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};

use super::{Database, HttpTool, McpServer, SEPARATOR};
use crate::access::named_enum;
use crate::ids::UserId;

/// The most tools and servers that a tenant declares.
pub const MAX_DECLARED: u64 = 200;
/// The most bytes of a schema's JSON.
pub const MAX_SCHEMA_BYTES: usize = 32 * 1024;

/// What a tool or a server is called within its tenant: `[a-z][a-z0-9_]{0,47}`, without two `_` in a row: those stand
/// between a server and its tool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ToolName(String);

/// A text that is not a tool's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a tool's name is 1 to 48 lower-case letters, digits and single `_`; it begins with a letter and does not end with `_`"
)]
pub struct InvalidToolName;

impl FromStr for ToolName {
    type Err = InvalidToolName;

    fn from_str(text: &str) -> Result<Self, InvalidToolName> {
        let is_name = (1..=48).contains(&text.len())
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
            && !text.contains(SEPARATOR)
            && !text.ends_with('_');
        if is_name { Ok(Self(text.into())) } else { Err(InvalidToolName) }
    }
}

impl ToolName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

named_enum! {
    /// Where a tenant's tools are from.
    SourceKind as "kind of tool" {
        /// One tool, by HTTP.
        Http = "http",
        /// A server of the Model Context Protocol, and its tools.
        Mcp = "mcp",
        /// A database that is read.
        Database = "database",
    }
}

/// Where a tenant's tools are from, and how they are called.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolSource {
    /// One tool, by HTTP.
    Http(HttpTool),
    /// A server of the Model Context Protocol, and its tools.
    Mcp(McpServer),
    /// A database that is read.
    Database(Database),
}

impl ToolSource {
    /// Which of them.
    pub const fn kind(&self) -> SourceKind {
        match self {
            Self::Http(_) => SourceKind::Http,
            Self::Mcp(_) => SourceKind::Mcp,
            Self::Database(_) => SourceKind::Database,
        }
    }
}

/// A rule that a declaration breaks: where, as a JSON Pointer (RFC 6901), and which.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct BadTool {
    /// The part.
    pub pointer: String,
    /// The rule.
    pub reason: String,
}

impl BadTool {
    pub(super) fn new(pointer: &str, reason: impl Into<String>) -> Self {
        Self { pointer: pointer.to_owned(), reason: reason.into() }
    }
}

/// What a tenant has declared under a name.
#[derive(Clone, Debug, PartialEq)]
pub struct TenantTool {
    /// The name.
    pub name: ToolName,
    /// What it stands for.
    pub source: ToolSource,
    /// Who declared it.
    pub created_by: UserId,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it was changed last.
    pub updated_at: DateTime<Utc>,
    /// Grows by one with each change.
    pub version: u64,
}

impl TenantTool {
    /// A new one.
    pub fn new(name: ToolName, source: ToolSource, created_by: UserId, now: DateTime<Utc>) -> Self {
        Self { name, source, created_by, created_at: now, updated_at: now, version: 1 }
    }

    /// The same name for something else from now on.
    #[must_use]
    pub fn changed(self, source: ToolSource, now: DateTime<Utc>) -> Self {
        Self { source, updated_at: now, version: self.version + 1, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leaves_room_for_a_servers_tools() {
        for good in ["a", "crm", "crm_find_2", &"x".repeat(48)] {
            assert_eq!(good.parse::<ToolName>().unwrap().as_str(), good);
        }
        for bad in ["", "2a", "_a", "a__b", "a_", "A", "a-b", "a.b", &"x".repeat(49)] {
            assert_eq!(bad.parse::<ToolName>(), Err(InvalidToolName), "{bad}");
        }
    }
}
