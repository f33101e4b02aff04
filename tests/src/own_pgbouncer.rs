//! A `PgBouncer` of a test's own, in transaction mode with few connections, so that transactions share them.

#![expect(clippy::missing_panics_doc, reason = "a test that has no PgBouncer has failed")]

use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use url::Url;

use crate::own_database::{APPLICATION, PASSWORD, PLATFORM};

/// How long it has to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running `PgBouncer`.
#[derive(Debug)]
pub struct OwnPgBouncer {
    port: u16,
    child: Child,
    _folder: TempDir,
}

impl OwnPgBouncer {
    /// How many connections each role has to the database.
    pub const CONNECTIONS: usize = 3;

    /// Starts one in front of the server at this URL.
    pub fn before(database: &Url) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.expect("a free port").port();
        let folder = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir()
            .expect("a temporary folder");
        let users = folder.path().join("users");
        let password = PASSWORD.replace('"', "\"\"");
        std::fs::write(
            &users,
            [APPLICATION, PLATFORM].map(|role| format!("\"{role}\" \"{password}\"\n")).concat(),
        )
        .expect("the users are written");
        let settings = folder.path().join("settings.ini");
        let (host, to) = (database.host_str().expect("a host"), database.port().unwrap_or(5432));
        let text = format!(
            "[databases]\n* = host={host} port={to}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = plain\nauth_file = {}\npool_mode = transaction\n\
             default_pool_size = {}\nmax_client_conn = 200\n",
            users.display(),
            Self::CONNECTIONS
        );
        std::fs::write(&settings, text).expect("the settings are written");
        let mut command = Command::new("pgbouncer");
        command.arg("-q").arg(&settings).stdout(Stdio::null()).stderr(Stdio::null());
        if is_root() {
            // It refuses to run as root.
            command.uid(NOBODY);
        }
        let child = command.spawn().expect("pgbouncer is installed: see ./scripts/test");
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < PATIENCE, "pgbouncer does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { port, child, _folder: folder }
    }

    /// The same database, through it.
    pub fn through(&self, mut database: Url) -> Url {
        database.set_host(Some("127.0.0.1")).expect("a host");
        database.set_port(Some(self.port)).expect("a port");
        database
    }
}

/// A user without rights.
pub(crate) const NOBODY: u32 = 65_534;

pub(crate) fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout == b"0\n")
}

impl Drop for OwnPgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
