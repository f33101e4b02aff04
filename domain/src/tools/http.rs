//! A tool that is one request by HTTP: where it goes, and where each argument stands in it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::ToolSpec;
use super::declared::{BadTool, MAX_SCHEMA_BYTES};
use crate::access::named_enum;
use crate::secrets::SecretName;

/// The most bytes of a URL.
const MAX_URL: usize = 2_048;
/// The most characters of a description.
const MAX_DESCRIPTION: usize = 1_024;
/// The most bytes of a header's name.
const MAX_HEADER: usize = 64;
/// Headers that say how a message is sent, whose it is, or where it goes: they are the platform's.
const RESERVED: [&str; 13] = [
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "cookie",
    "idempotency-key",
    "user-agent",
    "accept-encoding",
];

named_enum! {
    /// How a tool asks.
    HttpMethod as "method" {
        /// Reads.
        Get = "GET",
        /// Does or makes something.
        Post = "POST",
        /// Replaces something.
        Put = "PUT",
        /// Changes something.
        Patch = "PATCH",
        /// Removes something.
        Delete = "DELETE",
    }
}

impl HttpMethod {
    /// Whether arguments that have no place of their own stand in the body; in the query otherwise.
    pub const fn has_body(self) -> bool {
        matches!(self, Self::Post | Self::Put | Self::Patch)
    }
}

/// How a service is told who calls: by a secret, which is put in as the request leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer` and the secret.
    Bearer {
        /// The secret.
        secret: SecretName,
    },
    /// A header of this name.
    Header {
        /// The header.
        name: String,
        /// The secret.
        secret: SecretName,
    },
    /// A parameter of the query.
    Query {
        /// The parameter.
        name: String,
        /// The secret.
        secret: SecretName,
    },
}

impl Auth {
    /// The secret.
    pub const fn secret(&self) -> &SecretName {
        match self {
            Self::Bearer { secret } | Self::Header { secret, .. } | Self::Query { secret, .. } => secret,
        }
    }
}

/// What a call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    seconds: u32,
    bytes: u32,
}

impl Limits {
    /// The most seconds that a call may be allowed.
    pub const MAX_SECONDS: u32 = 120;
    /// The most bytes of an answer that may be read.
    pub const MAX_BYTES: u32 = 256 * 1024;

    /// 1 to 120 seconds, and 1 to 262,144 bytes.
    pub fn new(seconds: u32, bytes: u32) -> Result<Self, BadTool> {
        if !(1..=Self::MAX_SECONDS).contains(&seconds) {
            let reason = format!("1 to {} seconds", Self::MAX_SECONDS);
            return Err(BadTool::new("/timeout_seconds", reason));
        }
        if !(1..=Self::MAX_BYTES).contains(&bytes) {
            return Err(BadTool::new("/max_bytes", format!("1 to {} bytes", Self::MAX_BYTES)));
        }
        Ok(Self { seconds, bytes })
    }

    /// How long a call may take, in seconds.
    pub const fn seconds(self) -> u32 {
        self.seconds
    }

    /// How many bytes of an answer are read.
    pub const fn bytes(self) -> u32 {
        self.bytes
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { seconds: 20, bytes: 64 * 1024 }
    }
}

/// A tool that is one request.
///
/// Each argument has one place: in the path, where the URL names it between braces; in a header or in the query, where
/// these lists name it; else in the body, or in the query of a method that has none.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpTool {
    /// What it does, for models.
    pub description: String,
    /// JSON Schema (draft 2020-12) of its arguments, an object.
    pub parameters: Value,
    /// How it asks.
    pub method: HttpMethod,
    /// Where: an absolute URL, with `{argument}` between slashes or anywhere in the path and the query.
    pub url: String,
    /// Arguments that stand in the query.
    pub query: Vec<String>,
    /// Headers, and the arguments that they have.
    pub headers: BTreeMap<String, String>,
    /// The argument that is the whole body.
    pub body: Option<String>,
    /// How the service is told who calls.
    pub auth: Option<Auth>,
    /// What a call may take.
    pub limits: Limits,
    /// Whether a call may be made again when nobody knows whether the first one took effect.
    pub safe_to_repeat: bool,
}

