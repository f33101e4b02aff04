//! Which bodies are read, how much of them, and how their bytes become text.

use encoding_rs::{Encoding, UTF_8};
use reqwest::header::{CONTENT_TYPE, HeaderMap};

/// A content type that holds text, and its character encoding.
#[derive(Debug, PartialEq)]
pub(crate) struct TextType {
    pub(crate) essence: String,
    encoding: &'static Encoding,
}

impl TextType {
    /// The content type of a response, if it is text, JSON or XML.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let mut parts = value.split(';').map(str::trim);
        let essence = parts.next()?.to_ascii_lowercase();
        let (kind, subtype) = essence.split_once('/')?;
        let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-._".contains(&b));
        let is_text = kind == "text"
            || matches!((kind, subtype), ("application", "json" | "xml"))
            || subtype.ends_with("+json")
            || subtype.ends_with("+xml");
        if !is_text || subtype.is_empty() || essence.len() > 100 || !is_name(kind) || !is_name(subtype) {
            return None;
        }
        let encoding = parts.find_map(charset).unwrap_or(UTF_8);
        Some(Self { essence, encoding })
    }

    /// The bytes as text; what does not decode is replaced.
    pub(crate) fn decode(&self, bytes: &[u8]) -> String {
        self.encoding.decode(bytes).0.into_owned()
    }
}

fn charset(parameter: &str) -> Option<&'static Encoding> {
    let (name, label) = parameter.split_once('=')?;
    name.eq_ignore_ascii_case("charset").then(|| Encoding::for_label(label.trim_matches('"').as_bytes()))?
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn text_type(value: &'static str) -> Option<TextType> {
        TextType::of(&HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))]))
    }

    #[test]
    fn text_json_and_xml_are_read() {
        for (value, essence) in [
            ("text/plain", "text/plain"),
            ("Text/HTML; charset=UTF-8", "text/html"),
            ("application/json", "application/json"),
            ("application/problem+json", "application/problem+json"),
            ("application/xml", "application/xml"),
            ("application/atom+xml;type=feed", "application/atom+xml"),
        ] {
            assert_eq!(text_type(value).map(|text| text.essence), Some(essence.to_owned()));
        }
    }

    #[test]
    fn other_types_are_not() {
        for value in
            ["", "text", "text/", "application/octet-stream", "image/png", "application/jsonx", "text/a b"]
        {
            assert_eq!(text_type(value), None, "{value}");
        }
        assert_eq!(TextType::of(&HeaderMap::new()), None);
    }

    #[test]
    fn bytes_are_decoded_by_the_charset() {
        let decode = |value, bytes: &[u8]| text_type(value).expect("text").decode(bytes);
        assert_eq!(decode("text/plain", "é".as_bytes()), "é");
        assert_eq!(decode("text/plain; charset=ISO-8859-1", b"\xe9"), "é");
        assert_eq!(decode("text/plain; Charset=\"utf-8\"", b"a\xff"), "a\u{fffd}");
        assert_eq!(decode("text/plain; charset=unheard-of", "é".as_bytes()), "é");
    }
}
