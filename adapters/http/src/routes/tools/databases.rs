//! Databases that the tenant's agents may read.

use powerhouse_domain::tools::{Database, DatabaseTool, SourceKind, TenantTool, Tls, ToolName, ToolSource};
use powerhouse_usecases::tools::{ChangeTool, CreateTool, DeleteTool, ListTools, ReadTool};
use salvo::Router;
use salvo::oapi::{ToSchema, endpoint};
use salvo::prelude::{Depot, Request};
use serde::{Deserialize, Serialize};

use super::views::limits;
use super::{Tools, name};
use crate::body::{field, if_match, invalid, json, page};
use crate::cursor;
use crate::guard::principal;
use crate::idempotency::{answer, once};
use crate::problem::Problem;
use crate::reply::{NoContent, Reply, instant};

const KIND: SourceKind = SourceKind::Database;

pub(super) fn routes(slice: &Tools) -> Router {
    let one = Router::with_path("{database_name}")
        .get(GetDatabase(slice.read.clone()))
        .put(PutDatabase(slice.change.clone()))
        .delete(RemoveDatabase(slice.delete.clone()));
    Router::with_path("databases")
        .get(GetDatabases(slice.list.clone()))
        .post(PostDatabase(slice.create.clone()))
        .push(one)
}

/// A PostgreSQL database. It is asked in transactions that only read; give it a user that may read, and nothing more.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[salvo(schema(name = "DatabaseDeclaration"))]
struct DatabaseBody {
    /// What is in it, for models: at most 1,024 characters.
    #[serde(default)]
    #[salvo(schema(example = "Orders and customers since 2019"))]
    description: String,
    /// Its server, by name or address.
    #[salvo(schema(example = "db.example.org"))]
    host: String,
    /// 5432 when left out.
    #[serde(default = "usual_port")]
    port: u16,
    /// Its name there.
    #[salvo(schema(example = "sales"))]
    database: String,
    /// As whom it is asked.
    #[salvo(schema(example = "reporting"))]
    user: String,
    /// The secret that is the password, by its name at `/v1/secrets`. It may be put in later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[salvo(schema(example = "sales-password"))]
    password: Option<String>,
    /// `verified`, when left out; or `off`, for hosts that the operator answers for.
    #[serde(default = "usual_tls")]
    tls: String,
    /// Certificates of those who may vouch for the server, as PEM, in the place of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificates: Option<String>,
    /// The schemas that are shown, and in which names are looked for: 1 to 20, `public` when left out.
    #[serde(default = "usual_schemas")]
    schemas: Vec<String>,
    /// The most rows that a query gives: 1 to 1,000, 200 when left out.
    #[serde(default)]
    max_rows: Option<u32>,
    /// How long a call may take: 1 to 120, 20 when left out.
    #[serde(default)]
    timeout_seconds: Option<u32>,
    /// How much of an answer is kept: 1 to 262,144, 65,536 when left out.
    #[serde(default)]
    max_bytes: Option<u32>,
}

const fn usual_port() -> u16 {
    5432
}

fn usual_tls() -> String {
    Tls::Verified.to_string()
}

fn usual_schemas() -> Vec<String> {
    vec!["public".to_owned()]
}

impl DatabaseBody {
    fn into_domain(self) -> Result<ToolSource, Problem> {
        let database = Database {
            description: self.description,
            host: self.host,
            port: self.port,
            database: self.database,
            user: self.user,
            password: self.password.map(|name| field("/password", &name)).transpose()?,
            tls: field("/tls", &self.tls)?,
            certificates: self.certificates,
            schemas: self.schemas,
            rows: self.max_rows.unwrap_or(Database::USUAL_ROWS),
            limits: limits(self.timeout_seconds, self.max_bytes)?,
        };
        database.checked().map(ToolSource::Database).map_err(|bad| invalid(&bad.pointer, bad.reason))
    }
}

impl From<&Database> for DatabaseBody {
    fn from(database: &Database) -> Self {
        Self {
            description: database.description.clone(),
            host: database.host.clone(),
            port: database.port,
            database: database.database.clone(),
            user: database.user.clone(),
            password: database.password.as_ref().map(ToString::to_string),
            tls: database.tls.to_string(),
            certificates: database.certificates.clone(),
            schemas: database.schemas.clone(),
            max_rows: Some(database.rows),
            timeout_seconds: Some(database.limits.seconds()),
            max_bytes: Some(database.limits.bytes()),
        }
    }
}

/// A database, and the tools that agents may list.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Database"))]
struct DatabaseView {
    name: String,
    /// What was declared.
    database: Option<DatabaseBody>,
    /// What agents list, and models call: one shows what is in it, one executes a query.
    tools: Vec<String>,
    created_by: String,
    created_at: String,
    updated_at: String,
    version: u64,
}

