//! Declarations as callers write and read them.

use std::collections::BTreeMap;

use powerhouse_domain::tools::{Auth, HttpMethod, HttpTool, Limits, McpServer, TenantTool, ToolSource};
use salvo::oapi::ToSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::body::{field, invalid};
use crate::problem::Problem;
use crate::reply::instant;

/// How a service is told who calls: by a secret of the tenant's, which is put in as the request leaves.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[salvo(schema(name = "ToolAuth"))]
pub(super) struct AuthBody {
    /// `bearer`, `header` or `query`.
    #[salvo(schema(example = "bearer"))]
    kind: String,
    /// The header, or the parameter of the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The secret's name, as at `/v1/secrets`. It may be put in later.
    #[salvo(schema(example = "crm-token"))]
    secret: String,
}

impl From<&Auth> for AuthBody {
    fn from(auth: &Auth) -> Self {
        let (kind, name) = match auth {
            Auth::Bearer { .. } => ("bearer", None),
            Auth::Header { name, .. } => ("header", Some(name.clone())),
            Auth::Query { name, .. } => ("query", Some(name.clone())),
        };
        Self { kind: kind.to_owned(), name, secret: auth.secret().to_string() }
    }
}

pub(super) fn auth(body: Option<AuthBody>) -> Result<Option<Auth>, Problem> {
    let Some(AuthBody { kind, name, secret }) = body else { return Ok(None) };
    let secret = field("/auth/secret", &secret)?;
    Ok(Some(match (kind.as_str(), name) {
        ("bearer", None) => Auth::Bearer { secret },
        ("header", Some(name)) => Auth::Header { name, secret },
        ("query", Some(name)) => Auth::Query { name, secret },
        ("bearer", Some(_)) => return Err(invalid("/auth/name", "`bearer` has no name")),
        ("header" | "query", None) => return Err(invalid("/auth/name", "name the header or the parameter")),
        _ => return Err(invalid("/auth/kind", "must be `bearer`, `header` or `query`")),
    }))
}

pub(super) fn limits(seconds: Option<u32>, bytes: Option<u32>) -> Result<Limits, Problem> {
    let usual = Limits::default();
    let limits = Limits::new(seconds.unwrap_or(usual.seconds()), bytes.unwrap_or(usual.bytes()));
    limits.map_err(|bad| invalid(&bad.pointer, bad.reason))
}

/// A tool that is one request. Each argument has one place: in the path, where the URL names it between braces; in a header or
/// in the query, where these lists name it; else in the JSON body, or in the query of a method that has none.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[salvo(schema(name = "HttpToolDeclaration"))]
pub(super) struct HttpToolBody {
    /// What it does, for models: at most 1,024 characters.
    #[salvo(schema(example = "Finds a person by their id"))]
    description: String,
    /// JSON Schema (draft 2020-12) of its arguments, an object. No reference leaves it.
    #[salvo(schema(value_type = Object))]
    parameters: Value,
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    #[salvo(schema(example = "GET"))]
    method: String,
    /// An absolute https URL whose host is fixed, with `{argument}` in its path or query.
    #[salvo(schema(example = "https://crm.example.org/v1/people/{id}"))]
    url: String,
    /// Arguments that stand in the query.
    #[serde(default)]
    query: Vec<String>,
    /// Headers, and the arguments that they have.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// The argument that is the whole body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    auth: Option<AuthBody>,
    /// How long a call may take: 1 to 120, 20 when left out.
    #[serde(default)]
    timeout_seconds: Option<u32>,
    /// How much of an answer is read: 1 to 262,144, 65,536 when left out.
    #[serde(default)]
    max_bytes: Option<u32>,
    /// Whether a call may be made again when nobody knows whether the first one took effect; of `GET`, when left out.
    #[serde(default)]
    safe_to_repeat: Option<bool>,
}

impl HttpToolBody {
    pub(super) fn into_domain(self) -> Result<ToolSource, Problem> {
        let method: HttpMethod = field("/method", &self.method)?;
        let tool = HttpTool {
            description: self.description,
            parameters: self.parameters,
            method,
            url: self.url,
            query: self.query,
            headers: self.headers,
            body: self.body,
            auth: auth(self.auth)?,
            limits: limits(self.timeout_seconds, self.max_bytes)?,
            safe_to_repeat: self.safe_to_repeat.unwrap_or(method == HttpMethod::Get),
        };
        tool.checked().map(ToolSource::Http).map_err(|bad| invalid(&bad.pointer, bad.reason))
    }
}

impl From<&HttpTool> for HttpToolBody {
    fn from(tool: &HttpTool) -> Self {
        Self {
            description: tool.description.clone(),
            parameters: tool.parameters.clone(),
            method: tool.method.as_str().to_owned(),
            url: tool.url.clone(),
            query: tool.query.clone(),
            headers: tool.headers.clone(),
            body: tool.body.clone(),
            auth: tool.auth.as_ref().map(Into::into),
            timeout_seconds: Some(tool.limits.seconds()),
            max_bytes: Some(tool.limits.bytes()),
            safe_to_repeat: Some(tool.safe_to_repeat),
        }
    }
}

