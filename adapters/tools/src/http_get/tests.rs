//! The tool against a stub server on this machine, which only a test's policy lets it reach.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use powerhouse_egress::Lookup;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Long enough for a busy machine.
const PATIENT: Limits =
    Limits { connect: Duration::from_secs(10), total: Duration::from_secs(30), body: 1000 };
const HASTY: Limits = Limits { total: Duration::from_millis(300), ..PATIENT };

fn loopback_only(address: IpAddr) -> bool {
    address == IpAddr::from([127, 0, 0, 1])
}

/// Resolves `*.test` to this machine, and `rebound.test` to another loopback address from the second time on.
#[derive(Default)]
struct TestLookup {
    lookups: AtomicUsize,
}

#[async_trait]
impl Lookup for TestLookup {
    async fn addresses_of(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let earlier = self.lookups.fetch_add(1, Ordering::SeqCst);
        match host {
            "private.test" => Ok(vec![[127, 0, 0, 1].into(), [10, 0, 0, 1].into()]),
            "rebound.test" if earlier > 0 => Ok(vec![[127, 0, 0, 2].into()]),
            "stub.test" | "rebound.test" => Ok(vec![[127, 0, 0, 1].into()]),
            _ => Err(io::Error::other("no such name")),
        }
    }
}

/// Answers every request with `answer(path, port)`, byte for byte, and counts the requests.
async fn serve(answer: fn(&str, u16) -> String) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut buffer = vec![0; 4096];
                let length = stream.read(&mut buffer).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&buffer[..length]).into_owned();
                let path = request.split(' ').nth(1).unwrap_or("/");
                if path == "/silent" {
                    std::future::pending::<()>().await;
                }
                let _ = stream.write_all(answer(path, port).as_bytes()).await;
                if path == "/stalled" {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    (port, requests)
}

fn site(path: &str, port: u16) -> String {
    let found = |content_type: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n{body}")
    };
    let redirect = |to: &str| format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
    match path {
        "/" => found("text/html; charset=utf-8", "<p>hello</p>"),
        "/json" => found("application/json", r#"{"a":1}"#),
        "/image" => found("image/png", "PNG"),
        "/long" => found("text/plain", &"x".repeat(5000)),
        "/endless" => format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n{}", "x".repeat(100_000)),
        "/stalled" => "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 9\r\n\r\nx".to_owned(),
        "/empty" => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        "/here" => redirect("/json"),
        "/loop" => redirect("/loop"),
        "/to-literal" => redirect(&format!("http://10.0.0.1:{port}/")),
        "/to-private-name" => redirect(&format!("http://private.test:{port}/")),
        "/to-other" => redirect(&format!("http://other.test:{port}/")),
        "/to-file" => redirect("file:///etc/passwd"),
        "/to-credentials" => redirect(&format!("http://user:secret@stub.test:{port}/")),
        "/nowhere" => "HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "/garbage" => "this is not HTTP\r\n\r\n".to_owned(),
        _ => "HTTP/1.1 404 Not Found\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\ngone".to_owned(),
    }
}

struct Stub {
    tool: HttpGet,
    lookup: Arc<TestLookup>,
    port: u16,
    requests: Arc<AtomicUsize>,
}

impl Stub {
    async fn start() -> Self {
        Self::with_limits(PATIENT).await
    }

    async fn with_limits(limits: Limits) -> Self {
        let (port, requests) = serve(site).await;
        let hosts = ["stub.test", "rebound.test", "private.test", "unknown.example", "127.0.0.1", "10.0.0.1"];
        let allowed = AllowList::new(hosts.map(|host| format!("http://{host}:{port}"))).expect("a list");
        let lookup = Arc::new(TestLookup::default());
        let egress = Egress {
            policy: AddressPolicy::new(|_, address| loopback_only(address)),
            lookup: Arc::clone(&lookup) as _,
            timeouts: Timeouts { connect: limits.connect, total: limits.total },
        };
        let tool = HttpGet::through(&egress, allowed, limits).expect("a client");
        Self { tool, lookup, port, requests }
    }

    async fn get(&self, host: &str, path: &str) -> ToolOutput {
        self.tool
            .call(&crate::tests::key(), &json!({"url": format!("http://{host}:{}{path}", self.port)}))
            .await
    }

    async fn refusal(&self, host: &str, path: &str) -> String {
        let output = self.get(host, path).await;
        assert!(output.is_error, "{host}{path}: {}", output.content);
        output.content
    }
}

