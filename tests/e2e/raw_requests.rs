//! Requests that no client library would send.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::server::Server;

/// Sends bytes; gives the head of the first answer.
async fn send(server: &Server, bytes: &[u8]) -> String {
    let address = server.base.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
        match timeout(Duration::from_secs(10), stream.read(&mut buffer)).await.expect("an answer in time") {
            Ok(0) | Err(_) => break,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_servers_could_read_differently_is_refused() {
    let server = Server::start();
    let host = "Host: localhost\r\n";
    let cases = [
        ("no host", "GET /health HTTP/1.1\r\n\r\n".to_owned()),
        ("two hosts", format!("GET /health HTTP/1.1\r\n{host}Host: other\r\n\r\n")),
        ("a host with a path", "GET /health HTTP/1.1\r\nHost: a/b\r\n\r\n".to_owned()),
        (
            "two lengths",
            format!(
                "POST /v1/sessions HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"
            ),
        ),
        (
            "two content lengths",
            format!("POST /v1/sessions HTTP/1.1\r\n{host}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
        ),
        ("a negative length", format!("POST /v1/sessions HTTP/1.1\r\n{host}Content-Length: -1\r\n\r\n")),
        ("no HTTP", "hello\r\n\r\n".to_owned()),
        ("a space in a name", format!("GET /health HTTP/1.1\r\n{host}X Y: 1\r\n\r\n")),
    ];
    for (what, request) in cases {
        let answer = send(&server, request.as_bytes()).await;
        let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 400");
        // RFC 9112 §6.3: one may believe `Transfer-Encoding`, if nothing follows on that connection.
        let closed = what == "two lengths" && answer.contains("connection: close");
        assert!(refused || closed, "{what}: {answer}");
    }
    let fine = send(&server, format!("GET /health HTTP/1.1\r\n{host}\r\n").as_bytes()).await;
    assert!(fine.starts_with("HTTP/1.1 200"), "{fine}");
}

#[tokio::test(flavor = "multi_thread")]
async fn correlation_ids_are_taken_or_made() {
    let server = Server::start();
    let ask = |id: &str| format!("GET /health HTTP/1.1\r\nHost: a\r\nX-Correlation-Id: {id}\r\n\r\n");
    assert!(send(&server, ask("order-17").as_bytes()).await.contains("x-correlation-id: order-17\r\n"));
    let answer = send(&server, ask("a b\"c").as_bytes()).await;
    assert!(!answer.contains("a b") && answer.contains("x-correlation-id: "), "{answer}");
}
