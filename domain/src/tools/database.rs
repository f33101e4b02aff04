//! Databases that a tenant's agents may read: what there is to see, and queries that only read.

use serde_json::json;

use super::declared::BadTool;
use super::{HostPattern, Limits, SEPARATOR, ToolSpec};
use crate::access::named_enum;
use crate::secrets::SecretName;

/// The most bytes of a name within a database, as PostgreSQL has it.
const MAX_IDENTIFIER: usize = 63;
/// The most characters of a description.
const MAX_DESCRIPTION: usize = 1_024;
/// The most bytes of certificates.
const MAX_CERTIFICATES: usize = 32 * 1024;
/// The most schemas that are shown.
const MAX_SCHEMAS: usize = 20;
/// The most rows that a query may be allowed.
const MAX_ROWS: u32 = 1_000;

named_enum! {
    /// How the connection is kept from others.
    Tls as "kind of TLS" {
        /// The server proves with a certificate that it has the name that was declared.
        Verified = "verified",
        /// Not at all. For hosts that the operator answers for.
        Off = "off",
    }
}

named_enum! {
    /// What can be asked of a database: a tool each.
    DatabaseTool as "tool of a database" {
        /// What is in it.
        Schema = "schema",
        /// The rows of a query.
        Query = "query",
    }
}

/// A PostgreSQL database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// What is in it, for models; may be empty.
    pub description: String,
    /// Its server, by name or address, as in a URL.
    pub host: String,
    /// The server's port.
    pub port: u16,
    /// Its name there.
    pub database: String,
    /// As whom it is asked.
    pub user: String,
    /// The secret that is the password; without one none is sent.
    pub password: Option<SecretName>,
    /// How the connection is kept from others.
    pub tls: Tls,
    /// Certificates of those who may vouch for the server, as PEM, in the place of the system's.
    pub certificates: Option<String>,
    /// The schemas that are shown, and in which names are looked for. Not a bound: what may be read is for the user's
    /// grants to say.
    pub schemas: Vec<String>,
    /// The most rows that a query gives.
    pub rows: u32,
    /// What a call may take.
    pub limits: Limits,
}

impl Database {
    /// How many rows a query gives, unless it is declared otherwise.
    pub const USUAL_ROWS: u32 = 200;

    /// Checks what was declared. Whether its host may be reached is for whoever connects to say.
    pub fn checked(self) -> Result<Self, BadTool> {
        if self.description.chars().count() > MAX_DESCRIPTION {
            return Err(BadTool::new("/description", format!("at most {MAX_DESCRIPTION} characters")));
        }
        if !matches!(self.host.parse(), Ok(HostPattern::Exactly(_))) {
            return Err(BadTool::new("/host", "a host's name or address, in lower case and without a port"));
        }
        if self.port == 0 {
            return Err(BadTool::new("/port", "1 to 65535"));
        }
        check_identifier("/database", &self.database)?;
        check_identifier("/user", &self.user)?;
        if let Some(certificates) = &self.certificates {
            if self.tls == Tls::Off {
                return Err(BadTool::new("/certificates", "without TLS there is nobody to vouch for"));
            }
            if certificates.len() > MAX_CERTIFICATES || !certificates.contains("BEGIN CERTIFICATE") {
                let reason = format!("certificates as PEM text, at most {MAX_CERTIFICATES} bytes");
                return Err(BadTool::new("/certificates", reason));
            }
        }
        if !(1..=MAX_SCHEMAS).contains(&self.schemas.len()) {
            return Err(BadTool::new("/schemas", format!("1 to {MAX_SCHEMAS} names of schemas")));
        }
        for (index, schema) in self.schemas.iter().enumerate() {
            check_identifier(&format!("/schemas/{index}"), schema)?;
        }
        if !(1..=MAX_ROWS).contains(&self.rows) {
            return Err(BadTool::new("/max_rows", format!("1 to {MAX_ROWS} rows")));
        }
        Ok(self)
    }

