//! Tools that tenants declare: one request by HTTP, a tool of an MCP server, or a database that is read. All go out by one
//! guard, with the tenant's own rules on top, and with secrets that are put in as a request leaves.

mod database;
mod http;
mod mask;
mod mcp;
mod request;
mod schema;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use powerhouse_domain::access::TenantScope;
use powerhouse_domain::ids::TenantId;
use powerhouse_domain::tools::{
    BadTool, Database, DatabaseTool, EgressRules, HttpTool, McpServer, McpTool, ToolName,
};
use powerhouse_egress::{Failure, Guarded, Hosts, Sockets, Timeouts};
use powerhouse_ports::secrets::SecretReader;
use powerhouse_ports::tools::{Tool, ToolMaker, Unreachable};
use serde_json::Value;
use url::Url;

/// No call may take longer, whatever its declaration says.
const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(5), total: Duration::from_mins(2) };
/// The most bytes of a document that is fetched.
const MAX_DOCUMENT: usize = 4 * 1024 * 1024;
/// How long a document may take.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(20);

/// What the tools share.
struct Outside {
    guarded: Guarded,
    sockets: Sockets,
    secrets: Arc<dyn SecretReader>,
    /// How servers are verified by whom the system trusts. Made when it is first wanted: it reads files.
    verified: OnceLock<Arc<rustls::ClientConfig>>,
}

/// Why a host may not be reached, as far as the tenant is concerned.
const NOT_LISTED: &str = "the host is not on the tenant's list of hosts: see /v1/egress-rules";

impl Outside {
    fn new(guarded: Guarded, sockets: Sockets, secrets: Arc<dyn SecretReader>) -> Self {
        Self { guarded, sockets, secrets, verified: OnceLock::new() }
    }

    /// A URL that this tenant's tools may ask for.
    fn checked(&self, url: &str, rules: &EgressRules) -> Result<Url, String> {
        let url = self.guarded.checked(url).map_err(|failure| failure.to_string())?;
        if !rules.allow(url.host_str().unwrap_or_default()) {
            return Err(NOT_LISTED.to_owned());
        }
        Ok(url)
    }
}

/// Makes tools of what tenants have declared.
pub struct TenantTools {
    outside: Arc<Outside>,
    /// The same for tenants that may reach hosts which others may not.
    wider: BTreeMap<TenantId, Arc<Outside>>,
}

impl TenantTools {
    /// Tools that reach public addresses with TLS, and hosts that the operator answers for: to every tenant, and to some.
    pub fn new(
        trusted: &Hosts,
        for_tenants: BTreeMap<TenantId, Hosts>,
        secrets: &Arc<dyn SecretReader>,
    ) -> reqwest::Result<Self> {
        let outside = |hosts: Hosts| {
            let guarded = Guarded::new(hosts.clone(), TIMEOUTS)?;
            reqwest::Result::Ok(Arc::new(Outside::new(guarded, Sockets::new(hosts), Arc::clone(secrets))))
        };
        let wider = for_tenants.into_iter().map(|(tenant, own)| Ok((tenant, outside(trusted.and(&own))?)));
        Ok(Self { outside: outside(trusted.clone())?, wider: wider.collect::<reqwest::Result<_>>()? })
    }

    #[cfg(test)]
    fn through(guarded: Guarded, sockets: Sockets, secrets: Arc<dyn SecretReader>) -> Self {
        Self { outside: Arc::new(Outside::new(guarded, sockets, secrets)), wider: BTreeMap::new() }
    }

    fn outside(&self, scope: &TenantScope) -> &Arc<Outside> {
        self.wider.get(&scope.tenant_id()).unwrap_or(&self.outside)
    }
}

#[async_trait]
impl ToolMaker for TenantTools {
    fn check_url(&self, scope: &TenantScope, url: &str, rules: &EgressRules) -> Result<(), Unreachable> {
        // What stands for an argument is no part of the host.
        let url = url.replace(['{', '}'], "x");
        self.outside(scope).checked(&url, rules).map(drop).map_err(Unreachable)
    }

    fn check_schema(&self, schema: &Value) -> Result<(), String> {
        schema::compiled(schema).map(drop)
    }

    fn http(
        &self,
        scope: &TenantScope,
        name: &ToolName,
        tool: &HttpTool,
        rules: &EgressRules,
    ) -> Arc<dyn Tool> {
        let (outside, scope, rules) = (Arc::clone(self.outside(scope)), *scope, rules.clone());
        Arc::new(http::DeclaredTool { outside, scope, rules, name: name.clone(), tool: tool.clone() })
    }

    fn mcp(
        &self,
        scope: &TenantScope,
        name: &ToolName,
        server: &McpServer,
        tool: &McpTool,
        rules: &EgressRules,
    ) -> Arc<dyn Tool> {
        let at = mcp::Connection::new(self.outside(scope), scope, server, rules);
        Arc::new(mcp::ServedTool { at, server: name.clone(), tool: tool.clone() })
    }

    fn check_database(
        &self,
        scope: &TenantScope,
        database: &Database,
        rules: &EgressRules,
    ) -> Result<(), BadTool> {
        database::check(self.outside(scope), database, rules)
    }

    fn database(
        &self,
        scope: &TenantScope,
        name: &ToolName,
        database: &Database,
        tool: DatabaseTool,
        rules: &EgressRules,
    ) -> Arc<dyn Tool> {
        let (outside, scope, rules) = (Arc::clone(self.outside(scope)), *scope, rules.clone());
        Arc::new(database::ReadTool {
            outside,
            scope,
            rules,
            name: name.clone(),
            database: database.clone(),
            tool,
        })
    }

    async fn tools_of(
        &self,
        scope: &TenantScope,
        server: &McpServer,
        rules: &EgressRules,
    ) -> Result<Vec<McpTool>, Unreachable> {
        mcp::Connection::new(self.outside(scope), scope, server, rules).tools().await.map_err(Unreachable)
    }

    async fn document(
        &self,
        scope: &TenantScope,
        url: &str,
        rules: &EgressRules,
    ) -> Result<String, Unreachable> {
        let outside = self.outside(scope);
        let url = outside.checked(url, rules).map_err(Unreachable)?;
        let fetched = async {
            let failed = |error: reqwest::Error| Failure::from(&error).to_string();
            let mut response = outside.guarded.client().get(url).send().await.map_err(failed)?;
            if !response.status().is_success() {
                return Err(format!("the endpoint answered {}", response.status().as_u16()));
            }
            let (bytes, cut) = powerhouse_egress::read(&mut response, MAX_DOCUMENT).await.map_err(failed)?;
            if cut {
                return Err(format!("the document is longer than {MAX_DOCUMENT} bytes"));
            }
            String::from_utf8(bytes).map_err(|_| "the document is no text".to_owned())
        };
        let fetched = tokio::time::timeout(DOCUMENT_TIMEOUT, fetched).await;
        fetched.unwrap_or_else(|_| Err("the endpoint did not answer in time".to_owned())).map_err(Unreachable)
    }
}

#[cfg(test)]
mod tests;
