//! A PostgreSQL database of a test's own, dropped with it.

#![expect(clippy::missing_panics_doc, reason = "a test that has no database has failed")]

use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection, DbBackend, Statement, TryGetable};
use serde_json::Value;
use url::Url;
use uuid::Uuid;

/// The name of the application's role.
pub const APPLICATION: &str = "powerhouse_test_application";
/// The name of the platform's role.
pub const PLATFORM: &str = "powerhouse_test_platform";
/// The password of both: one that has to be quoted.
pub const PASSWORD: &str = "it's a \\test";

/// An empty database on a server where a superuser signs in; `./scripts/test` says where that is.
#[derive(Debug)]
pub struct OwnDatabase {
    server: Url,
    name: String,
}

impl OwnDatabase {
    /// A new database, on the server at `TEST_DATABASE_URL`.
    pub async fn empty() -> Self {
        Self::on(server("TEST_DATABASE_URL")).await
    }

    /// A new database, on the server at `TEST_PGVECTOR_URL`, which has `pgvector`.
    pub async fn with_pgvector() -> Self {
        Self::on(server("TEST_PGVECTOR_URL")).await
    }

    async fn on(server: Url) -> Self {
        let name = format!("powerhouse_{}", Uuid::new_v4().simple());
        run(&server, &format!("CREATE DATABASE {name}")).await;
        Self { server, name }
    }

    /// Another one like it, to which nobody is connected now: faster than to migrate each.
    pub async fn copied(&self) -> Self {
        let name = format!("powerhouse_{}", Uuid::new_v4().simple());
        run(&self.server, &format!("CREATE DATABASE {name} TEMPLATE {}", self.name)).await;
        Self { server: self.server.clone(), name }
    }

    /// The database, as the superuser.
    pub fn owner(&self) -> Url {
        let mut url = self.server.clone();
        url.set_path(&self.name);
        url
    }

    /// The database, as a role.
    pub fn role(&self, role: &str) -> Url {
        let mut url = self.owner();
        url.set_username(role).expect("a URL with a host");
        url.set_password(Some(PASSWORD)).expect("a URL with a host");
        url
    }

    /// Runs SQL as the superuser.
    pub async fn run(&self, sql: &str) {
        run(&self.owner(), sql).await;
    }

    /// The rows of a query of one column of text, as the superuser.
    pub async fn ask(&self, sql: &str) -> Vec<String> {
        self.query(sql).await
    }

    /// The rows that a query gives, as objects of JSON, whosever they are.
    pub async fn rows(&self, query: &str) -> Vec<Value> {
        self.query(&format!("SELECT to_jsonb(found) FROM ({query}) AS found")).await
    }

    /// The first column of each row.
    async fn query<T: TryGetable>(&self, sql: &str) -> Vec<T> {
        let db = Database::connect(self.owner().as_str()).await.expect("the superuser may connect");
        let rows = db.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await;
        db.close().await.expect("it is closed");
        rows.expect("it is SQL").iter().map(|row| row.try_get_by_index(0).expect("its type")).collect()
    }

    /// A connection as a role.
    pub async fn connect(&self, role: &str) -> DatabaseConnection {
        Database::connect(self.role(role).as_str()).await.expect("the role may connect")
    }
}

impl Drop for OwnDatabase {
    fn drop(&mut self) {
        let (server, sql) = (self.server.clone(), format!("DROP DATABASE {} WITH (FORCE)", self.name));
        // A thread of its own: a runtime cannot be waited for within another.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(run(&server, &sql));
        });
        // What is left over goes with the server.
        let _ = dropped.join();
    }
}

fn server(variable: &str) -> Url {
    let url = std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is set: see ./scripts/test"));
    url.parse().unwrap_or_else(|_| panic!("{variable} is a URL"))
}

async fn run(url: &Url, sql: &str) {
    let db = Database::connect(url.as_str()).await.expect("the superuser may connect");
    db.execute_unprepared(sql).await.expect("the statement runs");
    db.close().await.expect("the connection closes");
}
