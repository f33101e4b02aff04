//! Any server of Anthropic's Messages API.

mod assemble;
mod schema;
mod wire;

use powerhouse_domain::model::ModelRequest;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue};

use crate::http::{ApiKey, Dialect, HttpProvider};

/// A provider behind the Messages API.
pub type Anthropic = HttpProvider<Messages>;

/// The version of the API that is spoken here.
const VERSION: &str = "2023-06-01";

/// Anthropic's messages, streamed.
#[derive(Debug)]
pub struct Messages;

impl Dialect for Messages {
    type Assembly = assemble::Assembled;

    const PATH: &'static [&'static str] = &["messages"];

    fn key_header(key: &ApiKey) -> Result<(HeaderName, HeaderValue), InvalidHeaderValue> {
        Ok((HeaderName::from_static("x-api-key"), key.header("")?))
    }

    fn headers() -> HeaderMap {
        HeaderMap::from_iter([(
            HeaderName::from_static("anthropic-version"),
            HeaderValue::from_static(VERSION),
        )])
    }

    fn body(model: &str, request: &ModelRequest) -> Result<Vec<u8>, serde_json::Error> {
        wire::body(model, request)
    }
}
