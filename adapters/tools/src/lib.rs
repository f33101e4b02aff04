//! The tools that agents call: built in, and declared by tenants.
//!
//! Start at [`built_in`], which gathers them. Every tool takes its arguments strictly, bounds its work and
//! its output, and answers a mistake with a sentence that a model can act on. All of them are safe to repeat.
//! [`HttpGet`] is the only one that reaches out of the process; it is offered where an operator configured
//! it. [`TenantTools`] makes tools of what tenants declare.

mod arguments;
mod calculator;
mod current_time;
mod http_get;
mod json_query;
mod tenant;
mod text_statistics;

use std::sync::Arc;

use powerhouse_ports::clock::Clock;
use powerhouse_ports::tools::Tool;

pub use calculator::Calculator;
pub use current_time::CurrentTime;
pub use http_get::{AllowList, AllowListError, HttpGet, HttpGetError};
pub use json_query::JsonQuery;
pub use tenant::TenantTools;
pub use text_statistics::TextStatistics;

/// The built-in tools, ordered by name. Without `http`, nothing in here opens a connection.
pub fn built_in(clock: Arc<dyn Clock>, http: Option<HttpGet>) -> Vec<Arc<dyn Tool>> {
    let mut tools: Vec<Arc<dyn Tool>> = vec![Arc::new(Calculator), Arc::new(CurrentTime::new(clock))];
    if let Some(http) = http {
        tools.push(Arc::new(http));
    }
    tools.push(Arc::new(JsonQuery));
    tools.push(Arc::new(TextStatistics));
    tools
}

#[cfg(test)]
pub(crate) mod tests {
    use powerhouse_ports::clock::MockClock;
    use serde_json::{Value, json};

    use super::*;
    use powerhouse_domain::effects::{EffectRequest, ToolRequest};
    use powerhouse_domain::idempotency::CallKey;

    /// The key of some call.
    pub(crate) fn key() -> CallKey {
        let request = EffectRequest::Tool(ToolRequest::new("t", Value::Null));
        let run = "run_01h455vb4pex5vsknk084sn02q".parse().expect("an id");
        CallKey::of(run, &"0".parse().expect("a key"), &request)
    }

    fn all() -> Vec<Arc<dyn Tool>> {
        let http = HttpGet::new(AllowList::default()).expect("an HTTP client");
        built_in(Arc::new(MockClock::new()), Some(http))
    }

    #[tokio::test]
    async fn names_are_ordered_valid_and_http_is_optional() {
        let names = |tools: Vec<Arc<dyn Tool>>| tools.iter().map(|tool| tool.spec().name).collect::<Vec<_>>();
        assert_eq!(names(all()), ["calculator", "current_time", "http_get", "json_query", "text_statistics"]);
        assert!(!names(built_in(Arc::new(MockClock::new()), None)).contains(&"http_get".to_owned()));
    }

    #[tokio::test]
    async fn schemas_are_closed_objects_whose_required_properties_exist() {
        for tool in all() {
            let schema = tool.spec().parameters;
            assert_eq!(schema["type"], "object");
            assert_eq!(schema["additionalProperties"], false);
            for name in schema["required"].as_array().into_iter().flatten() {
                assert!(schema["properties"][name.as_str().expect("a name")].is_object());
            }
            assert!(tool.is_safe_to_repeat());
        }
    }

    #[tokio::test]
    async fn arguments_of_a_wrong_shape_are_errors_in_words() {
        for tool in all() {
            for wrong in [Value::Null, json!([]), json!("text"), json!({"unheard_of": 1})] {
                let output = tool.call(&key(), &wrong).await;
                assert!(output.is_error, "{} took {wrong}", tool.spec().name);
                assert!(output.content.ends_with('.'), "{}", output.content);
            }
        }
    }
}
