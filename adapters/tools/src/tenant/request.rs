//! The request that a call of a declared tool is: each argument in its place.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use powerhouse_domain::tools::HttpTool;
use serde_json::{Map, Value};

/// All that is not unreserved (RFC 3986): no argument ends its segment, its parameter or the path.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A request, without who sends it.
#[derive(Debug, PartialEq)]
pub(super) struct Prepared {
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<Value>,
}

/// Puts arguments into their places. They fit the schema.
pub(super) fn prepared(tool: &HttpTool, arguments: &Value) -> Result<Prepared, String> {
    let mut rest: Map<String, Value> = arguments.as_object().cloned().unwrap_or_default();
    let mut url = tool.url.clone();
    for name in tool.in_url().map_err(|bad| bad.reason)? {
        let value = rest.remove(&name).map(|value| text(&name, &value)).transpose()?.unwrap_or_default();
        if value.is_empty() || matches!(value.as_str(), "." | "..") {
            return Err(format!(
                "the argument `{name}` stands in the URL: it must not be empty, `.` or `..`"
            ));
        }
        url = url.replace(&format!("{{{name}}}"), &utf8_percent_encode(&value, ENCODED).to_string());
    }
    let mut headers = Vec::new();
    for (header, name) in &tool.headers {
        if let Some(value) = rest.remove(name) {
            headers.push((header.clone(), text(name, &value)?));
        }
    }
    let mut query = Vec::new();
    for name in &tool.query {
        if let Some(value) = rest.remove(name) {
            query.extend(parameters(name, &value)?);
        }
    }
    let mut body = None;
    if let Some(name) = &tool.body {
        body = rest.remove(name);
    } else if tool.method.has_body() {
        body = Some(Value::Object(std::mem::take(&mut rest)));
    }
    // What a schema lets through without naming it stands in the query too.
    for (name, value) in &rest {
        query.extend(parameters(name, value)?);
    }
    for (name, value) in query {
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str(&utf8_percent_encode(&name, ENCODED).to_string());
        url.push('=');
        url.push_str(&utf8_percent_encode(&value, ENCODED).to_string());
    }
    Ok(Prepared { url, headers, body })
}

/// A list stands there once for each of its items.
fn parameters(name: &str, value: &Value) -> Result<Vec<(String, String)>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => items.iter().map(|item| Ok((name.to_owned(), text(name, item)?))).collect(),
        one => Ok(vec![(name.to_owned(), text(name, one)?)]),
    }
}

fn text(name: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(is_so) => Ok(is_so.to_string()),
        _ => Err(format!("the argument `{name}` must be a text, a number or a truth value there")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use powerhouse_domain::tools::{HttpMethod, Limits};
    use serde_json::json;

    use super::*;

    fn tool(method: HttpMethod) -> HttpTool {
        HttpTool {
            description: "d".into(),
            parameters: json!({"type": "object"}),
            method,
            url: "https://example.org/v1/{id}/notes?fixed=1".into(),
            query: vec!["tag".into()],
            headers: BTreeMap::from([("X-Region".into(), "region".into())]),
            body: None,
            auth: None,
            limits: Limits::default(),
            safe_to_repeat: false,
        }
    }

    #[test]
    fn each_argument_has_its_place() {
        let arguments = json!({"id": "a/b?c#ü", "tag": ["x", "y&z"], "region": "eu", "note": {"n": 1}});
        let made = prepared(&tool(HttpMethod::Post), &arguments).unwrap();
        assert_eq!(made.url, "https://example.org/v1/a%2Fb%3Fc%23%C3%BC/notes?fixed=1&tag=x&tag=y%26z");
        assert_eq!(made.headers, [("X-Region".to_owned(), "eu".to_owned())]);
        assert_eq!(made.body, Some(json!({"note": {"n": 1}})));

        let arguments = json!({"id": 7, "page": 2, "deep": true});
        let made = prepared(&tool(HttpMethod::Get), &arguments).unwrap();
        assert_eq!(made.url, "https://example.org/v1/7/notes?fixed=1&deep=true&page=2");
        assert_eq!(made.body, None);

        let whole = HttpTool { body: Some("all".into()), ..tool(HttpMethod::Put) };
        let made = prepared(&whole, &json!({"id": "1", "all": [1, 2]})).unwrap();
        assert_eq!(made.body, Some(json!([1, 2])));
    }

    #[test]
    fn no_argument_leaves_its_segment() {
        for id in ["", ".", ".."] {
            assert!(prepared(&tool(HttpMethod::Get), &json!({ "id": id })).is_err(), "{id}");
        }
        for id in ["../admin", "%2e%2e", "a\\b", "@evil.net", "//evil.net"] {
            let made = prepared(&tool(HttpMethod::Get), &json!({ "id": id })).unwrap();
            let url = url::Url::parse(&made.url).unwrap();
            assert_eq!(url.host_str(), Some("example.org"));
            assert_eq!(url.path_segments().unwrap().count(), 3, "{id}: {url}");
        }
        assert!(prepared(&tool(HttpMethod::Get), &json!({"id": {"a": 1}})).is_err());
    }
}