impl From<&TenantTool> for DatabaseView {
    fn from(tool: &TenantTool) -> Self {
        let database = match &tool.source {
            ToolSource::Database(database) => Some(database),
            ToolSource::Http(_) | ToolSource::Mcp(_) => None,
        };
        let spec =
            |kind: &DatabaseTool| database.map(|database| database.spec(tool.name.as_str(), *kind).name);
        Self {
            name: tool.name.to_string(),
            database: database.map(Into::into),
            tools: DatabaseTool::ALL.iter().filter_map(spec).collect(),
            created_by: tool.created_by.to_string(),
            created_at: instant(tool.created_at),
            updated_at: instant(tool.updated_at),
            version: tool.version,
        }
    }
}

/// A page of databases.
#[derive(Debug, Serialize, ToSchema)]
struct DatabasePage {
    items: Vec<DatabaseView>,
    /// Where the next page begins; none when this is the last.
    next_cursor: Option<String>,
}

/// A new database.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewDatabase {
    /// What its tools' names begin with: 1 to 48 lower-case letters, digits and single `_`.
    #[salvo(schema(example = "sales"))]
    name: String,
    database: DatabaseBody,
}

fn created(database: &TenantTool) -> Reply<DatabaseView> {
    Reply::created(format!("/v1/databases/{}", database.name), DatabaseView::from(database))
        .version(database.version)
}

fn reply(database: &TenantTool) -> Reply<DatabaseView> {
    Reply::ok(DatabaseView::from(database)).version(database.version)
}

fn database_name(req: &Request) -> Result<ToolName, Problem> {
    name(req, "database_name", "database")
}

struct GetDatabases(ListTools);

/// A page of the tenant's databases by their names
#[endpoint(operation_id = "list_databases", tags("tools"), security(["bearer" = []]),
    parameters(("limit" = Option<u16>, Query, description = "1 to 100, 20 by default"),
               ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status_code = 200, description = "A page.", body = DatabasePage)))]
impl GetDatabases {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<DatabasePage>, Problem> {
        let (after, limit) = page(req)?;
        let page = self.0.execute(principal(depot)?, KIND, after, limit).await?;
        let items = page.items.iter().map(Into::into).collect();
        Ok(Reply::ok(DatabasePage { items, next_cursor: page.next.as_ref().map(cursor::encode) }))
    }
}

struct PostDatabase(CreateTool);

/// Declare a database that agents may read
///
/// Nobody connects to it before an agent asks.
#[endpoint(operation_id = "create_database", tags("tools"), security(["bearer" = []]), request_body = NewDatabase,
    responses((status_code = 201, description = "The database.", body = DatabaseView)))]
impl PostDatabase {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<DatabaseView>, Problem> {
        let NewDatabase { name, database } = json(req).await?;
        let source = database.into_domain().map_err(|problem| problem.below("/database"))?;
        let name = field("/name", &name)?;
        let done = self.0.execute(principal(depot)?, name, source, &once(depot, created)).await;
        answer(done.map_err(|refused| refused.below("/database", "/name")), created)
    }
}

struct GetDatabase(ReadTool);

/// A database
#[endpoint(operation_id = "get_database", tags("tools"), security(["bearer" = []]),
    parameters(("database_name" = String, Path, description = "The database's name")),
    responses((status_code = 200, description = "The database.", body = DatabaseView)))]
impl GetDatabase {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<DatabaseView>, Problem> {
        Ok(reply(&self.0.execute(principal(depot)?, database_name(req)?, KIND).await?))
    }
}

struct PutDatabase(ChangeTool);

/// Declare a database anew
#[endpoint(operation_id = "update_database", tags("tools"), security(["bearer" = []]), request_body = DatabaseBody,
    parameters(("database_name" = String, Path, description = "The database's name"),
               ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status_code = 200, description = "The database as changed.", body = DatabaseView)))]
impl PutDatabase {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<DatabaseView>, Problem> {
        let (name, version) = (database_name(req)?, if_match(req)?);
        let body: DatabaseBody = json(req).await?;
        Ok(reply(&self.0.execute(principal(depot)?, name, version, body.into_domain()?).await?))
    }
}

struct RemoveDatabase(DeleteTool);

/// Remove a database; agents that list its tools do without from then on
#[endpoint(operation_id = "delete_database", tags("tools"), security(["bearer" = []]),
    parameters(("database_name" = String, Path, description = "The database's name"),
               ("If-Match" = Option<String>, Header, description = "The ETag that was read")))]
impl RemoveDatabase {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<NoContent, Problem> {
        let (name, version) = (database_name(req)?, if_match(req)?);
        self.0.execute(principal(depot)?, name, KIND, version).await?;
        Ok(NoContent)
    }
}
