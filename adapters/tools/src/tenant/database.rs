//! Databases of tenants, which are only read.
//!
//! Each call is a connection of its own, to an address that was checked, in a transaction that only reads and is never
//! committed. A query is what a cursor is declared for, by the extended protocol: so it is one statement, and one that gives
//! rows. The cursor is asked for the rows that may be shown and one more; a server that sends more than it should is left.

mod bounded;
mod schema;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt as _, pin_mut};
use postgres::config::SslMode;
use postgres::{Client, Config, NoTls, SimpleQueryMessage};
use powerhouse_domain::access::TenantScope;
use powerhouse_domain::idempotency::CallKey;
use powerhouse_domain::tools::{
    BadTool, Database, DatabaseTool, EgressRules, Tls, ToolName, ToolOutput, ToolSpec,
};
use powerhouse_ports::tools::Tool;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::http::read_secret;
use super::{NOT_LISTED, Outside, TIMEOUTS, mask};
use crate::arguments;
use bounded::Bounded;

/// How long a database has, after its time is up, to stop a query by itself and say so.
const TO_SAY_SO: Duration = Duration::from_secs(2);

/// How much a server may send beside what is kept: names, frames, a certificate, and what is cut off.
const BESIDE: usize = 1024 * 1024;

/// Refuses a database that could never be reached.
pub(super) fn check(outside: &Outside, database: &Database, rules: &EgressRules) -> Result<(), BadTool> {
    let bad = |pointer: &str, reason: String| BadTool { pointer: pointer.to_owned(), reason };
    outside.sockets.check(&database.host).map_err(|failure| bad("/host", failure.to_string()))?;
    if !rules.allow(&database.host) {
        return Err(bad("/host", NOT_LISTED.to_owned()));
    }
    if database.tls == Tls::Off && !outside.sockets.trusts(&database.host) {
        let reason = "only a host that the operator answers for may do without TLS";
        return Err(bad("/tls", reason.to_owned()));
    }
    if let Some(certificates) = &database.certificates {
        tls::vouched_for_by(certificates).map_err(|reason| bad("/certificates", reason))?;
    }
    Ok(())
}

