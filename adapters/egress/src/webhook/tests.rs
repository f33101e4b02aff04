//! The sender against a stub endpoint on this machine.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::addresses::is_public;
use crate::client::AddressPolicy;
use crate::resolver::Lookup;

/// Every name is this machine.
struct Here;

#[async_trait]
impl Lookup for Here {
    async fn addresses_of(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        Ok(vec![[127, 0, 0, 1].into()])
    }
}

fn sender(trusted: &[&str]) -> HttpWebhookSender {
    let trusted = Hosts::new(trusted.iter().copied()).expect("hosts");
    let of_operator = trusted.clone();
    let policy = AddressPolicy::new(move |host, address| of_operator.has(host) || is_public(address));
    let timeouts = Timeouts { connect: Duration::from_secs(5), total: Duration::from_millis(500) };
    HttpWebhookSender::through(&Egress { policy, lookup: Arc::new(Here), timeouts }, trusted)
        .expect("a client")
}

/// Answers every request like this, and gives what was asked.
async fn endpoint(answer: &'static str) -> (u16, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (to, from) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = vec![0; 4096];
            let length = stream.read(&mut buffer).await.unwrap_or(0);
            let _ = to.send(String::from_utf8_lossy(&buffer[..length]).into_owned());
            let _ = stream.write_all(answer.as_bytes()).await;
            if answer.is_empty() {
                std::future::pending::<()>().await;
            }
        }
    });
    (port, from)
}

fn post(url: String) -> Post {
    let headers =
        [("webhook-id", "a".into()), ("webhook-timestamp", "1".into()), ("webhook-signature", "v1,x".into())];
    Post { url, headers, body: r#"{"type":"webhook.test"}"#.into() }
}

#[tokio::test]
async fn s40_only_hosts_that_the_operator_names_have_addresses_that_are_not_public() {
    let (port, _from) = endpoint("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let said = |sender: HttpWebhookSender, host: &str| {
        let url = format!("http://{host}:{port}/");
        async move { sender.post(&post(url)).await }
    };
    let there = Ok(Answer { status: 200, excerpt: "ok".into() });
    assert_eq!(said(sender(&["127.0.0.1"]), "127.0.0.1").await, there);
    assert_eq!(said(sender(&["hooks.test"]), "hooks.test").await, there);
    for (trusted, host) in
        [(&["other.test"][..], "hooks.test"), (&["hooks.test"], "127.0.0.1"), (&[], "2130706433")]
    {
        let refused = said(sender(trusted), host).await;
        assert!(matches!(refused, Err(PostError::Refused(_))), "{host}: {refused:?}");
    }
    for url in [
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:169.254.169.254]/",
        "https://169.254.169.254/",
        "https://10.0.0.1/",
        "http://example.org/",
        "https://u:p@example.org/",
        "ftp://example.org/",
        "https://",
    ] {
        assert!(matches!(sender(&[]).check(url), Err(PostError::Refused(_))), "{url}");
    }
    assert_eq!(sender(&[]).check("https://example.org/hook"), Ok(()));
    // A name that is not the operator's leads here by its resolution only.
    let refused = sender(&[]).post(&post(format!("https://rebound.test:{port}/"))).await;
    assert_eq!(refused, Err(PostError::Refused(AddressRefused.to_string())));
}

#[tokio::test]
async fn a_request_has_its_headers_and_no_redirect_is_followed() {
    let (port, mut from) =
        endpoint("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/\r\ncontent-length: 0\r\n\r\n").await;
    let answer =
        sender(&["127.0.0.1"]).post(&post(format!("http://127.0.0.1:{port}/hook"))).await.expect("an answer");
    assert_eq!(answer.status, 302);
    let request = from.recv().await.expect("a request");
    assert!(request.starts_with("POST /hook HTTP/1.1\r\n"), "{request}");
    for line in
        ["content-type: application/json", "webhook-id: a", "webhook-timestamp: 1", "webhook-signature: v1,x"]
    {
        assert!(request.contains(&format!("{line}\r\n")), "{line}: {request}");
    }
}

#[tokio::test]
async fn an_answer_is_bounded_in_length_and_time() {
    let long = Box::leak(format!("HTTP/1.1 500 No\r\n\r\n{}\0", "x".repeat(9_000)).into_boxed_str());
    let (port, _from) = endpoint(long).await;
    let answer =
        sender(&["127.0.0.1"]).post(&post(format!("http://127.0.0.1:{port}/"))).await.expect("an answer");
    assert_eq!((answer.status, answer.excerpt.len()), (500, MAX_EXCERPT));
    let (port, _from) = endpoint("").await;
    let silent = sender(&["127.0.0.1"]).post(&post(format!("http://127.0.0.1:{port}/"))).await;
    assert_eq!(silent, Err(PostError::NoAnswer("the endpoint did not answer in time".into())));
}

#[test]
fn entries_are_hosts() {
    assert!(Hosts::new(["Example.org", "127.0.0.1", "[::1]"]).is_ok_and(|hosts| hosts.has("example.org")));
    for wrong in ["", "http://example.org", "example.org:80", "a b"] {
        assert!(Hosts::new([wrong]).is_err(), "{wrong:?}");
    }
}
