//! A PostgreSQL server of a test's own, which wants passwords: the one that all tests share trusts everybody.

#![expect(clippy::missing_panics_doc, reason = "a test that has no PostgreSQL has failed")]

use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::own_pgbouncer::{NOBODY, is_root};

/// How long it has to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server with one role, the superuser `postgres`, and one database of that name.
#[derive(Debug)]
pub struct OwnPostgres {
    port: u16,
    child: Child,
    _folder: TempDir,
}

impl OwnPostgres {
    /// Starts one on a free port, which knows its user by this password alone.
    pub fn with_password(password: &str) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.expect("a free port").port();
        let folder = tempfile::Builder::new()
            .permissions(PermissionsExt::from_mode(0o755))
            .tempdir()
            .expect("a temporary folder");
        let (data, secret) = (folder.path().join("data"), folder.path().join("password"));
        std::fs::create_dir(&data).expect("a folder for its data");
        std::fs::write(&secret, password).expect("the password is written");
        if is_root() {
            chown(&data, Some(NOBODY), None).expect("the folder is given away");
        }
        let made = command("initdb")
            .args(["-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", "--no-locale", "--no-sync"])
            .arg("-D")
            .arg(&data)
            .arg("--pwfile")
            .arg(&secret)
            .stdout(Stdio::null())
            .status();
        assert!(made.expect("initdb runs").success(), "there is no cluster");
        let settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"];
        let child = command("postgres")
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string()])
            .args(settings.iter().flat_map(|setting| ["-c", setting]))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let started = Instant::now();
        let is_ready = || {
            let mut asked = command("pg_isready");
            asked.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]).status().is_ok_and(|s| s.success())
        };
        while !is_ready() {
            assert!(started.elapsed() < PATIENCE, "PostgreSQL does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { port, child, _folder: folder }
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// One of PostgreSQL's programs, which refuse to run as root.
fn command(program: &str) -> Command {
    let versions =
        std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed: see ./scripts/test");
    let newest = versions
        .filter_map(|version| {
            let version = version.ok()?;
            let number: u32 = version.file_name().to_str()?.parse().ok()?;
            Some((number, version.path()))
        })
        .max();
    let (_, folder): (u32, PathBuf) = newest.expect("PostgreSQL is installed: see ./scripts/test");
    let mut command = Command::new(folder.join("bin").join(program));
    command.current_dir("/");
    if is_root() {
        command.uid(NOBODY);
    }
    command
}

impl Drop for OwnPostgres {
    fn drop(&mut self) {
        // Killed at once, it would leave its own processes for a moment: it is to end them first.
        let _ = Command::new("kill").args(["-QUIT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}