#[tokio::test]
async fn a_page_is_its_status_its_type_and_its_text() {
    let stub = Stub::start().await;
    let port = stub.port;
    let expected =
        |path: &str, rest: &str| format!("status: 200\nurl: http://stub.test:{port}{path}\n{rest}");
    for (path, place, rest) in [
        ("/", "/", "content type: text/html\n\n<p>hello</p>"),
        ("/here", "/json", "content type: application/json\n\n{\"a\":1}"),
    ] {
        assert_eq!(stub.get("stub.test", path).await, ToolOutput::ok(expected(place, rest)));
    }
    assert!(stub.get("127.0.0.1", "/").await.content.ends_with("<p>hello</p>"));
    assert!(stub.get("stub.test", "/empty").await.content.contains("The body is empty."));
    let missing = stub.get("stub.test", "/missing").await;
    assert!(missing.is_error && missing.content.starts_with("status: 404\n"));
}

#[tokio::test]
async fn a_long_body_is_cut_and_says_so() {
    let stub = Stub::start().await;
    for path in ["/long", "/endless"] {
        let output = stub.get("stub.test", path).await;
        assert!(output.content.contains("The body was cut after 1000 bytes.\n"));
        assert!(output.content.ends_with(&"x".repeat(1000)) && output.content.len() < 1200);
    }
}

#[tokio::test]
async fn broken_and_other_content_is_an_error() {
    let stub = Stub::start().await;
    for (path, part) in [
        ("/image", "content type"),
        ("/garbage", "could not be read"),
        ("/loop", "more than 5 times"),
        ("/nowhere", "without a valid place"),
    ] {
        let refusal = stub.refusal("stub.test", path).await;
        assert!(refusal.contains(part), "{path}: {refusal}");
    }
    assert!(stub.refusal("unknown.example", "/").await.contains("no connection"));
}

#[tokio::test]
async fn a_server_that_keeps_silent_or_stalls_is_given_up() {
    let stub = Stub::with_limits(HASTY).await;
    for path in ["/silent", "/stalled"] {
        assert!(stub.refusal("stub.test", path).await.contains("did not answer in time"), "{path}");
    }
}

#[tokio::test]
async fn a_redirect_is_checked_like_a_first_request() {
    let stub = Stub::start().await;
    for (path, part) in [
        ("/to-literal", "not on the public Internet"),
        ("/to-private-name", "not on the public Internet"),
        ("/to-other", "not on the list"),
        ("/to-file", "only https"),
        ("/to-credentials", "password"),
    ] {
        let before = stub.requests.load(Ordering::SeqCst);
        let refusal = stub.refusal("stub.test", path).await;
        assert!(refusal.contains(part), "{path}: {refusal}");
        assert!(!refusal.contains("secret"));
        assert_eq!(stub.requests.load(Ordering::SeqCst), before + 1, "{path} went on");
    }
}

#[tokio::test]
async fn a_name_is_looked_up_once_and_the_connection_goes_to_that_answer() {
    let stub = Stub::start().await;
    assert!(!stub.get("rebound.test", "/").await.is_error);
    assert_eq!(stub.lookup.lookups.load(Ordering::SeqCst), 1);
    assert!(stub.refusal("rebound.test", "/").await.contains("not on the public Internet"));
    assert_eq!(stub.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_public_constructor_cannot_reach_this_machine() {
    let (port, requests) = serve(site).await;
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0"] {
        let allowed = AllowList::new([format!("http://{host}:{port}")]).expect("a list");
        let tool = HttpGet::new(allowed).expect("a client");
        let output = tool.call(&crate::tests::key(), &json!({"url": format!("http://{host}:{port}/")})).await;
        assert!(output.is_error && output.content.contains("not on the public Internet"), "{host}");
    }
    assert_eq!(requests.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn urls_that_are_not_allowed_are_refused() {
    let tool = HttpGet::new(AllowList::new(["example.org"]).expect("a list")).expect("a client");
    for (url, part) in [
        ("not a URL", "not valid"),
        ("/relative", "not valid"),
        ("http://example.org/", "not on the list"),
        ("https://example.com/", "not on the list"),
        ("https://user:secret@example.org/", "password"),
        ("ftp://example.org/", "only https"),
        (&format!("https://example.org/{}", "a".repeat(MAX_URL)), "longer than"),
    ] {
        let output = tool.call(&crate::tests::key(), &json!({"url": url})).await;
        assert!(output.is_error && output.content.contains(part), "{url}: {}", output.content);
        assert!(!output.content.contains("secret"));
    }
}
