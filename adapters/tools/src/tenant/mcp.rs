//! Tools of MCP servers, by streamable HTTP: each listing and each call in a session of its own, through the guarded client.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use powerhouse_domain::access::TenantScope;
use powerhouse_domain::idempotency::CallKey;
use powerhouse_domain::secrets::{SecretName, SecretValue};
use powerhouse_domain::tools::{Auth, EgressRules, McpServer, McpTool, ToolName, ToolOutput, ToolSpec};
use powerhouse_ports::tools::Tool;
use reqwest::header::HeaderName;
use rmcp::RoleClient;
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ContentBlock, PaginatedRequestParams, Tool as Described,
};
use rmcp::service::{RunningService, ServiceError, ServiceExt as _};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::common::client_side_sse::NeverRetry;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::Value;

use super::http::{hidden, opened};
use super::{Outside, mask};

/// The most pages of a listing that are asked for.
const MAX_PAGES: usize = 20;
/// How long a listing may take.
const LISTING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a session may take to be closed.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(2);
/// How much longer an answer may be than what is kept of it: it is wrapped and escaped.
const WRAPPING: usize = 4;

type Session = RunningService<RoleClient, ()>;

/// How a server is reached for a tenant.
pub(super) struct Connection {
    outside: Arc<Outside>,
    scope: TenantScope,
    server: McpServer,
    rules: EgressRules,
}

impl Connection {
    pub(super) fn new(
        outside: &Arc<Outside>,
        scope: &TenantScope,
        server: &McpServer,
        rules: &EgressRules,
    ) -> Self {
        // What it has said of its tools is of no use here.
        let server = McpServer { listing: powerhouse_domain::tools::Listing::default(), ..server.clone() };
        Self { outside: Arc::clone(outside), scope: *scope, server, rules: rules.clone() }
    }

    /// Opens a session, and the secret that it was opened with.
    async fn open(&self) -> Result<(Session, Option<(SecretName, SecretValue)>), String> {
        let url = self.outside.checked(&self.server.url, &self.rules)?;
        let mut config = StreamableHttpClientTransportConfig::with_uri(url.as_str());
        config.retry_config = Arc::new(NeverRetry::default());
        config.allow_stateless = true;
        let most = usize::try_from(self.server.limits.bytes()).unwrap_or(usize::MAX).saturating_mul(WRAPPING);
        config.max_json_response_size = most.max(1024 * 1024);
        config.max_sse_event_size = config.max_json_response_size;
        let mut secret = None;
        if let Some(auth) = &self.server.auth {
            let value = opened(&*self.outside.secrets, &self.scope, auth).await?;
            match auth {
                Auth::Bearer { .. } => {
                    hidden(auth, value.expose())?;
                    config.auth_header = Some(value.expose().to_owned());
                }
                Auth::Header { name, .. } => {
                    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
                    config.custom_headers = HashMap::from([(name, hidden(auth, value.expose())?)]);
                }
                Auth::Query { .. } => return Err("an MCP server takes no secret in the query".to_owned()),
            }
            secret = Some((auth.secret().clone(), value));
        }
        let transport =
            StreamableHttpClientTransport::with_client(self.outside.guarded.client().clone(), config);
        let session = ().serve(transport).await.map_err(|error| refusal(&error))?;
        Ok((session, secret))
    }

    /// What the server says of its tools now. What cannot be offered to a model is left out.
    pub(super) async fn tools(&self) -> Result<Vec<McpTool>, String> {
        let asked = async {
            let (session, secret) = self.open().await?;
            let listed = listed(&session).await;
            close(session).await;
            let mut tools = listed.map_err(|error| refusal(&error))?;
            if let Some((name, value)) = &secret {
                for tool in &mut tools {
                    tool.description = mask::masked(std::mem::take(&mut tool.description), name, value);
                }
            }
            Ok(tools)
        };
        tokio::time::timeout(LISTING_TIMEOUT, asked)
            .await
            .unwrap_or_else(|_| Err("the server did not answer in time".to_owned()))
    }

