//! Servers of the Model Context Protocol.

use powerhouse_domain::tools::{SourceKind, TenantTool, ToolName};
use powerhouse_usecases::tools::{ChangeTool, CreateTool, DeleteTool, ListTools, ReadTool, RefreshServer};
use salvo::Router;
use salvo::oapi::{ToSchema, endpoint};
use salvo::prelude::{Depot, Request};
use serde::Deserialize;

use super::views::{ServerBody, ServerPage, ServerView};
use super::{Tools, name};
use crate::body::{field, if_match, json, page};
use crate::cursor;
use crate::guard::principal;
use crate::idempotency::{answer, once};
use crate::problem::Problem;
use crate::reply::{NoContent, Reply};

const KIND: SourceKind = SourceKind::Mcp;

pub(super) fn routes(slice: &Tools) -> Router {
    let one = Router::with_path("{server_name}")
        .get(GetServer(slice.read.clone()))
        .put(PutServer(slice.change.clone()))
        .delete(RemoveServer(slice.delete.clone()))
        .push(Router::with_path("refresh").post(PostRefresh(slice.refresh.clone())));
    Router::with_path("mcp-servers")
        .get(GetServers(slice.list.clone()))
        .post(PostServer(slice.create.clone()))
        .push(one)
}

/// A new server.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewServer {
    /// What its tools' names begin with: 1 to 48 lower-case letters, digits and single `_`.
    #[salvo(schema(example = "crm"))]
    name: String,
    server: ServerBody,
}

fn created(server: &TenantTool) -> Reply<ServerView> {
    Reply::created(format!("/v1/mcp-servers/{}", server.name), ServerView::from(server))
        .version(server.version)
}

fn reply(server: &TenantTool) -> Reply<ServerView> {
    Reply::ok(ServerView::from(server)).version(server.version)
}

fn server_name(req: &Request) -> Result<ToolName, Problem> {
    name(req, "server_name", "MCP server")
}

struct GetServers(ListTools);

/// A page of the tenant's MCP servers by their names
#[endpoint(operation_id = "list_mcp_servers", tags("tools"), security(["bearer" = []]),
    parameters(("limit" = Option<u16>, Query, description = "1 to 100, 20 by default"),
               ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status_code = 200, description = "A page.", body = ServerPage)))]
impl GetServers {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<ServerPage>, Problem> {
        let (after, limit) = page(req)?;
        let page = self.0.execute(principal(depot)?, KIND, after, limit).await?;
        let items = page.items.iter().map(Into::into).collect();
        Ok(Reply::ok(ServerPage { items, next_cursor: page.next.as_ref().map(cursor::encode) }))
    }
}

struct PostServer(CreateTool);

/// Declare an MCP server, which is asked for its tools at once
///
/// A server that does not answer is declared all the same, and `problem` says why.
#[endpoint(operation_id = "create_mcp_server", tags("tools"), security(["bearer" = []]), request_body = NewServer,
    responses((status_code = 201, description = "The server.", body = ServerView)))]
impl PostServer {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<ServerView>, Problem> {
        let NewServer { name, server } = json(req).await?;
        let source = server.into_domain().map_err(|problem| problem.below("/server"))?;
        let name = field("/name", &name)?;
        let done = self.0.execute(principal(depot)?, name, source, &once(depot, created)).await;
        answer(done.map_err(|refused| refused.below("/server", "/name")), created)
    }
}

struct GetServer(ReadTool);

/// An MCP server, with its tools
#[endpoint(operation_id = "get_mcp_server", tags("tools"), security(["bearer" = []]),
    parameters(("server_name" = String, Path, description = "The server's name")),
    responses((status_code = 200, description = "The server.", body = ServerView)))]
impl GetServer {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<ServerView>, Problem> {
        Ok(reply(&self.0.execute(principal(depot)?, server_name(req)?, KIND).await?))
    }
}

struct PutServer(ChangeTool);

/// Declare an MCP server anew; one that is somewhere else is to be refreshed
#[endpoint(operation_id = "update_mcp_server", tags("tools"), security(["bearer" = []]), request_body = ServerBody,
    parameters(("server_name" = String, Path, description = "The server's name"),
               ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status_code = 200, description = "The server as changed.", body = ServerView)))]
impl PutServer {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<ServerView>, Problem> {
        let (name, version) = (server_name(req)?, if_match(req)?);
        let body: ServerBody = json(req).await?;
        Ok(reply(&self.0.execute(principal(depot)?, name, version, body.into_domain()?).await?))
    }
}

struct PostRefresh(RefreshServer);

/// Ask an MCP server for its tools; when it does not answer, those of before stay, and `problem` says why
#[endpoint(operation_id = "refresh_mcp_server", tags("tools"), security(["bearer" = []]),
    parameters(("server_name" = String, Path, description = "The server's name")),
    responses((status_code = 200, description = "The server.", body = ServerView)))]
impl PostRefresh {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<ServerView>, Problem> {
        let (name, once) = (server_name(req)?, once(depot, reply));
        answer(self.0.execute(principal(depot)?, name, &once).await, reply)
    }
}

struct RemoveServer(DeleteTool);

/// Remove an MCP server; agents that list its tools do without from then on
#[endpoint(operation_id = "delete_mcp_server", tags("tools"), security(["bearer" = []]),
    parameters(("server_name" = String, Path, description = "The server's name"),
               ("If-Match" = Option<String>, Header, description = "The ETag that was read")))]
impl RemoveServer {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<NoContent, Problem> {
        let (name, version) = (server_name(req)?, if_match(req)?);
        self.0.execute(principal(depot)?, name, KIND, version).await?;
        Ok(NoContent)
    }
}
