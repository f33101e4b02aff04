//! A tool that is one request by HTTP.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use powerhouse_domain::access::TenantScope;
use powerhouse_domain::idempotency::CallKey;
use powerhouse_domain::secrets::{SecretName, SecretValue};
use powerhouse_domain::tools::{Auth, EgressRules, HttpMethod, HttpTool, ToolName, ToolOutput, ToolSpec};
use powerhouse_egress::Failure;
use powerhouse_ports::Chain;
use powerhouse_ports::secrets::{SecretReader, SecretUnreadable};
use powerhouse_ports::tools::Tool;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, Request, Response};
use serde_json::Value;

use super::request::{Prepared, prepared};
use super::{Outside, mask, schema};
use crate::http_get::{IDEMPOTENCY_KEY, TextType};

pub(super) struct DeclaredTool {
    pub(super) outside: Arc<Outside>,
    pub(super) scope: TenantScope,
    pub(super) rules: EgressRules,
    pub(super) name: ToolName,
    pub(super) tool: HttpTool,
}

/// Opens the secret of a tool, for the request that is about to leave.
pub(super) async fn opened(
    reader: &dyn SecretReader,
    scope: &TenantScope,
    auth: &Auth,
) -> Result<SecretValue, String> {
    read_secret(reader, scope, auth.secret()).await
}

/// Opens a secret of the tenant's by its name.
pub(super) async fn read_secret(
    reader: &dyn SecretReader,
    scope: &TenantScope,
    name: &SecretName,
) -> Result<SecretValue, String> {
    reader.read(scope, name).await.map_err(|error| {
        if let SecretUnreadable::Unavailable { .. } = &error {
            tracing::error!(error = %Chain(&error), "a secret cannot be opened");
        }
        error.to_string()
    })
}

/// A header's value that is logged by nobody.
pub(super) fn hidden(auth: &Auth, text: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| format!("the secret `{}` has characters that no header can have", auth.secret()))?;
    value.set_sensitive(true);
    Ok(value)
}

impl DeclaredTool {
    async fn sent(&self, key: &CallKey, arguments: &Value) -> Result<ToolOutput, String> {
        let made = prepared(&self.tool, arguments)?;
        let mut request = self.request(made)?;
        if self.tool.method != HttpMethod::Get {
            let value = HeaderValue::from_str(key.as_str()).map_err(|error| error.to_string())?;
            request.headers_mut().insert(IDEMPOTENCY_KEY, value);
        }
        let secret = match &self.tool.auth {
            None => None,
            Some(auth) => {
                let value = opened(&*self.outside.secrets, &self.scope, auth).await?;
                authorize(&mut request, auth, &value)?;
                Some((auth.secret(), value))
            }
        };
        let failed = |error: reqwest::Error| Failure::from(&error).to_string();
        let mut response = self.outside.guarded.client().execute(request).await.map_err(failed)?;
        let output = self.output(&mut response).await?;
        Ok(match secret {
            None => output,
            Some((name, value)) => {
                ToolOutput { content: mask::masked(output.content, name, &value), ..output }
            }
        })
    }

    fn request(&self, made: Prepared) -> Result<Request, String> {
        let Prepared { url: text, headers, body } = made;
        let url = self.outside.checked(&text, &self.rules)?;
        // What the URL's rules would have made of a dot or a backslash is not what was declared.
        if !text.starts_with(url[..url::Position::BeforePath].trim_end_matches('/'))
            || text
                .split(['?', '#'])
                .next()
                .is_none_or(|before| !before.ends_with(url.path().trim_end_matches('/')))
        {
            return Err("an argument does not fit its place in the URL".to_owned());
        }
        let method =
            Method::from_bytes(self.tool.method.as_str().as_bytes()).map_err(|error| error.to_string())?;
        let mut request = Request::new(method, url);
        for (name, value) in headers {
            let invalid =
                |_| format!("the argument for the header `{name}` has characters that no header can have");
            let value = HeaderValue::from_str(&value).map_err(invalid)?;
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
            request.headers_mut().insert(name, value);
        }
        if let Some(body) = body {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.body_mut() = Some(body.to_string().into());
        }
        Ok(request)
    }

    async fn output(&self, response: &mut Response) -> Result<ToolOutput, String> {
        let status = response.status();
        if status.is_redirection() {
            return Err(format!("the endpoint sends elsewhere ({}), which is not followed", status.as_u16()));
        }
        let text_type = TextType::of(response.headers());
        let most = usize::try_from(self.tool.limits.bytes()).unwrap_or(usize::MAX);
        let limit = if text_type.is_some() { most } else { 0 };
        let failed = |error: reqwest::Error| Failure::from(&error).to_string();
        let (bytes, cut) = powerhouse_egress::read(response, limit).await.map_err(failed)?;
        let body = match text_type {
            Some(text_type) => {
                let note =
                    if cut { format!("The body was cut after {limit} bytes.\n") } else { String::new() };
                format!("content type: {}\n{note}\n{}", text_type.essence, text_type.decode(&bytes))
            }
            None if cut => "The body is neither text nor JSON nor XML, and is not shown.\n".to_owned(),
            None => "The body is empty.\n".to_owned(),
        };
        let is_error = status.is_client_error() || status.is_server_error();
        Ok(ToolOutput { content: format!("status: {}\n{body}", status.as_u16()), is_error, used: None })
    }
}

/// Puts the secret into the request.
fn authorize(request: &mut Request, auth: &Auth, value: &SecretValue) -> Result<(), String> {
    match auth {
        Auth::Bearer { .. } => {
            let text = zeroize::Zeroizing::new(format!("Bearer {}", value.expose()));
            request.headers_mut().insert(AUTHORIZATION, hidden(auth, &text)?);
        }
        Auth::Header { name, .. } => {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
            request.headers_mut().insert(name, hidden(auth, value.expose())?);
        }
        Auth::Query { name, .. } => {
            request.url_mut().query_pairs_mut().append_pair(name, value.expose());
        }
    }
    Ok(())
}

#[async_trait]
impl Tool for DeclaredTool {
    fn spec(&self) -> ToolSpec {
        self.tool.spec(self.name.as_str())
    }

    fn is_safe_to_repeat(&self) -> bool {
        self.tool.safe_to_repeat
    }

    async fn call(&self, key: &CallKey, arguments: &Value) -> ToolOutput {
        if let Err(mistakes) = schema::check(&self.tool.parameters, arguments) {
            return ToolOutput::error(mistakes);
        }
        let limit = Duration::from_secs(self.tool.limits.seconds().into());
        match tokio::time::timeout(limit, self.sent(key, arguments)).await {
            Ok(Ok(output)) => output,
            Ok(Err(why)) => ToolOutput::error(format!("The call came to nothing: {why}.")),
            Err(_) => ToolOutput::error(format!(
                "The endpoint did not answer within {} seconds; what was asked for may have been done all the same.",
                limit.as_secs()
            )),
        }
    }
}
