//! A database of its own, and the release binary on it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;
use url::Url;
use uuid::Uuid;

/// The password of every owner and of both roles.
pub(crate) const PASSWORD: &str = "correct horse battery";
const ROLE: &str = "powerhouse_bench";

/// A database and the servers on it, until they are cleared away.
pub(crate) struct Site {
    /// The database, as the application's role.
    pub(crate) application: Url,
    /// The database, as a superuser.
    pub(crate) owner: Url,
    superuser: Url,
    settings: Vec<(String, String)>,
    servers: Vec<Child>,
    /// With the servers' keys and logs.
    folder: TempDir,
}

impl Site {
    /// Makes the database. These settings come on top of what a server needs.
    pub(crate) async fn make(own: &[(&str, &str)]) -> anyhow::Result<Self> {
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
        let data = folder.path().join("data").display().to_string();
        let settings = [
            ("DATA__FOLDER", data.as_str()),
            ("DATABASE__URL", application.as_str()),
            ("DATABASE__PLATFORM_URL", platform.as_str()),
            ("DATABASE__OWNER_URL", owner.as_str()),
            ("REDIS__URL", redis.as_str()),
            ("SERVER__ADDRESS", "127.0.0.1:0"),
            ("SERVER__ANONYMOUS_BURST", "10000"),
            ("SERVER__ANONYMOUS_PER_MINUTE", "100000"),
            ("TENANTS__PLAN", "enterprise"),
            ("TOKENS__LIFETIME_SECONDS", "3600"),
        ];
        let settings = settings.iter().chain(own);
        let settings =
            settings.map(|(key, value)| (format!("POWERHOUSE__{key}"), (*value).to_owned())).collect();
        let site = Self { application, owner, superuser, settings, servers: Vec::new(), folder };
        site.migrate()?;
        Ok(site)
    }

    /// Brings the database up to date.
    pub(crate) fn migrate(&self) -> anyhow::Result<()> {
        let migrated = self.command("migrate")?.stdout(Stdio::null()).status()?;
        ensure!(migrated.success(), "the database is not migrated");
        Ok(())
    }

    /// Starts one more server, with settings of its own, and says where it listens.
    pub(crate) fn serve(&mut self, own: &[(&str, &str)]) -> anyhow::Result<SocketAddr> {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("log"))?;
        let mut command = self.command("serve")?;
        command.envs(own.iter().map(|(key, value)| (format!("POWERHOUSE__{key}"), value)));
        let mut server = command.stdout(Stdio::piped()).stderr(log).spawn()?;
        let greeting = server.stdout.take().context("its output is piped")?;
        self.servers.push(server);
        let mut first = String::new();
        BufReader::new(greeting).read_line(&mut first)?;
        let (_, address) = first.trim().split_once("http://").context("the server does not start")?;
        Ok(address.parse()?)
    }

    fn command(&self, name: &str) -> anyhow::Result<Command> {
        let mut command = Command::new(binary()?);
        command.arg(name).current_dir(self.folder.path()).stdin(Stdio::null());
        command.envs(self.settings.iter().map(|(key, value)| (key, value)));
        Ok(command)
    }

    /// Stops the servers.
    pub(crate) fn stop(&mut self) {
        for mut server in self.servers.drain(..) {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// A connection as a superuser.
    pub(crate) async fn connect(&self) -> anyhow::Result<PgConnection> {
        Ok(PgConnection::connect(self.owner.as_str()).await?)
    }

    /// Runs statements as a superuser.
    pub(crate) async fn run(&self, sql: &str) -> anyhow::Result<()> {
        run(&self.owner, sql).await
    }

    /// Stops the servers, and drops the database.
    pub(crate) async fn clear(mut self) -> anyhow::Result<()> {
        self.stop();
        let name = self.owner.path().trim_start_matches('/');
        run(&self.superuser, &format!("DROP DATABASE {name} WITH (FORCE)")).await
    }
}

impl Drop for Site {
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

async fn run(url: &Url, sql: &str) -> anyhow::Result<()> {
    let mut db = PgConnection::connect(url.as_str()).await?;
    db.execute(AssertSqlSafe(sql)).await?;
    Ok(db.close().await?)
}

/// Tells whoever waits.
pub(crate) fn say(what: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stderr(), "{what} …")?)
}
