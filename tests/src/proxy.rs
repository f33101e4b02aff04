//! A proxy between the server and what it depends on: it passes bytes on, slowly or not, cuts,
//! half-closes, or goes silent.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// What the proxy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Passes bytes on, both ways.
    Open,
    /// Passes bytes on, each piece after this delay.
    Slow(Duration),
    /// Ends what the server says, and goes on taking what it is told, for nothing.
    HalfClosed,
    /// Closes every connection, and new ones at once.
    Cut,
    /// Keeps connections, takes new ones, and passes nothing on: like a network that drops packets.
    Silent,
}

/// A running proxy, on a port of its own.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    serving: JoinHandle<()>,
}

impl Proxy {
    /// A proxy to this address, open.
    pub async fn to(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (mode, watched) = watch::channel(Mode::Open);
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, target, watched.clone()));
            }
        });
        Ok(Self { address, mode, serving })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What it does from now on, also with connections that are there.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn pass(mut client: TcpStream, target: SocketAddr, mut mode: watch::Receiver<Mode>) {
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    loop {
        let now = *mode.borrow_and_update();
        let over = match now {
            Mode::Cut => return,
            Mode::HalfClosed => {
                let _ = client.shutdown().await;
                let _ = tokio::io::copy(&mut client, &mut tokio::io::sink()).await;
                return;
            }
            Mode::Slow(delay) => tokio::select! {
                () = pass_slowly(&mut client, &mut server, delay) => return,
                changed = mode.changed() => changed.is_err(),
            },
            Mode::Silent => mode.changed().await.is_err(),
            Mode::Open => tokio::select! {
                _ = copy_bidirectional(&mut client, &mut server) => return,
                changed = mode.changed() => changed.is_err(),
            },
        };
        if over {
            return;
        }
    }
}

async fn pass_slowly(client: &mut TcpStream, server: &mut TcpStream, delay: Duration) {
    let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
    tokio::select! {
        () = one_way(from_client, to_server, delay) => {}
        () = one_way(from_server, to_client, delay) => {}
    }
}

/// Until either side ends.
async fn one_way(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, delay: Duration) {
    let mut piece = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        sleep(delay).await;
        if to.write_all(&piece[..count]).await.is_err() {
            return;
        }
    }
}