    /// How a tool of it is offered to models, by the database of this name.
    pub fn spec(&self, name: &str, tool: DatabaseTool) -> ToolSpec {
        let about =
            if self.description.is_empty() { String::new() } else { format!(" {}", self.description) };
        let (description, parameters) = match tool {
            DatabaseTool::Schema => (
                format!("The tables, columns and keys of the PostgreSQL database `{name}`.{about}"),
                json!({"type": "object", "properties": {}, "additionalProperties": false}),
            ),
            DatabaseTool::Query => (
                format!(
                    "Executes one SELECT in the PostgreSQL database `{name}`, which is only read, and gives at most {} rows.{about}",
                    self.rows
                ),
                json!({
                    "type": "object",
                    "properties": {
                        "sql": {
                            "type": "string",
                            "maxLength": Self::MAX_SQL,
                            "description": "One SELECT, WITH or VALUES statement."
                        }
                    },
                    "required": ["sql"],
                    "additionalProperties": false
                }),
            ),
        };
        ToolSpec { name: format!("{name}{SEPARATOR}{tool}"), description, parameters }
    }

    /// The most bytes of a query.
    pub const MAX_SQL: usize = 20_000;
}

fn check_identifier(pointer: &str, name: &str) -> Result<(), BadTool> {
    if (1..=MAX_IDENTIFIER).contains(&name.len()) && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(BadTool::new(pointer, format!("1 to {MAX_IDENTIFIER} bytes, without control characters")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Database {
        Database {
            description: "Orders since 2019.".into(),
            host: "db.example.org".into(),
            port: 5432,
            database: "sales".into(),
            user: "reader".into(),
            password: Some("sales-password".parse().unwrap()),
            tls: Tls::Verified,
            certificates: None,
            schemas: vec!["public".into()],
            rows: Database::USUAL_ROWS,
            limits: Limits::default(),
        }
    }

    #[test]
    fn what_breaks_a_rule_is_named_with_its_place() {
        assert!(database().checked().is_ok());
        let broken = |change: fn(&mut Database)| {
            let mut database = database();
            change(&mut database);
            database.checked().unwrap_err().pointer
        };
        assert_eq!(broken(|d| d.description = "x".repeat(1_025)), "/description");
        for host in ["", "*.example.org", "db.example.org:5432", "https://db", "DB", "a b", "/var/run"] {
            let database = Database { host: host.into(), ..database() };
            assert_eq!(database.checked().unwrap_err().pointer, "/host", "{host}");
        }
        assert_eq!(broken(|d| d.port = 0), "/port");
        assert_eq!(broken(|d| d.database = String::new()), "/database");
        assert_eq!(broken(|d| d.user = "a\0b".into()), "/user");
        assert_eq!(broken(|d| d.certificates = Some("none".into())), "/certificates");
        assert_eq!(
            broken(|d| {
                d.certificates = Some("-----BEGIN CERTIFICATE-----".into());
                d.tls = Tls::Off;
            }),
            "/certificates"
        );
        assert_eq!(broken(|d| d.schemas.clear()), "/schemas");
        assert_eq!(broken(|d| d.schemas.push("x".repeat(64))), "/schemas/1");
        assert_eq!(broken(|d| d.rows = 0), "/max_rows");
        assert_eq!(broken(|d| d.rows = 1_001), "/max_rows");
    }

    #[test]
    fn it_offers_two_tools() {
        let spec = |tool| database().spec("sales", tool);
        assert_eq!(spec(DatabaseTool::Schema).name, "sales__schema");
        assert_eq!(spec(DatabaseTool::Schema).parameters["properties"], json!({}));
        let query = spec(DatabaseTool::Query);
        assert_eq!((query.name.as_str(), &query.parameters["required"]), ("sales__query", &json!(["sql"])));
        assert!(query.description.contains("200 rows") && query.description.ends_with("Orders since 2019."));
    }
}
