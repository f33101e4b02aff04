//! What is measured: a database of its own with many tenants, the release binary on it, and callers who have signed in.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};
use tempfile::TempDir;
use url::Url;
use uuid::Uuid;

use crate::http::Connection;
use crate::read::Caller;

/// Tenants whose owners sign in. Each may ask a hundred times a second, so that no limit is met.
const CALLERS: i64 = 200;
const EMAIL: &str = "owner@example.org";
const PASSWORD: &str = "correct horse battery";
const ROLE: &str = "powerhouse_bench";

/// 1,000 tenants with 1,000 agents each. Everybody has the password of who has signed up.
const SEED: &str = r#"
    INSERT INTO tenants SELECT gen_random_uuid(), 'tenant-' || n, 'Tenant ' || n, 'enterprise', 'active', NULL, NULL, 1,
        now(), now() FROM generate_series(2, 1000) n;
    INSERT INTO users (tenant_id, id, email, display_name, password_hash, role, joined_at, version, created_at,
                       updated_at)
        SELECT tenants.id, gen_random_uuid(), email, display_name, password_hash, role, now(), 1, now(), now()
        FROM tenants, users WHERE slug <> 'tenant-1';
    INSERT INTO agents SELECT tenants.id, gen_random_uuid(), 'agent-' || n, NULL, 1, NULL, 1, now()
        FROM tenants, generate_series(1, 1000) n;
    INSERT INTO agent_versions SELECT tenant_id, id, 1, '{"kind": "react", "parameters": {},
        "description": "Answers questions about invoices, orders and deliveries.",
        "instructions": "You work in the accounts department. Be brief, and name the documents that you went by.",
        "model": null, "tools": ["calculator", "json_query"], "capabilities": ["accounting"],
        "examples": ["What do we owe Acme?", "Which orders of May are not delivered?"],
        "limits": {"steps": 20, "tokens": 50000, "cost_micros": 0, "wall_clock_ms": 300000}}', now() FROM agents
        WHERE name LIKE 'agent-%';"#;

/// Everything that is there for a measurement, until it is cleared.
pub(crate) struct Scene {
    /// Where the server listens.
    pub(crate) address: SocketAddr,
    /// The database, as the application's role.
    pub(crate) application: Url,
    /// The database, as a superuser.
    pub(crate) owner: Url,
    pub(crate) callers: Arc<[Caller]>,
    superuser: Url,
    server: Child,
    /// With the server's keys and its log.
    _folder: TempDir,
}

impl Scene {
    /// Makes the database, starts the server and signs the callers in.
    pub(crate) async fn set() -> anyhow::Result<Self> {
        let superuser: Url = variable("TEST_DATABASE_URL")?.parse().context("TEST_DATABASE_URL is no URL")?;
        let redis = variable("TEST_REDIS_URL")?;
        let folder = tempfile::tempdir()?;
        let name = format!("powerhouse_{}", Uuid::new_v4().simple());
        run(&superuser, &format!("CREATE DATABASE {name}")).await?;
        let mut owner = superuser.clone();
        owner.set_path(&name);
        let role = |suffix: &str| {
            let mut url = owner.clone();
            let named = url.set_username(&format!("{ROLE}_{suffix}"));
            named
                .and_then(|()| url.set_password(Some(PASSWORD)))
                .ok()
                .context("TEST_DATABASE_URL has no host")?;
            anyhow::Ok(url)
        };
        let (application, platform) = (role("application")?, role("platform")?);
        let settings = [
            ("DATA__FOLDER", folder.path().join("data").display().to_string()),
            ("DATABASE__URL", application.to_string()),
            ("DATABASE__PLATFORM_URL", platform.to_string()),
            ("DATABASE__OWNER_URL", owner.to_string()),
            ("REDIS__URL", redis),
            ("SERVER__ADDRESS", "127.0.0.1:0".to_owned()),
            ("SERVER__ANONYMOUS_BURST", "10000".to_owned()),
            ("SERVER__ANONYMOUS_PER_MINUTE", "100000".to_owned()),
            ("TENANTS__PLAN", "enterprise".to_owned()),
            ("TOKENS__LIFETIME_SECONDS", "3600".to_owned()),
            ("MODEL__PROVIDER", "offline".to_owned()),
        ];
        let binary = |command: &str| {
            let mut process = Command::new(binary()?);
            process.arg(command).current_dir(folder.path()).stdin(Stdio::null());
            process.envs(settings.iter().map(|(key, value)| (format!("POWERHOUSE__{key}"), value)));
            anyhow::Ok(process)
        };
        ensure!(binary("migrate")?.stdout(Stdio::null()).status()?.success(), "the database is not migrated");
        let log = std::fs::File::create(folder.path().join("log"))?;
        let mut server = binary("serve")?.stdout(Stdio::piped()).stderr(log).spawn()?;
        let address = address(&mut server)?;
        let mut scene =
            Self { address, application, owner, callers: Arc::new([]), superuser, server, _folder: folder };
        scene.furnish().await?;
        Ok(scene)
    }

