//! A model of the chat completions API that costs next to nothing: it calls the first tool that it is offered as often as
//! asked, then says a sentence, all at once. It reads just what the product sends. Texts become random vectors, as long as
//! their model's name says: `stub-384`.

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
    let is_of_vectors = request.starts_with(b"POST /v1/embeddings ");
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    if is_of_vectors {
        return vectors(&request);
    }
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

fn vectors(request: &Value) -> Vec<u8> {
    let model = request["model"].as_str().unwrap_or_default();
    let dimensions = model.rsplit('-').next().and_then(|length| length.parse().ok()).unwrap_or(1);
    let texts = request["input"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let data = texts.map(|text| {
        let seed = text.bytes().fold(0_u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        serde_json::json!({"embedding": Random::new(seed).vector(dimensions)})
    });
    let body =
        serde_json::json!({"data": data.collect::<Vec<_>>(), "usage": {"prompt_tokens": 3}}).to_string();
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// Numbers that look random, the same for a seed each time (xorshift64*, Vigna 2016).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A direction: a vector of norm 1.
    pub(crate) fn vector(&mut self, dimensions: u64) -> Vec<f32> {
        let parts: Vec<f64> = (0..dimensions)
            .map(|_| {
                self.0 ^= self.0 >> 12;
                self.0 ^= self.0 << 25;
                self.0 ^= self.0 >> 27;
                let [a, b, c, d, ..] = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes();
                f64::from(u32::from_be_bytes([a, b, c, d])) / f64::from(u32::MAX) * 2.0 - 1.0
            })
            .collect();
        let norm = parts.iter().map(|part| part * part).sum::<f64>().sqrt();
        #[expect(clippy::cast_possible_truncation, reason = "it is at most 1")]
        parts.into_iter().map(|part| (part / norm) as f32).collect()
    }
}
