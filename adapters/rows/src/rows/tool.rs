//! Rows of `tools`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use powerhouse_domain::ids::UserId;
use powerhouse_domain::tools::{
    Auth, Database, HttpTool, Limits, Listing, McpServer, McpTool, SourceKind, TenantTool, ToolSource,
};
use powerhouse_ports::store::StoreError;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

use super::stored::{read, write};
use super::{corrupt, signed, unsigned};

const TABLE: &str = "tools";
const SOURCE: &str = "source";

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "tools")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) source: Json,
    pub(crate) created_by: Uuid,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) version: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum StoredAuth {
    Bearer { secret: String },
    Header { name: String, secret: String },
    Query { name: String, secret: String },
}

impl From<&Auth> for StoredAuth {
    fn from(auth: &Auth) -> Self {
        let secret = auth.secret().to_string();
        match auth.clone() {
            Auth::Bearer { .. } => Self::Bearer { secret },
            Auth::Header { name, .. } => Self::Header { name, secret },
            Auth::Query { name, .. } => Self::Query { name, secret },
        }
    }
}

impl StoredAuth {
    fn into_domain(self) -> Result<Auth, StoreError> {
        let secret = |text: String| text.parse().map_err(corrupt(TABLE, SOURCE));
        Ok(match self {
            Self::Bearer { secret: text } => Auth::Bearer { secret: secret(text)? },
            Self::Header { name, secret: text } => Auth::Header { name, secret: secret(text)? },
            Self::Query { name, secret: text } => Auth::Query { name, secret: secret(text)? },
        })
    }
}

#[derive(Serialize, Deserialize)]
struct StoredHttp {
    description: String,
    parameters: serde_json::Value,
    method: String,
    url: String,
    query: Vec<String>,
    headers: BTreeMap<String, String>,
    body: Option<String>,
    auth: Option<StoredAuth>,
    seconds: u32,
    bytes: u32,
    safe_to_repeat: bool,
}

#[derive(Serialize, Deserialize)]
struct StoredServer {
    url: String,
    auth: Option<StoredAuth>,
    allowed: Option<Vec<String>>,
    seconds: u32,
    bytes: u32,
    tools: Vec<StoredTool>,
    asked_at: Option<DateTime<Utc>>,
    problem: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct StoredTool {
    name: String,
    description: String,
    parameters: serde_json::Value,
    is_safe_to_repeat: bool,
}

#[derive(Serialize, Deserialize)]
struct StoredDatabase {
    description: String,
    host: String,
    port: u16,
    database: String,
    user: String,
    password: Option<String>,
    tls: String,
    certificates: Option<String>,
    schemas: Vec<String>,
    rows: u32,
    seconds: u32,
    bytes: u32,
}

/// What is stored of a source.
fn source(source: &ToolSource) -> serde_json::Value {
    match source {
        ToolSource::Http(tool) => write(&StoredHttp {
            description: tool.description.clone(),
            parameters: tool.parameters.clone(),
            method: tool.method.as_str().to_owned(),
            url: tool.url.clone(),
            query: tool.query.clone(),
            headers: tool.headers.clone(),
            body: tool.body.clone(),
            auth: tool.auth.as_ref().map(Into::into),
            seconds: tool.limits.seconds(),
            bytes: tool.limits.bytes(),
            safe_to_repeat: tool.safe_to_repeat,
        }),
        ToolSource::Mcp(server) => {
            let tools = server.listing.tools.iter().map(|tool| StoredTool {
                name: tool.name.clone(),
                description: tool.description.clone(),
                parameters: tool.parameters.clone(),
                is_safe_to_repeat: tool.is_safe_to_repeat,
            });
            write(&StoredServer {
                url: server.url.clone(),
                auth: server.auth.as_ref().map(Into::into),
                allowed: server.allowed.clone(),
                seconds: server.limits.seconds(),
                bytes: server.limits.bytes(),
                tools: tools.collect(),
                asked_at: server.listing.asked_at,
                problem: server.listing.problem.clone(),
            })
        }
        ToolSource::Database(database) => write(&StoredDatabase {
            description: database.description.clone(),
            host: database.host.clone(),
            port: database.port,
            database: database.database.clone(),
            user: database.user.clone(),
            password: database.password.as_ref().map(ToString::to_string),
            tls: database.tls.as_str().to_owned(),
            certificates: database.certificates.clone(),
            schemas: database.schemas.clone(),
            rows: database.rows,
            seconds: database.limits.seconds(),
            bytes: database.limits.bytes(),
        }),
    }
}

fn http(stored: StoredHttp) -> Result<HttpTool, StoreError> {
    Ok(HttpTool {
        description: stored.description,
        parameters: stored.parameters,
        method: stored.method.parse().map_err(corrupt(TABLE, SOURCE))?,
        url: stored.url,
        query: stored.query,
        headers: stored.headers,
        body: stored.body,
        auth: stored.auth.map(StoredAuth::into_domain).transpose()?,
        limits: Limits::new(stored.seconds, stored.bytes).map_err(corrupt(TABLE, SOURCE))?,
        safe_to_repeat: stored.safe_to_repeat,
    })
}

fn server(stored: StoredServer) -> Result<McpServer, StoreError> {
    let tools = stored.tools.into_iter().map(|tool| McpTool {
        name: tool.name,
        description: tool.description,
        parameters: tool.parameters,
        is_safe_to_repeat: tool.is_safe_to_repeat,
    });
    Ok(McpServer {
        url: stored.url,
        auth: stored.auth.map(StoredAuth::into_domain).transpose()?,
        allowed: stored.allowed,
        limits: Limits::new(stored.seconds, stored.bytes).map_err(corrupt(TABLE, SOURCE))?,
        listing: Listing { tools: tools.collect(), asked_at: stored.asked_at, problem: stored.problem },
    })
}

fn database(stored: StoredDatabase) -> Result<Database, StoreError> {
    let password = stored.password.map(|name| name.parse().map_err(corrupt(TABLE, SOURCE))).transpose()?;
    Ok(Database {
        description: stored.description,
        host: stored.host,
        port: stored.port,
        database: stored.database,
        user: stored.user,
        password,
        tls: stored.tls.parse().map_err(corrupt(TABLE, SOURCE))?,
        certificates: stored.certificates,
        schemas: stored.schemas,
        rows: stored.rows,
        limits: Limits::new(stored.seconds, stored.bytes).map_err(corrupt(TABLE, SOURCE))?,
    })
}

/// What changes of a row.
pub(crate) fn changes(tool: &TenantTool) -> ActiveModel {
    ActiveModel {
        kind: Set(tool.source.kind().as_str().to_owned()),
        source: Set(source(&tool.source)),
        updated_at: Set(tool.updated_at),
        version: Set(signed(tool.version)),
        ..Default::default()
    }
}

impl TryFrom<Model> for TenantTool {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let source = match row.kind.parse().map_err(corrupt(TABLE, "kind"))? {
            SourceKind::Http => ToolSource::Http(http(read(TABLE, SOURCE, row.source)?)?),
            SourceKind::Mcp => ToolSource::Mcp(server(read(TABLE, SOURCE, row.source)?)?),
            SourceKind::Database => ToolSource::Database(database(read(TABLE, SOURCE, row.source)?)?),
        };
        Ok(Self {
            name: row.name.parse().map_err(corrupt(TABLE, "name"))?,
            source,
            created_by: UserId::from_uuid(row.created_by),
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: unsigned(TABLE, "version", row.version)?,
        })
    }
}
