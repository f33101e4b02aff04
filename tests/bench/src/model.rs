//! A model of the chat completions API that costs next to nothing: it calls the first tool that it is offered as often as
//! asked, then says a sentence, all at once. It reads just what the product sends.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Serves on a thread of its own until the process ends. A run calls a tool so many times.
pub(crate) fn serve(calls: u64) -> anyhow::Result<SocketAddr> {
    let calls = usize::try_from(calls)?;
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::spawn(async move { converse(stream, calls).await });
            }
        });
    });
    Ok(address)
}

async fn converse(mut stream: TcpStream, calls: usize) -> std::io::Result<()> {
    let mut read = Vec::with_capacity(16 * 1024);
    loop {
        let whole = loop {
            if let Some(whole) = length(&read).filter(|whole| read.len() >= *whole) {
                break whole;
            }
            if stream.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        };
        stream.write_all(&answer(&read[..whole], calls)).await?;
        read.drain(..whole);
    }
}

/// The length of the first request, once its head is there.
fn length(read: &[u8]) -> Option<usize> {
    let end = read.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    Some(end + 4 + length.unwrap_or(0))
}

fn answer(request: &[u8], calls: usize) -> Vec<u8> {
    let body =
        request.windows(4).position(|bytes| bytes == b"\r\n\r\n").map_or(request, |end| &request[end..]);
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let messages = request["messages"].as_array().into_iter().flatten();
    let made = messages.filter(|message| message["role"] == "tool").count();
    let tool = request["tools"][0]["function"]["name"].as_str();
    let (delta, reason) = match tool {
        Some(tool) if made < calls => {
            let call = format!(
                r#"{{"index":0,"id":"call_{made}","type":"function","function":{{"name":"{tool}","arguments":"{{}}"}}}}"#
            );
            (format!(r#"{{"tool_calls":[{call}]}}"#), "tool_calls")
        }
        _ => (r#"{"content":"The quick brown fox jumps over the lazy dog."}"#.to_owned(), "stop"),
    };
    let body = format!(
        "data: {{\"model\":\"stub\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":null}}]}}\n\n\
         data: {{\"model\":\"stub\",\"choices\":[{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"{reason}\"}}]}}\n\n\
         data: {{\"model\":\"stub\",\"choices\":[],\"usage\":{{\"prompt_tokens\":32,\"completion_tokens\":16}}}}\n\n\
         data: [DONE]\n\n"
    );
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}
