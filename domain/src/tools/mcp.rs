//! Servers of the Model Context Protocol (<https://modelcontextprotocol.io>), and what they have said of their tools.
//!
//! What models are shown of a tool is what its server said when it was asked by somebody of the tenant, not what it says
//! now: a server cannot change a description under those who have looked at it.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::declared::MAX_SCHEMA_BYTES;
use super::http::{check_auth, check_url};
use super::{Auth, BadTool, Limits, ToolSpec};

/// Between a server's name and its tool's.
pub const SEPARATOR: &str = "__";
/// The most tools of a server that are kept.
const MAX_TOOLS: usize = 200;
/// The most characters of a description that models are shown.
const MAX_DESCRIPTION: usize = 1_024;
/// The most characters of a tool's name.
const MAX_NAME: usize = 64;

/// A tool of a server, as the server has described it.
#[derive(Clone, Debug, PartialEq)]
pub struct McpTool {
    /// Its name, as the server knows it.
    pub name: String,
    /// What it does.
    pub description: String,
    /// JSON Schema of its arguments, an object.
    pub parameters: Value,
    /// Whether the server says that a call changes nothing, or nothing more when it is made again.
    pub is_safe_to_repeat: bool,
}

impl McpTool {
    /// A tool that a server has described; nothing when it cannot be offered to a model.
    pub fn described(
        name: &str,
        description: &str,
        parameters: Value,
        is_safe_to_repeat: bool,
    ) -> Option<Self> {
        let is_name = (1..=MAX_NAME).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        let is_schema = parameters.is_object() && parameters.to_string().len() <= MAX_SCHEMA_BYTES;
        (is_name && is_schema).then(|| Self {
            name: name.to_owned(),
            description: description.replace('\0', " ").chars().take(MAX_DESCRIPTION).collect(),
            parameters,
            is_safe_to_repeat,
        })
    }
}

/// What came of asking a server for its tools.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    /// The tools, as they were described the last time that it answered.
    pub tools: Vec<McpTool>,
    /// When it was asked last, whatever came of it.
    pub asked_at: Option<DateTime<Utc>>,
    /// Why it did not answer then.
    pub problem: Option<String>,
}

impl Listing {
    /// With what it answers now; with the tools of before when it does not.
    #[must_use]
    pub fn renewed(self, answer: Result<Vec<McpTool>, String>, now: DateTime<Utc>) -> Self {
        match answer {
            Ok(mut tools) => {
                tools.truncate(MAX_TOOLS);
                tools.sort_by(|a, b| a.name.cmp(&b.name));
                tools.dedup_by(|a, b| a.name == b.name);
                Self { tools, asked_at: Some(now), problem: None }
            }
            Err(problem) => Self { asked_at: Some(now), problem: Some(problem), ..self },
        }
    }
}

/// A server, reached by streamable HTTP.
#[derive(Clone, Debug, PartialEq)]
pub struct McpServer {
    /// Where it is.
    pub url: String,
    /// How it is told who calls.
    pub auth: Option<Auth>,
    /// Names of its tools that agents may have; all when there is no list.
    pub allowed: Option<Vec<String>>,
    /// What a call may take.
    pub limits: Limits,
    /// What it has said of its tools.
    pub listing: Listing,
}

impl McpServer {
    /// Checks what was declared. It has not been asked yet.
    pub fn new(
        url: String,
        auth: Option<Auth>,
        allowed: Option<Vec<String>>,
        limits: Limits,
    ) -> Result<Self, BadTool> {
        check_url(&url)?;
        if url.contains(['{', '}']) {
            return Err(BadTool::new("/url", "the URL of a server has no parameters"));
        }
        check_auth(auth.as_ref())?;
        if let Some(Auth::Query { .. }) = auth {
            return Err(BadTool::new("/auth/kind", "a server takes its secret as `bearer` or in a `header`"));
        }
        let is_list = |names: &Vec<String>| {
            names.len() <= MAX_TOOLS && names.iter().all(|name| (1..=MAX_NAME).contains(&name.len()))
        };
        if !allowed.as_ref().is_none_or(is_list) {
            return Err(BadTool::new("/allowed_tools", "at most 200 names of tools"));
        }
        Ok(Self { url, auth, allowed, limits, listing: Listing::default() })
    }

    /// The tools that agents may have.
    pub fn offered(&self) -> impl Iterator<Item = &McpTool> {
        let is_allowed =
            |tool: &&McpTool| self.allowed.as_ref().is_none_or(|names| names.contains(&tool.name));
        self.listing.tools.iter().filter(is_allowed)
    }

    /// How a tool is offered to models, by the server of this name.
    pub fn spec(server: &str, tool: &McpTool) -> ToolSpec {
        ToolSpec {
            name: format!("{server}{SEPARATOR}{}", tool.name),
            description: tool.description.clone(),
            parameters: tool.parameters.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tool(name: &str) -> McpTool {
        McpTool::described(name, "Does it", json!({"type": "object"}), false).unwrap()
    }

    fn server(allowed: Option<&[&str]>) -> McpServer {
        let allowed = allowed.map(|names| names.iter().map(ToString::to_string).collect());
        McpServer::new("https://mcp.example.org/mcp".into(), None, allowed, Limits::default()).unwrap()
    }

    #[test]
    fn what_a_server_says_is_kept_until_it_says_something_else() {
        let at = |second: i64| DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap();
        let listing = Listing::default().renewed(Ok(vec![tool("b"), tool("a"), tool("b")]), at(1));
        assert_eq!(listing.tools.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let failed = listing.clone().renewed(Err("it is away".into()), at(2));
        assert_eq!(
            (failed.tools.len(), failed.asked_at, failed.problem.as_deref()),
            (2, Some(at(2)), Some("it is away"))
        );
        let again = failed.renewed(Ok(vec![tool("c")]), at(3));
        assert_eq!((again.tools.len(), again.problem), (1, None));
    }

    #[test]
    fn only_allowed_tools_are_offered() {
        let mut some = server(Some(&["a", "gone"]));
        some.listing.tools = vec![tool("a"), tool("b")];
        assert_eq!(some.offered().map(|tool| tool.name.as_str()).collect::<Vec<_>>(), ["a"]);
        let mut all = server(None);
        all.listing.tools = vec![tool("a"), tool("b")];
        assert_eq!(all.offered().count(), 2);
        assert_eq!(McpServer::spec("crm", &tool("a")).name, "crm__a");
    }

    #[test]
    fn what_cannot_be_offered_is_left_out() {
        let described = |name: &str, parameters| McpTool::described(name, "", parameters, true);
        assert!(described("get-it_2", json!({})).is_some());
        for name in ["", "a b", "é", "a/b", &"x".repeat(65)] {
            assert!(described(name, json!({})).is_none(), "{name}");
        }
        assert!(described("a", json!([])).is_none());
        assert!(described("a", json!({"description": "x".repeat(MAX_SCHEMA_BYTES)})).is_none());
        let long = McpTool::described("a", &"x".repeat(5_000), json!({}), true).unwrap();
        assert_eq!(long.description.len(), MAX_DESCRIPTION);
    }
}