/// A tool.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Tool"))]
pub(super) struct ToolView {
    /// What agents list, and models call.
    name: String,
    /// What was declared.
    tool: Option<HttpToolBody>,
    created_by: String,
    created_at: String,
    updated_at: String,
    version: u64,
}

impl From<&TenantTool> for ToolView {
    fn from(tool: &TenantTool) -> Self {
        let declared = match &tool.source {
            ToolSource::Http(tool) => Some(tool.into()),
            ToolSource::Mcp(_) | ToolSource::Database(_) => None,
        };
        Self {
            name: tool.name.to_string(),
            tool: declared,
            created_by: tool.created_by.to_string(),
            created_at: instant(tool.created_at),
            updated_at: instant(tool.updated_at),
            version: tool.version,
        }
    }
}

/// A page of tools.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ToolPage {
    pub(super) items: Vec<ToolView>,
    /// Where the next page begins; none when this is the last.
    pub(super) next_cursor: Option<String>,
}

/// Tools that were declared together.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ImportedTools {
    pub(super) items: Vec<ToolView>,
}

/// A server of the Model Context Protocol, reached by streamable HTTP.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[salvo(schema(name = "McpServerDeclaration"))]
pub(super) struct ServerBody {
    /// An absolute https URL.
    #[salvo(schema(example = "https://mcp.example.org/mcp"))]
    url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    auth: Option<AuthBody>,
    /// Names of its tools that agents may have; all when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    allowed_tools: Option<Vec<String>>,
    /// How long a call may take: 1 to 120, 20 when left out.
    #[serde(default)]
    timeout_seconds: Option<u32>,
    /// How much of an answer is kept: 1 to 262,144, 65,536 when left out.
    #[serde(default)]
    max_bytes: Option<u32>,
}

impl ServerBody {
    pub(super) fn into_domain(self) -> Result<ToolSource, Problem> {
        let limits = limits(self.timeout_seconds, self.max_bytes)?;
        let server = McpServer::new(self.url, auth(self.auth)?, self.allowed_tools, limits);
        server.map(ToolSource::Mcp).map_err(|bad| invalid(&bad.pointer, bad.reason))
    }
}

impl From<&McpServer> for ServerBody {
    fn from(server: &McpServer) -> Self {
        Self {
            url: server.url.clone(),
            auth: server.auth.as_ref().map(Into::into),
            allowed_tools: server.allowed.clone(),
            timeout_seconds: Some(server.limits.seconds()),
            max_bytes: Some(server.limits.bytes()),
        }
    }
}

/// A tool of a server, as it is offered to models.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "McpTool"))]
struct ServedToolView {
    /// What agents list, and models call: the server's name, `__`, and the tool's.
    name: String,
    description: String,
    #[salvo(schema(value_type = Object))]
    parameters: Value,
    /// Whether the server says that a call changes nothing, or nothing more when it is made again.
    safe_to_repeat: bool,
}

/// An MCP server, and what it said of its tools when it was asked last.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "McpServer"))]
pub(super) struct ServerView {
    name: String,
    /// What was declared.
    server: Option<ServerBody>,
    /// The tools that agents may have, as models are shown them until the server is asked again.
    tools: Vec<ServedToolView>,
    /// When it was asked last.
    asked_at: Option<String>,
    /// Why it did not answer then.
    problem: Option<String>,
    created_by: String,
    created_at: String,
    updated_at: String,
    version: u64,
}

impl From<&TenantTool> for ServerView {
    fn from(tool: &TenantTool) -> Self {
        let server = match &tool.source {
            ToolSource::Mcp(server) => Some(server),
            ToolSource::Http(_) | ToolSource::Database(_) => None,
        };
        let listing = server.map(|server| server.listing.clone()).unwrap_or_default();
        let tools = server.into_iter().flat_map(McpServer::offered).map(|served| {
            let spec = McpServer::spec(tool.name.as_str(), served);
            ServedToolView {
                name: spec.name,
                description: spec.description,
                parameters: spec.parameters,
                safe_to_repeat: served.is_safe_to_repeat,
            }
        });
        Self {
            name: tool.name.to_string(),
            tools: tools.collect(),
            server: server.map(Into::into),
            asked_at: listing.asked_at.map(instant),
            problem: listing.problem,
            created_by: tool.created_by.to_string(),
            created_at: instant(tool.created_at),
            updated_at: instant(tool.updated_at),
            version: tool.version,
        }
    }
}

/// A page of servers.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "McpServerPage"))]
pub(super) struct ServerPage {
    pub(super) items: Vec<ServerView>,
    /// Where the next page begins; none when this is the last.
    pub(super) next_cursor: Option<String>,
}