/// A tool of a database.
pub(super) struct ReadTool {
    pub(super) outside: Arc<Outside>,
    pub(super) scope: TenantScope,
    pub(super) rules: EgressRules,
    pub(super) name: ToolName,
    pub(super) database: Database,
    pub(super) tool: DatabaseTool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QueryArguments {
    sql: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SchemaArguments {}

#[async_trait]
impl Tool for ReadTool {
    fn spec(&self) -> ToolSpec {
        self.database.spec(self.name.as_str(), self.tool)
    }

    fn is_safe_to_repeat(&self) -> bool {
        true
    }

    async fn call(&self, _: &CallKey, arguments: &Value) -> ToolOutput {
        let sql = match self.tool {
            DatabaseTool::Schema => arguments::read(arguments).map(|SchemaArguments {}| None),
            DatabaseTool::Query => arguments::read(arguments).map(|QueryArguments { sql }| Some(sql)),
        };
        let sql = match sql {
            Ok(Some(sql)) if sql.len() > Database::MAX_SQL => {
                return ToolOutput::error(format!("The query is longer than {} bytes.", Database::MAX_SQL));
            }
            Ok(sql) => sql,
            Err(refusal) => return refusal,
        };
        let seconds = self.database.limits.seconds();
        let limit = Duration::from_secs(seconds.into()) + TO_SAY_SO;
        match tokio::time::timeout(limit, self.asked(sql.as_deref())).await {
            Ok(Ok(content)) => ToolOutput::ok(content),
            Ok(Err(why)) => ToolOutput::error(format!("{why}.")),
            Err(_) => ToolOutput::error(format!("The database did not answer within {seconds} seconds.")),
        }
    }
}

impl ReadTool {
    /// What is in the database, or the rows of a query; with the password's name wherever the password is.
    async fn asked(&self, sql: Option<&str>) -> Result<String, String> {
        check(&self.outside, &self.database, &self.rules).map_err(|bad| bad.reason)?;
        let mut config = Config::new();
        config
            .user(&self.database.user)
            .dbname(&self.database.database)
            .application_name("powerhouse")
            .ssl_mode(if self.database.tls == Tls::Off { SslMode::Disable } else { SslMode::Require });
        let mut secret = None;
        if let Some(name) = &self.database.password {
            let value = read_secret(&*self.outside.secrets, &self.scope, name).await?;
            config.password(value.expose());
            secret = Some((name, value));
        }
        let answered = self.asked_as(&config, sql).await;
        let Some((name, value)) = secret else { return answered };
        let masked = |text: String| mask::masked(text, name, &value);
        answered.map(masked).map_err(masked)
    }

    async fn asked_as(&self, config: &Config, sql: Option<&str>) -> Result<String, String> {
        let host = &self.database.host;
        let stream = self.outside.sockets.connect(host, self.database.port, TIMEOUTS.connect).await;
        let stream = stream.map_err(|failure| failure.to_string())?;
        let kept = usize::try_from(self.database.limits.bytes()).unwrap_or(usize::MAX);
        let left = Arc::new(AtomicUsize::new(kept.saturating_add(BESIDE)));
        let stream = Bounded::new(stream, Arc::clone(&left));
        // Ended with this call: dropping the set stops what drives the connection.
        let mut driver = JoinSet::new();
        let client = if self.database.tls == Tls::Off {
            let (client, connection) = config.connect_raw(stream, NoTls).await.map_err(|e| refused(&e))?;
            driver.spawn(async move { connection.await.is_ok() });
            client
        } else {
            let tls = tls::Connector::new(&self.outside, host, self.database.certificates.as_deref())?;
            let (client, connection) = config.connect_raw(stream, tls).await.map_err(|e| refused(&e))?;
            driver.spawn(async move { connection.await.is_ok() });
            client
        };
        let answered = async {
            client.batch_execute(&self.begin()).await?;
            match sql {
                None => schema::described(&client, &self.database.schemas, kept).await,
                Some(sql) => self.rows(&client, sql, kept).await,
            }
        };
        answered.await.map_err(|error: postgres::Error| {
            if left.load(Ordering::Relaxed) == 0 {
                return format!(
                    "The rows are larger than {kept} bytes: ask for fewer columns or shorter values"
                );
            }
            failed(&error, self.database.limits.seconds())
        })
    }

    /// Begins to read: nothing can be written, nothing takes long, and names are looked for where they were declared.
    fn begin(&self) -> String {
        let schemas: Vec<String> = self.database.schemas.iter().map(|name| quoted(name)).collect();
        let milliseconds = u64::from(self.database.limits.seconds()) * 1_000;
        format!(
            "BEGIN READ ONLY; SET LOCAL statement_timeout = {milliseconds}; SET LOCAL lock_timeout = {milliseconds}; \
             SET LOCAL idle_in_transaction_session_timeout = {milliseconds}; SET LOCAL search_path = {}",
            schemas.join(", ")
        )
    }

    /// The rows of one query, as many as may be shown.
    async fn rows(&self, client: &Client, sql: &str, kept: usize) -> Result<String, postgres::Error> {
        let sql = sql.trim().trim_end_matches(';');
        client.execute(&format!("DECLARE answer NO SCROLL CURSOR FOR {sql}"), &[]).await?;
        let most = usize::try_from(self.database.rows).unwrap_or(usize::MAX);
        // The simple protocol gives every value as the text that `psql` would show.
        let fetched =
            client.simple_query_raw(&format!("FETCH {} FROM answer", most.saturating_add(1))).await?;
        pin_mut!(fetched);
        let (mut columns, mut rows, mut bytes, mut note) = (Vec::new(), Vec::new(), 0, None);
        while let Some(message) = fetched.next().await {
            match message? {
                SimpleQueryMessage::RowDescription(described) => {
                    columns = described.iter().map(|column| column.name().to_owned()).collect();
                }
                SimpleQueryMessage::Row(row) => {
                    let values: Vec<Value> = (0..row.len()).map(|index| json!(row.get(index))).collect();
                    let values = Value::from(values);
                    bytes += values.to_string().len();
                    if rows.len() == most {
                        note = Some(format!("There are more than {most} rows; the first are shown."));
                    } else if bytes > kept {
                        note = Some(format!("The rows are larger than {kept} bytes; the first are shown."));
                        break;
                    } else {
                        rows.push(values);
                    }
                }
                _ => {}
            }
        }
        let mut shown = json!({"columns": columns, "rows": rows});
        if let Some(note) = note {
            shown["note"] = note.into();
        }
        Ok(shown.to_string())
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Why there is no connection. What a server says before it knows who asks tells who we are to it: it is not passed on.
fn refused(error: &postgres::Error) -> String {
    let said = error.as_db_error().map(|said| said.code().code());
    let why = match said {
        Some("28000" | "28P01") => "it does not take the user or the password",
        Some("3D000") => "it has no such database",
        Some("53300") => "it has too many connections already",
        Some(_) => "it refused the connection",
        None if error.to_string().contains("TLS") => "it has no TLS, or its certificate is not for this host",
        None => "what answers there is no PostgreSQL server, or it closed the connection",
    };
    format!("The database cannot be asked: {why}")
}

/// Why a query has no rows: what the database says, unless that is of its own machine.
fn failed(error: &postgres::Error, seconds: u32) -> String {
    let Some(said) = error.as_db_error() else {
        return "The database closed the connection".to_owned();
    };
    let code = said.code().code();
    match code.get(..2) {
        _ if code == "57014" => format!("The query took longer than {seconds} seconds and was stopped"),
        Some("53" | "57" | "58" | "F0" | "XX") => format!("The database failed ({code})"),
        _ => {
            let hint = said.hint().map(|hint| format!(" Hint: {}", hint.trim_end_matches('.')));
            let message: String = said.message().chars().take(1_000).collect();
            format!("The database refused ({code}): {message}.{}", hint.unwrap_or_default())
                .trim_end_matches('.')
                .to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted() {
        assert_eq!(quoted("public"), "\"public\"");
        assert_eq!(quoted("a\"; DROP"), "\"a\"\"; DROP\"");
    }
}