impl HttpTool {
    /// Checks what was declared. Whether its host may be reached is for whoever sends to say.
    pub fn checked(self) -> Result<Self, BadTool> {
        check_description(&self.description)?;
        check_schema(&self.parameters)?;
        check_url(&self.url)?;
        check_auth(self.auth.as_ref())?;
        let in_path = self.in_url()?;
        for name in &in_path {
            self.property("/url", name)?;
            if !self.is_required(name) {
                let reason = format!("the argument `{name}` stands in the URL: list it in `required`");
                return Err(BadTool::new("/parameters/required", reason));
            }
        }
        for (index, name) in self.query.iter().enumerate() {
            self.property(&format!("/query/{index}"), name)?;
        }
        for (header, name) in &self.headers {
            check_header("/headers", header)?;
            self.property("/headers", name)?;
        }
        if let Some(name) = &self.body {
            self.property("/body", name)?;
            if !self.method.has_body() {
                return Err(BadTool::new("/body", format!("{} has no body", self.method)));
            }
        }
        let mut places: Vec<&String> =
            in_path.iter().chain(&self.query).chain(self.headers.values()).collect();
        places.extend(&self.body);
        places.sort();
        if let Some([name, _]) = places.array_windows().find(|[one, next]| one == next) {
            return Err(BadTool::new("/parameters", format!("the argument `{name}` has two places")));
        }
        Ok(self)
    }

    /// How it is offered to models.
    pub fn spec(&self, name: &str) -> ToolSpec {
        ToolSpec {
            name: name.to_owned(),
            description: self.description.clone(),
            parameters: self.parameters.clone(),
        }
    }

    /// The arguments that the URL names.
    pub fn in_url(&self) -> Result<Vec<String>, BadTool> {
        let broken = || BadTool::new("/url", "each `{` needs its `}` with an argument's name between");
        let mut names = Vec::new();
        let mut rest = self.url.as_str();
        while let Some(start) = rest.find(['{', '}']) {
            let end = rest[start..].find('}').ok_or_else(broken)?;
            let name = rest[start..].strip_prefix('{').and_then(|inner| inner.get(..end.checked_sub(1)?));
            let name = name.filter(|name| !name.is_empty() && !name.contains('{')).ok_or_else(broken)?;
            names.push(name.to_owned());
            rest = &rest[start + end + 1..];
        }
        Ok(names)
    }

    fn property(&self, pointer: &str, name: &str) -> Result<(), BadTool> {
        if self.parameters["properties"].get(name).is_some() {
            return Ok(());
        }
        Err(BadTool::new(pointer, format!("the parameters have no property `{name}`")))
    }

    fn is_required(&self, name: &str) -> bool {
        self.parameters["required"].as_array().is_some_and(|names| names.iter().any(|one| one == name))
    }
}

fn check_description(text: &str) -> Result<(), BadTool> {
    if text.trim().is_empty() || text.chars().nth(MAX_DESCRIPTION).is_some() {
        return Err(BadTool::new("/description", format!("1 to {MAX_DESCRIPTION} characters")));
    }
    Ok(())
}

fn check_schema(schema: &Value) -> Result<(), BadTool> {
    if schema["type"] != "object" || !schema.get("properties").is_none_or(Value::is_object) {
        return Err(BadTool::new("/parameters", "must be a JSON Schema with `\"type\": \"object\"`"));
    }
    if schema.to_string().len() > MAX_SCHEMA_BYTES {
        return Err(BadTool::new(
            "/parameters",
            format!("a schema has at most {MAX_SCHEMA_BYTES} bytes of JSON"),
        ));
    }
    Ok(())
}

/// An absolute URL of HTTP or HTTPS whose scheme, host and port are fixed, without user and fragment.
pub(super) fn check_url(url: &str) -> Result<(), BadTool> {
    let bad = |reason: &str| Err(BadTool::new("/url", reason));
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else {
        return bad("must be an absolute URL that begins with https://");
    };
    if url.len() > MAX_URL || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return bad("at most 2,048 visible ASCII characters");
    }
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    if authority.is_empty() || authority.contains(['{', '}', '@']) {
        return bad("its host must be fixed, and it holds no user");
    }
    if url.contains(['#', '\\']) {
        return bad("no fragment and no backslash");
    }
    Ok(())
}

pub(super) fn check_auth(auth: Option<&Auth>) -> Result<(), BadTool> {
    match auth {
        Some(Auth::Header { name, .. }) => check_header("/auth/name", name),
        Some(Auth::Query { name, .. }) if name.is_empty() || name.len() > MAX_HEADER => {
            Err(BadTool::new("/auth/name", "1 to 64 characters"))
        }
        _ => Ok(()),
    }
}

