//! Reading what callers send: bodies, ids, pages, versions. Every bound is here.

use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Datelike as _, SubsecRound as _, Utc};
use http::StatusCode;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, IF_MATCH};
use http_body_util::BodyExt as _;
use powerhouse_ports::store::Limit;
use salvo::http::ReqBody;
use salvo::prelude::Request;
use serde::de::{DeserializeOwned, IgnoredAny};
use zeroize::Zeroizing;

use crate::cursor;
use crate::problem::Problem;

/// The most bytes of a body.
pub(crate) const MAX_BODY: usize = 256 * 1024;
/// The most bytes of a document's body: four mebibytes of PDF in Base64, which is more than a mebibyte of text with what JSON
/// escapes of it.
const MAX_DOCUMENT_BODY: usize = 6 * 1024 * 1024;
/// The most bytes that are read of a body that is too long.
const MAX_READ_PAST: usize = 32 * 1024 * 1024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// Reads a JSON body. Its type lists its fields, and refuses others.
pub(crate) async fn json<T: DeserializeOwned>(req: &mut Request) -> Result<T, Problem> {
    if !is_json(req.headers()) {
        let detail = "send the body as JSON, with `Content-Type: application/json`";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail));
    }
    // It may hold a password or a secret.
    parse(&Zeroizing::new(bytes(req).await?))
}

/// Takes a request's body, whatever it is.
pub(crate) async fn bytes(req: &mut Request) -> Result<Vec<u8>, Problem> {
    let most = most(req.uri().path());
    let Ok(read) = tokio::time::timeout(BODY_TIMEOUT, read(req.take_body(), most)).await else {
        let detail = "the body took too long to arrive";
        return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", detail));
    };
    read
}

/// The most bytes of a body that is sent to this path.
fn most(path: &str) -> usize {
    let is_documents = path.starts_with("/v1/collections/") && path.ends_with("/documents");
    if is_documents { MAX_DOCUMENT_BODY } else { MAX_BODY }
}

/// Reads a body. What is too much is read past for a while: a connection that is closed while its client still sends
/// may lose the answer (RFC 9112 §9.6).
async fn read(mut body: ReqBody, most: usize) -> Result<Vec<u8>, Problem> {
    let (mut bytes, mut received) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let unreadable = |_| Problem::bad_request("body_unreadable", "the body could not be read to its end");
        let Ok(data) = frame.map_err(unreadable)?.into_data() else { continue };
        received += data.len();
        if received <= most {
            bytes.extend_from_slice(&data);
        } else if received > MAX_READ_PAST {
            break;
        }
    }
    if received > most {
        let detail = format!("a body has at most {most} bytes");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail));
    }
    Ok(bytes)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.is_empty() {
        return Err(Problem::bad_request("body_missing", "this request needs a JSON body"));
    }
    if has_nul(bytes) {
        let detail = "the body has a text with the character NUL, which cannot be stored";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail));
    }
    // Serde would take a list for a struct, field by field.
    if !bytes.trim_ascii_start().starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(bytes).is_ok() {
        let detail = "the body must be a JSON object";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let pointer = pointer(error.path());
        let error = error.into_inner();
        if error.is_data() {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", reason(&error)).at(pointer)
        } else {
            Problem::bad_request("body_malformed", format!("the body is not JSON: {error}"))
        }
    })?;
    reader
        .end()
        .map_err(|_| Problem::bad_request("body_malformed", "something follows after the JSON value"))?;
    Ok(value)
}

/// Whether a text of the JSON has the character NUL; unescaped it is no JSON. `PostgreSQL` stores no such text.
fn has_nul(bytes: &[u8]) -> bool {
    bytes.windows(6).enumerate().any(|(at, window)| {
        // The backslash must not be escaped itself.
        window == br"\u0000" && bytes[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0
    })
}

/// What serde says, without the place: the pointer names that.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((reason, _)) => reason.to_owned(),
        None => text,
    }
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
            Segment::Enum { variant } => format!("/{variant}"),
            Segment::Unknown => String::new(),
        })
        .collect()
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// An id in the path. One that cannot be an id names nothing.
pub(crate) fn id<T: FromStr>(req: &Request, name: &str, what: &str) -> Result<T, Problem> {
    req.params().get(name).and_then(|text| text.parse().ok()).ok_or_else(|| Problem::not_found(what))
}

