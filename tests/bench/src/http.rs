//! An HTTP client that costs next to nothing: requests are ready bytes, and of an answer it reads status and length.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A connection that is kept open.
pub(crate) struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, answer: Vec::with_capacity(64 * 1024) })
    }

    /// Sends a request whose answer must be 200, reads it to its end and gives its body.
    pub(crate) async fn get(&mut self, request: &str) -> anyhow::Result<&str> {
        let answer = self.send(request).await?;
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body),
            _ => bail!("{request}\n{answer}"),
        }
    }

    /// Sends a request with a JSON body, and gives the body of an answer that must say that all is well.
    pub(crate) async fn post(
        &mut self,
        path: &str,
        token: Option<&str>,
        body: &serde_json::Value,
    ) -> anyhow::Result<String> {
        let body = body.to_string();
        let length = body.len();
        let signed = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{signed}\
             Content-Length: {length}\r\n\r\n{body}"
        );
        let answer = self.send(&request).await?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer without an end of its head")?;
        if !head.starts_with("HTTP/1.1 2") {
            bail!("POST {path}: {answer}");
        }
        Ok(body.to_owned())
    }

    async fn send(&mut self, request: &str) -> anyhow::Result<&str> {
        self.stream.write_all(request.as_bytes()).await?;
        self.answer.clear();
        let mut whole = None;
        while whole.is_none_or(|whole| self.answer.len() < whole) {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                bail!("the server hung up");
            }
            if whole.is_none() {
                whole = length(&self.answer)?;
            }
        }
        Ok(std::str::from_utf8(&self.answer)?)
    }
}

/// The length of an answer with its head, once the head is whole.
fn length(answer: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&answer[..end])?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
    });
    Ok(Some(end + 4 + length.with_context(|| format!("no Content-Length:\n{head}"))??))
}