fn check_header(pointer: &str, name: &str) -> Result<(), BadTool> {
    let is_token = (1..=MAX_HEADER).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if !is_token {
        return Err(BadTool::new(pointer, "a header's name is 1 to 64 letters, digits, `-` and `_`"));
    }
    if RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved))
        || name.to_ascii_lowercase().starts_with("proxy-")
    {
        return Err(BadTool::new(pointer, format!("the header `{name}` is the platform's")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tool() -> HttpTool {
        HttpTool {
            description: "Finds people".into(),
            parameters: json!({"type": "object", "required": ["id"], "properties": {
                "id": {"type": "string"}, "limit": {"type": "integer"}, "region": {"type": "string"}, "note": {}}}),
            method: HttpMethod::Post,
            url: "https://crm.example.org/v1/people/{id}?expand=all".into(),
            query: vec!["limit".into()],
            headers: BTreeMap::from([("X-Region".into(), "region".into())]),
            body: None,
            auth: Some(Auth::Bearer { secret: "crm".parse().unwrap() }),
            limits: Limits::default(),
            safe_to_repeat: false,
        }
    }

    fn refused(change: impl FnOnce(&mut HttpTool)) -> String {
        let mut changed = tool();
        change(&mut changed);
        changed.checked().unwrap_err().pointer
    }

    #[test]
    fn a_whole_declaration_is_taken() {
        assert_eq!(tool().checked().unwrap(), tool());
        assert_eq!(tool().in_url().unwrap(), ["id"]);
        assert_eq!(tool().spec("find").name, "find");
    }

    #[test]
    fn mistakes_are_pointed_at() {
        for (pointer, said) in [
            ("/description", refused(|tool| tool.description.clear())),
            ("/parameters", refused(|tool| tool.parameters = json!({"type": "array"}))),
            ("/parameters", refused(|tool| tool.parameters["x"] = json!("x".repeat(MAX_SCHEMA_BYTES)))),
            ("/parameters/required", refused(|tool| tool.parameters["required"] = json!([]))),
            ("/parameters", refused(|tool| tool.query.push("id".into()))),
            ("/query/1", refused(|tool| tool.query.push("unknown".into()))),
            ("/headers", refused(|tool| drop(tool.headers.insert("Host".into(), "note".into())))),
            ("/headers", refused(|tool| drop(tool.headers.insert("a b".into(), "note".into())))),
            ("/headers", refused(|tool| drop(tool.headers.insert("X-A".into(), "unknown".into())))),
            ("/body", refused(|tool| tool.body = Some("unknown".into()))),
            (
                "/auth/name",
                refused(|tool| {
                    let secret = "crm".parse().unwrap();
                    tool.auth = Some(Auth::Header { name: "Content-Length".into(), secret });
                }),
            ),
        ] {
            assert_eq!(said, pointer);
        }
        let get_with_body = refused(|tool| {
            tool.method = HttpMethod::Get;
            tool.body = Some("note".into());
        });
        assert_eq!(get_with_body, "/body");
    }

    #[test]
    fn the_host_is_fixed() {
        for bad in [
            "ftp://a.org/",
            "//a.org",
            "https://",
            "https://{host}/a",
            "https://user@a.org/",
            "https://a.org:{port}/",
            "https://a.org\\@b.org/{id}",
            "https://a.org/{id}#x",
            "https://a.org/{id",
            "https://a.org/id}",
            "https://a.org/{}",
            "https://a.org/{{id}}",
            "https://a.org/ {id}",
            "https://a.org/{unknown}",
        ] {
            assert_eq!(refused(|tool| tool.url = bad.into()), "/url", "{bad}");
        }
    }

    #[test]
    fn limits_have_bounds() {
        assert_eq!(Limits::new(0, 1).unwrap_err().pointer, "/timeout_seconds");
        assert_eq!(Limits::new(121, 1).unwrap_err().pointer, "/timeout_seconds");
        assert_eq!(Limits::new(1, 0).unwrap_err().pointer, "/max_bytes");
        assert_eq!(Limits::new(1, 262_145).unwrap_err().pointer, "/max_bytes");
        assert!(Limits::new(120, 262_144).is_ok());
    }
}
