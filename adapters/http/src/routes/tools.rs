//! Tools, MCP servers and databases that the tenant declares, and where these may reach.

mod databases;
mod egress;
mod http;
mod mcp;
mod views;

use powerhouse_domain::tools::ToolName;
use powerhouse_usecases::tools::{
    ChangeTool, CreateTool, DeleteTool, ImportTools, ListTools, ReadEgressRules, ReadTool, RefreshServer,
    ReplaceEgressRules,
};
use salvo::Router;
use salvo::prelude::Request;

use crate::body::id;
use crate::problem::Problem;

/// What the slice uses.
#[derive(Clone)]
pub struct Tools {
    /// Lists.
    pub list: ListTools,
    /// Reads.
    pub read: ReadTool,
    /// Declares.
    pub create: CreateTool,
    /// Declares what a document describes.
    pub import: ImportTools,
    /// Changes.
    pub change: ChangeTool,
    /// Asks an MCP server for its tools.
    pub refresh: RefreshServer,
    /// Removes.
    pub delete: DeleteTool,
    /// Reads where they may reach.
    pub egress: ReadEgressRules,
    /// Says where they may reach.
    pub replace_egress: ReplaceEgressRules,
}

impl Tools {
    pub(crate) fn guarded(&self) -> Router {
        Router::new()
            .push(http::routes(self))
            .push(mcp::routes(self))
            .push(databases::routes(self))
            .push(egress::routes(self))
    }
}

fn name(req: &Request, parameter: &str, what: &str) -> Result<ToolName, Problem> {
    id(req, parameter, what)
}
