//! A server of models' APIs that says what a test tells it to, and misbehaves on demand.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;

mod api;

pub use api::Api;

/// One answer of the stub.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Before its first byte.
    delay: Duration,
    status: u16,
    headers: Vec<(String, String)>,
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Bytes(Vec<u8>),
    Pause(Duration),
    /// Sends nothing more until the client has gone.
    Hang,
    /// Sends the same bytes until the client has gone.
    Endless(Vec<u8>),
}

impl Answer {
    /// A chat completion in these pieces of text, with this usage.
    pub fn text<'a>(
        pieces: impl IntoIterator<Item = &'a str>,
        input_tokens: u64,
        output_tokens: u64,
    ) -> Self {
        Api::ChatCompletions.text(pieces, input_tokens, output_tokens)
    }

    /// A chat completion that calls one tool, its arguments in two pieces.
    pub fn call(name: &str, arguments: &Value, input_tokens: u64, output_tokens: u64) -> Self {
        Api::ChatCompletions.calls(&[(name, arguments.clone())], input_tokens, output_tokens)
    }

    /// An event stream without an event yet.
    pub fn stream() -> Self {
        let headers = vec![("content-type".into(), "text/event-stream".into())];
        Self { delay: Duration::ZERO, status: 200, headers, parts: Vec::new() }
    }

    /// The same answer, so much later.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// An error document with this status.
    pub fn error(status: u16, message: &str) -> Self {
        Self::error_document(status, &json!({"error": {"message": message}}).to_string())
    }

    /// This error document with this status.
    pub fn error_document(status: u16, document: &str) -> Self {
        Self { status, ..Self::other("application/json", document) }
    }

    /// A body of any other kind.
    pub fn other(content_type: &str, body: &str) -> Self {
        let headers = vec![("content-type".into(), content_type.into())];
        Self {
            delay: Duration::ZERO,
            status: 200,
            headers,
            parts: vec![Part::Bytes(body.as_bytes().to_vec())],
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds an event with this data.
    #[must_use]
    pub fn event(self, data: &Value) -> Self {
        self.raw(format!("data: {data}\n\n").as_bytes())
    }

    /// Adds bytes as they are.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.parts.push(Part::Bytes(bytes.to_vec()));
        self
    }

    /// Adds a pause.
    #[must_use]
    pub fn pause(mut self, duration: Duration) -> Self {
        self.parts.push(Part::Pause(duration));
        self
    }

    /// Then what another answer would send.
    #[must_use]
    pub fn then(mut self, other: Self) -> Self {
        self.parts.extend(other.parts);
        self
    }

    /// From here on, sends nothing until the client has gone.
    #[must_use]
    pub fn hang(mut self) -> Self {
        self.parts.push(Part::Hang);
        self
    }

    /// From here on, sends these bytes until the client has gone.
    #[must_use]
    pub fn endless(mut self, bytes: &[u8]) -> Self {
        self.parts.push(Part::Endless(bytes.to_vec()));
        self
    }

    /// The same answer, a byte at a time.
    #[must_use]
    pub fn in_single_bytes(mut self) -> Self {
        let single = |part| match part {
            Part::Bytes(bytes) => bytes.into_iter().map(|byte| Part::Bytes(vec![byte])).collect(),
            other => vec![other],
        };
        self.parts = self.parts.into_iter().flat_map(single).collect();
        self
    }
}

/// A request that the stub got.
#[derive(Clone, Debug)]
pub struct Received {
    /// The request line and the headers, as they came.
    pub head: String,
    /// The body; null when it is no JSON.
    pub body: Value,
}

impl Received {
    /// A header's value, as it came.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value.trim()))
    }
}

/// Answers a call by what it says.
type Speaker = Box<dyn Fn(&Received) -> Answer + Send + Sync>;

#[derive(Default)]
struct Shared {
    answers: Mutex<VecDeque<Answer>>,
    speaker: Option<Speaker>,
    received: Mutex<Vec<Received>>,
    deserted: AtomicUsize,
}

/// The running stub. Calls are answered in the order of their arrival; after the last answer, with 500.
pub struct StubModel {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl StubModel {
    /// A stub with these answers, on a port of its own.
    pub async fn start(answers: impl IntoIterator<Item = Answer>) -> io::Result<Self> {
        Self::sharing(Shared { answers: Mutex::new(answers.into_iter().collect()), ..Shared::default() })
            .await
    }

    /// A stub that answers each call by what it says, on a port of its own.
    pub async fn answering(speak: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> io::Result<Self> {
        Self::sharing(Shared { speaker: Some(Box::new(speak)), ..Shared::default() }).await
    }

    async fn sharing(shared: Shared) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(shared);
        let serving = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, serving })
    }

    /// The API's base.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Every call so far.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many clients went away while the stub hung or went on without end.
    pub fn deserted(&self) -> usize {
        self.shared.deserted.load(Ordering::SeqCst)
    }
}

impl Drop for StubModel {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            // A client that goes away is no failure of the stub.
            let _ = answer(stream, &shared).await;
        });
    }
}

async fn answer(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let received = receive(&mut stream).await?;
    let answer = if received.head.starts_with("GET ") {
        Answer::other("application/json", &json!({"data": [{"id": "stub-1"}]}).to_string())
    } else {
        let spoken = shared.speaker.as_ref().map(|speak| speak(&received));
        shared.received.lock().unwrap_or_else(PoisonError::into_inner).push(received);
        let next =
            spoken.or_else(|| shared.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front());
        next.unwrap_or_else(|| Answer::error(500, "the stub has no answer left"))
    };
    sleep(answer.delay).await;
    let mut head = format!("HTTP/1.1 {} Stub\r\nconnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    for part in answer.parts {
        match part {
            Part::Bytes(bytes) => {
                stream.write_all(&bytes).await?;
                stream.flush().await?;
            }
            Part::Pause(duration) => sleep(duration).await,
            Part::Hang => {
                let gone = stream.read(&mut [0; 16]).await;
                shared.deserted.fetch_add(1, Ordering::SeqCst);
                return gone.map(drop);
            }
            Part::Endless(bytes) => {
                while stream.write_all(&bytes).await.is_ok() {}
                shared.deserted.fetch_add(1, Ordering::SeqCst);
                return Ok(());
            }
        }
    }
    stream.shutdown().await
}

async fn receive(stream: &mut TcpStream) -> io::Result<Received> {
    let (head, body) = request(stream).await?;
    Ok(Received { head, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
}

/// A whole request of HTTP: the request line with the headers, and the body.
pub async fn request(stream: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let end = head_end + length.unwrap_or(0);
    while bytes.len() < end {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok((head, bytes[head_end..end].to_vec()))
}