    async fn call(&self, tool: &str, arguments: &Value) -> Result<ToolOutput, String> {
        let (session, secret) = self.open().await?;
        let mut request = CallToolRequestParams::new(tool.to_owned());
        request.arguments = arguments.as_object().cloned();
        let answered = session.peer().call_tool(request).await;
        close(session).await;
        let output = self.output(&answered.map_err(|error| refusal(&error))?);
        Ok(match secret {
            None => output,
            Some((name, value)) => {
                ToolOutput { content: mask::masked(output.content, &name, &value), ..output }
            }
        })
    }

    fn output(&self, result: &CallToolResult) -> ToolOutput {
        let mut content: Vec<String> = result.content.iter().map(shown).collect();
        if content.is_empty()
            && let Some(structured) = &result.structured_content
        {
            content.push(structured.to_string());
        }
        let mut content = content.join("\n");
        let most = usize::try_from(self.server.limits.bytes()).unwrap_or(usize::MAX);
        if content.len() > most {
            content.truncate(content.floor_char_boundary(most));
            content.push_str("\n[cut: the output was longer]");
        }
        ToolOutput { content, is_error: result.is_error == Some(true), used: None }
    }
}

async fn listed(session: &Session) -> Result<Vec<McpTool>, ServiceError> {
    let (mut tools, mut cursor) = (Vec::new(), None);
    for _ in 0..MAX_PAGES {
        let mut page = PaginatedRequestParams::default();
        page.cursor = cursor;
        let listed = session.peer().list_tools(Some(page)).await?;
        tools.extend(listed.tools.iter().filter_map(described));
        cursor = listed.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    Ok(tools)
}

fn described(tool: &Described) -> Option<McpTool> {
    let hints = tool.annotations.as_ref();
    let is_safe_to_repeat =
        hints.is_some_and(|hints| hints.read_only_hint == Some(true) || hints.idempotent_hint == Some(true));
    let parameters = Value::Object((*tool.input_schema).clone());
    McpTool::described(
        &tool.name,
        tool.description.as_deref().unwrap_or_default(),
        parameters,
        is_safe_to_repeat,
    )
}

/// Text as it is; of the rest, what it is.
fn shown(content: &ContentBlock) -> String {
    match content {
        ContentBlock::Text(text) => text.text.clone(),
        ContentBlock::Image(image) => {
            format!("[an image of the type {}, which is not shown]", image.mime_type)
        }
        ContentBlock::Audio(audio) => {
            format!("[a sound of the type {}, which is not shown]", audio.mime_type)
        }
        ContentBlock::Resource(_) => "[a resource, which is not shown]".to_owned(),
        ContentBlock::ResourceLink(link) => format!("[a link to the resource {}]", link.uri),
        _ => "[something that is not shown]".to_owned(),
    }
}

/// Ends a session. A server that does not answer that is left.
async fn close(session: Session) {
    let _ = tokio::time::timeout(CLOSING_TIMEOUT, session.cancel()).await;
}

/// Why a server gave nothing: what it says itself, or else all that it may be. The client's own words are not passed on:
/// they tell what is around here.
fn refusal(error: &(dyn std::error::Error + 'static)) -> String {
    if let Some(ServiceError::McpError(said)) = error.downcast_ref::<ServiceError>() {
        return format!("the server refused: {}", said.message.chars().take(300).collect::<String>());
    }
    "the server cannot be reached, does not speak the Model Context Protocol there, or does not take the secret"
        .to_owned()
}

pub(super) struct ServedTool {
    pub(super) at: Connection,
    pub(super) server: ToolName,
    pub(super) tool: McpTool,
}

#[async_trait]
impl Tool for ServedTool {
    fn spec(&self) -> ToolSpec {
        McpServer::spec(self.server.as_str(), &self.tool)
    }

    fn is_safe_to_repeat(&self) -> bool {
        self.tool.is_safe_to_repeat
    }

    async fn call(&self, _: &CallKey, arguments: &Value) -> ToolOutput {
        let limit = Duration::from_secs(self.at.server.limits.seconds().into());
        match tokio::time::timeout(limit, self.at.call(&self.tool.name, arguments)).await {
            Ok(Ok(output)) => output,
            Ok(Err(why)) => ToolOutput::error(format!("The call came to nothing: {why}.")),
            Err(_) => ToolOutput::error(format!(
                "The server did not answer within {} seconds; what was asked for may have been done all the same.",
                limit.as_secs()
            )),
        }
    }
}