    async fn furnish(&mut self) -> anyhow::Result<()> {
        say("seeding 1,000 tenants with 1,000 agents each")?;
        let mut http = Connection::open(self.address).await?;
        let owner = json!({"email": EMAIL, "display_name": "Owner", "password": PASSWORD});
        http.post("/v1/tenants", &json!({"slug": "tenant-1", "name": "Tenant 1", "owner": owner})).await?;
        run(&self.owner, SEED).await?;
        run(&self.owner, "VACUUM (FREEZE, ANALYZE)").await?;
        say("signing in")?;
        // The server does not keep a connection that is idle for as long as that took.
        let mut http = Connection::open(self.address).await?;
        let mut db = PgConnection::connect(self.owner.as_str()).await?;
        let mut callers = Vec::new();
        let tenants = sqlx::query("SELECT id, slug FROM tenants ORDER BY id LIMIT $1").bind(CALLERS);
        for row in tenants.fetch_all(&mut db).await? {
            let (tenant, slug): (Uuid, String) = (row.try_get(0)?, row.try_get(1)?);
            let agents = sqlx::query_scalar("SELECT id FROM agents WHERE tenant_id = $1").bind(tenant);
            let agents = agents.fetch_all(&mut db).await?;
            let session = json!({"tenant": slug, "email": EMAIL, "password": PASSWORD});
            let session: Value = serde_json::from_str(&http.post("/v1/sessions", &session).await?)?;
            let token = session["access_token"].as_str().context("no access token")?.to_owned();
            callers.push(Caller { tenant, token, agents });
        }
        self.callers = callers.into();
        Ok(())
    }

    /// Stops the server, and drops the database.
    pub(crate) async fn clear(mut self) -> anyhow::Result<()> {
        self.stop();
        let name = self.owner.path().trim_start_matches('/');
        run(&self.superuser, &format!("DROP DATABASE {name} WITH (FORCE)")).await
    }

    fn stop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.stop();
    }
}

fn variable(name: &str) -> anyhow::Result<String> {
    let about = "PostgreSQL as a superuser, and Redis: `./scripts/bench` starts both";
    std::env::var(name).with_context(|| format!("set {name}: {about}"))
}

/// The server's binary, of the same build.
fn binary() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("powerhouse");
    ensure!(path.exists(), "build it first: cargo build --release -p powerhouse");
    Ok(path)
}

/// Where the server says that it listens.
fn address(server: &mut Child) -> anyhow::Result<SocketAddr> {
    let mut greeting = BufReader::new(server.stdout.take().context("its output is piped")?);
    let mut first = String::new();
    greeting.read_line(&mut first)?;
    let (_, address) = first.trim().split_once("http://").context("the server does not start")?;
    Ok(address.parse()?)
}

async fn run(url: &Url, sql: &str) -> anyhow::Result<()> {
    let mut db = PgConnection::connect(url.as_str()).await?;
    db.execute(AssertSqlSafe(sql)).await?;
    Ok(db.close().await?)
}

/// Tells whoever waits.
fn say(what: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stderr(), "{what} …")?)
}
