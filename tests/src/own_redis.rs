//! A Redis of a test's own: a process that can be killed and started again.

#![expect(clippy::missing_panics_doc, reason = "a test that has no Redis has failed")]

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long Redis has to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// For a certificate that is its own authority.
const OPENSSL: &str = "[req]\ndistinguished_name = name\nx509_extensions = extensions\n[name]\n\
    [extensions]\nsubjectAltName = IP:127.0.0.1\nbasicConstraints = CA:FALSE\n";

/// A running `redis-server`, which keeps nothing.
#[derive(Debug)]
pub struct OwnRedis {
    port: u16,
    folder: TempDir,
    speaks_tls: bool,
    child: Child,
}

impl OwnRedis {
    /// Starts one on a free port.
    pub fn start() -> Self {
        Self::new(false)
    }

    /// Starts one that speaks TLS only, with a certificate for `127.0.0.1`.
    pub fn with_tls() -> Self {
        Self::new(true)
    }

    fn new(speaks_tls: bool) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.expect("a free port").port();
        let folder = tempfile::tempdir().expect("a temporary folder");
        if speaks_tls {
            certify(folder.path());
        }
        let child = spawn(port, folder.path(), speaks_tls);
        Self { port, folder, speaks_tls, child }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", if self.speaks_tls { "rediss" } else { "redis" }, self.port)
    }

    /// The file with its certificate, when it speaks TLS.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("redis.crt")
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it is gone");
    }

    /// Starts it again where it was.
    pub fn restart(&mut self) {
        self.child = spawn(self.port, self.folder.path(), self.speaks_tls);
    }
}

impl Drop for OwnRedis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes a key and its certificate in this folder.
fn certify(folder: &Path) {
    std::fs::write(folder.join("openssl.cnf"), OPENSSL).expect("it can be written");
    let made = Command::new("openssl")
        .current_dir(folder)
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=redis"])
        .args(["-config", "openssl.cnf", "-keyout", "redis.key", "-out", "redis.crt"])
        .stderr(Stdio::null())
        .status();
    assert!(made.expect("openssl is installed: see ./scripts/test").success());
}

fn spawn(port: u16, folder: &Path, speaks_tls: bool) -> Child {
    let port = port.to_string();
    let mut command = Command::new("redis-server");
    command.current_dir(folder).args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    if speaks_tls {
        command.args(["--port", "0", "--tls-port", &port, "--tls-auth-clients", "no"]);
        command.args(["--tls-cert-file", "redis.crt", "--tls-key-file", "redis.key"]);
        command.args(["--tls-ca-cert-file", "redis.crt"]);
    } else {
        command.args(["--port", &port]);
    }
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = child.expect("redis-server is installed: see ./scripts/test");
    let started = Instant::now();
    while TcpStream::connect(format!("127.0.0.1:{port}")).is_err() {
        assert!(started.elapsed() < PATIENCE, "redis-server does not start");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}
