//! Tools by HTTP.

use powerhouse_domain::tools::openapi::Import;
use powerhouse_domain::tools::{SourceKind, TenantTool, ToolName};
use powerhouse_usecases::tools::{
    ChangeTool, CreateTool, DeleteTool, Document, ImportTools, ListTools, ReadTool,
};
use salvo::Router;
use salvo::oapi::{ToSchema, endpoint};
use salvo::prelude::{Depot, Request};
use serde::Deserialize;
use serde_json::Value;

use super::views::{AuthBody, HttpToolBody, ImportedTools, ToolPage, ToolView, auth, limits};
use super::{Tools, name};
use crate::body::{field, if_match, invalid, json, page};
use crate::cursor;
use crate::guard::principal;
use crate::idempotency::{answer, once};
use crate::problem::Problem;
use crate::reply::{NoContent, Reply};

const KIND: SourceKind = SourceKind::Http;

pub(super) fn routes(slice: &Tools) -> Router {
    let one = Router::with_path("{tool_name}")
        .get(GetTool(slice.read.clone()))
        .put(PutTool(slice.change.clone()))
        .delete(RemoveTool(slice.delete.clone()));
    Router::with_path("tools")
        .get(GetTools(slice.list.clone()))
        .post(PostTool(slice.create.clone()))
        .push(Router::with_path("import").post(PostImport(slice.import.clone())))
        .push(one)
}

/// A new tool.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewTool {
    /// What agents list and models call: 1 to 48 lower-case letters, digits and single `_`.
    #[salvo(schema(example = "crm_find_person"))]
    name: String,
    tool: HttpToolBody,
}

/// Operations of an OpenAPI document, each of which becomes a tool.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewImport {
    /// The document: OpenAPI 3.0 or 3.1, as JSON. This, or `document_url`.
    #[serde(default)]
    #[salvo(schema(value_type = Option<Object>))]
    document: Option<Value>,
    /// Where the document is.
    #[serde(default)]
    document_url: Option<String>,
    /// The `operationId` of each operation that is to be a tool: 1 to 50.
    operations: Vec<String>,
    /// The base of every path, instead of the document's own.
    #[serde(default)]
    server: Option<String>,
    /// What every tool's name begins with, before an underscore.
    #[serde(default)]
    prefix: Option<String>,
    #[serde(default)]
    auth: Option<AuthBody>,
    /// How long a call may take: 1 to 120, 20 when left out.
    #[serde(default)]
    timeout_seconds: Option<u32>,
    /// How much of an answer is read: 1 to 262,144, 65,536 when left out.
    #[serde(default)]
    max_bytes: Option<u32>,
}

fn created(tool: &TenantTool) -> Reply<ToolView> {
    Reply::created(format!("/v1/tools/{}", tool.name), ToolView::from(tool)).version(tool.version)
}

#[expect(clippy::ptr_arg, reason = "what is kept for a key is shown by a function of its type")]
fn imported(tools: &Vec<TenantTool>) -> Reply<ImportedTools> {
    let items = tools.iter().map(Into::into).collect();
    Reply::created("/v1/tools".to_owned(), ImportedTools { items })
}

fn tool_name(req: &Request) -> Result<ToolName, Problem> {
    name(req, "tool_name", "tool")
}

struct GetTools(ListTools);

/// A page of the tenant's tools by their names
#[endpoint(operation_id = "list_tools", tags("tools"), security(["bearer" = []]),
    parameters(("limit" = Option<u16>, Query, description = "1 to 100, 20 by default"),
               ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status_code = 200, description = "A page.", body = ToolPage)))]
impl GetTools {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<ToolPage>, Problem> {
        let (after, limit) = page(req)?;
        let page = self.0.execute(principal(depot)?, KIND, after, limit).await?;
        let items = page.items.iter().map(Into::into).collect();
        Ok(Reply::ok(ToolPage { items, next_cursor: page.next.as_ref().map(cursor::encode) }))
    }
}

struct PostTool(CreateTool);

/// Declare a tool that is one request by HTTP
#[endpoint(operation_id = "create_tool", tags("tools"), security(["bearer" = []]), request_body = NewTool,
    responses((status_code = 201, description = "The tool.", body = ToolView)))]
impl PostTool {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<ToolView>, Problem> {
        let NewTool { name, tool } = json(req).await?;
        let (name, source) =
            (field("/name", &name)?, tool.into_domain().map_err(|problem| problem.below("/tool"))?);
        let done = self.0.execute(principal(depot)?, name, source, &once(depot, created)).await;
        answer(done.map_err(|refused| refused.below("/tool", "/name")), created)
    }
}

struct PostImport(ImportTools);

/// Declare a tool for each of some operations of an OpenAPI document, or for none
#[endpoint(operation_id = "import_tools", tags("tools"), security(["bearer" = []]), request_body = NewImport,
    responses((status_code = 201, description = "The tools.", body = ImportedTools)))]
impl PostImport {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<ImportedTools>, Problem> {
        let body: NewImport = json(req).await?;
        let document = match (body.document, body.document_url) {
            (Some(document), None) => Document::Inline(document),
            (None, Some(url)) => Document::At(url),
            _ => return Err(invalid("/document", "give the document, or its URL as `document_url`")),
        };
        let import = Import {
            server: body.server,
            prefix: body.prefix,
            auth: auth(body.auth)?,
            limits: limits(body.timeout_seconds, body.max_bytes)?,
        };
        let once = once(depot, imported);
        answer(self.0.execute(principal(depot)?, document, &body.operations, &import, &once).await, imported)
    }
}

struct GetTool(ReadTool);

/// A tool
#[endpoint(operation_id = "get_tool", tags("tools"), security(["bearer" = []]),
    parameters(("tool_name" = String, Path, description = "The tool's name")),
    responses((status_code = 200, description = "The tool.", body = ToolView)))]
impl GetTool {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<ToolView>, Problem> {
        let tool = self.0.execute(principal(depot)?, tool_name(req)?, KIND).await?;
        Ok(Reply::ok(ToolView::from(&tool)).version(tool.version))
    }
}

struct PutTool(ChangeTool);

/// Declare a tool anew; calls that are begun from then on go by it
#[endpoint(operation_id = "update_tool", tags("tools"), security(["bearer" = []]), request_body = HttpToolBody,
    parameters(("tool_name" = String, Path, description = "The tool's name"),
               ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status_code = 200, description = "The tool as changed.", body = ToolView)))]
impl PutTool {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<ToolView>, Problem> {
        let (name, version) = (tool_name(req)?, if_match(req)?);
        let body: HttpToolBody = json(req).await?;
        let tool = self.0.execute(principal(depot)?, name, version, body.into_domain()?).await?;
        Ok(Reply::ok(ToolView::from(&tool)).version(tool.version))
    }
}

struct RemoveTool(DeleteTool);

/// Remove a tool; agents that list it do without from then on
#[endpoint(operation_id = "delete_tool", tags("tools"), security(["bearer" = []]),
    parameters(("tool_name" = String, Path, description = "The tool's name"),
               ("If-Match" = Option<String>, Header, description = "The ETag that was read")))]
impl RemoveTool {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<NoContent, Problem> {
        let (name, version) = (tool_name(req)?, if_match(req)?);
        self.0.execute(principal(depot)?, name, KIND, version).await?;
        Ok(NoContent)
    }
}