/// A text of the body that has a rule of its own.
pub(crate) fn field<T>(pointer: &str, text: &str) -> Result<T, Problem>
where
    T: FromStr<Err: std::fmt::Display>,
{
    text.parse().map_err(|error: T::Err| invalid(pointer, error))
}

/// A point in time of the body (RFC 3339), to the microsecond, which is what is stored.
pub(crate) fn optional_instant(pointer: &str, text: Option<&str>) -> Result<Option<DateTime<Utc>>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let wrong = || invalid(pointer, "must be a date with a time and an offset, such as 2030-01-31T09:00:00Z");
    let at = DateTime::parse_from_rfc3339(text).map_err(|_| wrong())?.to_utc();
    // What the databases hold, and callers can read again.
    if !(1970..=9999).contains(&at.year()) {
        return Err(wrong());
    }
    Ok(Some(at.trunc_subsecs(6)))
}

/// A rule that a part of the body breaks.
#[expect(clippy::needless_pass_by_value, reason = "takes an error as it comes")]
pub(crate) fn invalid(pointer: &str, error: impl ToString) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", error.to_string()).at(pointer)
}

/// `?limit=` and `?cursor=`.
pub(crate) fn page<K: FromStr>(req: &Request) -> Result<(Option<K>, Limit), Problem> {
    let limit = match req.queries().get("limit") {
        None => Limit::default(),
        Some(text) => {
            let limit = text.parse().ok().and_then(|items| Limit::new(items).ok());
            let detail = format!("limit must be a number from 1 to {}", Limit::MAX);
            limit.ok_or_else(|| Problem::bad_request("limit_invalid", detail))?
        }
    };
    let after = match req.queries().get("cursor") {
        None => None,
        Some(text) => {
            let detail = "this is no cursor: pass the `next_cursor` of the page before, unchanged";
            Some(cursor::decode(text).ok_or_else(|| Problem::bad_request("cursor_invalid", detail))?)
        }
    };
    Ok((after, limit))
}

/// A number in the query, where it is there.
pub(crate) fn query_number(req: &Request, name: &str) -> Result<Option<u32>, Problem> {
    let Some(text) = req.queries().get(name) else { return Ok(None) };
    let detail = || format!("`{name}` must be a whole number");
    text.parse().map(Some).map_err(|_| Problem::bad_request("query_invalid", detail()))
}

/// Whether this media type is asked for, by a range that names it.
pub(crate) fn asks_for(headers: &HeaderMap, media_type: &str) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted
        .flat_map(|value| value.split(','))
        .any(|range| range.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(media_type))
}

/// The version in `If-Match`; any when there is none, or `*`.
pub(crate) fn if_match(req: &Request) -> Result<Option<u64>, Problem> {
    let Some(value) = req.headers().get(IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let version =
        text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).and_then(|text| text.parse().ok());
    let detail = "`If-Match` must be the ETag that you were given";
    version.map(Some).ok_or_else(|| Problem::bad_request("if_match_invalid", detail))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read by serde only")]
    struct Sample {
        list: Vec<u8>,
    }

    fn refusal(body: &[u8]) -> serde_json::Value {
        serde_json::to_value(parse::<Sample>(body).unwrap_err().document(None)).unwrap()
    }

    #[test]
    fn what_is_wrong_is_pointed_at() {
        let wrong = refusal(br#"{"list":[1,"two"]}"#);
        assert_eq!((wrong["status"].as_u64(), wrong["pointer"].as_str()), (Some(422), Some("/list/1")));
        assert!(!wrong["detail"].as_str().unwrap().contains("line"), "{wrong}");
        assert_eq!(refusal(br#"{"list":[],"x":1}"#)["status"], 422);
    }

    #[test]
    fn nul_is_refused_and_only_nul() {
        assert!(has_nul(br#"{"a":"\u0000"}"#) && has_nul(br#"{"a":"\\\u0000"}"#));
        assert!(!has_nul(br#"{"a":"\\u0000"}"#) && !has_nul(br#"{"a":"\u0001"}"#));
    }

    #[test]
    fn what_is_no_json_is_malformed() {
        let deep = "[".repeat(100_000);
        for body in [&b"{"[..], b"\xff\xfe", b"{\"list\":[]} x"] {
            assert_eq!(refusal(body)["code"], "body_malformed");
        }
        let deep = parse::<serde_json::Value>(deep.as_bytes()).unwrap_err();
        assert_eq!(serde_json::to_value(deep.document(None)).unwrap()["code"], "body_malformed");
        assert_eq!(refusal(b"")["code"], "body_missing");
    }
}
