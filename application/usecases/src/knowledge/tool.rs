//! The tool by which agents search: what it gives back are other people's words, and so not to be trusted.

use std::sync::Arc;

use async_trait::async_trait;
use powerhouse_domain::access::TenantScope;
use powerhouse_domain::idempotency::CallKey;
use powerhouse_domain::knowledge::{CollectionName, MAX_HITS, MAX_QUERY};
use powerhouse_domain::tools::{ModelUsed, ToolOutput, ToolSpec};
use powerhouse_ports::Chain;
use powerhouse_ports::tools::{RunContext, Tool, ToolFactory};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::search::{Found, Hit, Query, SearchFailed, Searcher};
use crate::embedding::Payer;

/// What the tool is called.
const KNOWLEDGE_SEARCH: &str = "knowledge_search";
/// How many chunks it gives, unless it is told.
const USUAL_HITS: u32 = 5;

/// Makes the tool for each run: it searches what is the run's tenant's.
#[derive(Clone)]
pub struct KnowledgeSearch {
    /// Searches.
    pub searcher: Searcher,
}

impl ToolFactory for KnowledgeSearch {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: KNOWLEDGE_SEARCH.to_owned(),
            description: "Searches the organisation's documents, by words and by meaning. Gives the passages that fit best, \
                          each with an id by which it can be cited."
                .to_owned(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "query": {"type": "string", "minLength": 1, "maxLength": MAX_QUERY, "description": "What is looked for."},
                    "collections": {"type": "array", "items": {"type": "string"},
                        "description": "The collections to search; all, when it is left out."},
                    "k": {"type": "integer", "minimum": 1, "maximum": MAX_HITS, "default": USUAL_HITS,
                        "description": "How many passages."}
                },
                "required": ["query"],
                "additionalProperties": false
            }),
        }
    }

    fn for_run(&self, context: RunContext) -> Arc<dyn Tool> {
        Arc::new(Search { made: self.clone(), scope: context.scope })
    }
}

struct Search {
    made: KnowledgeSearch,
    scope: TenantScope,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    query: String,
    #[serde(default)]
    collections: Vec<String>,
    k: Option<u32>,
}

impl Arguments {
    fn read(arguments: &Value) -> Result<Query, String> {
        let Self { query, collections, k } =
            Self::deserialize(arguments).map_err(|error| error.to_string())?;
        let name =
            |name: &String| name.parse::<CollectionName>().map_err(|error| format!("`{name}`: {error}"));
        let collections = collections.iter().map(name).collect::<Result<_, _>>()?;
        Query::new(&query, collections, k.unwrap_or(USUAL_HITS)).map_err(|bad| {
            format!("`{}` {}", if bad.pointer == "/limit" { "k" } else { "query" }, bad.reason)
        })
    }
}

/// A passage as models read it.
#[derive(Serialize)]
struct Passage<'a> {
    citation: String,
    title: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    source: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    headings: &'a [String],
    /// Which bytes of the document's text it is.
    start: usize,
    end: usize,
    text: &'a str,
}

impl<'a> From<&'a Hit> for Passage<'a> {
    fn from(hit: &'a Hit) -> Self {
        Self {
            citation: hit.place.to_string(),
            title: &hit.document.title,
            source: &hit.document.source,
            headings: &hit.chunk.headings,
            start: hit.chunk.range.start,
            end: hit.chunk.range.end,
            text: &hit.chunk.text,
        }
    }
}

#[async_trait]
impl Tool for Search {
    fn spec(&self) -> ToolSpec {
        self.made.spec()
    }

    fn is_safe_to_repeat(&self) -> bool {
        true
    }

    fn worst_case(&self, arguments: &Value) -> Option<ModelUsed> {
        self.made.searcher.worst_case(&Arguments::read(arguments).ok()?)
    }

    async fn call(&self, _: &CallKey, arguments: &Value) -> ToolOutput {
        let query = match Arguments::read(arguments) {
            Ok(query) => query,
            Err(reason) => return ToolOutput::error(format!("the arguments are not right: {reason}")),
        };
        match self.made.searcher.search(&self.scope, Payer::Run(self.scope), &query).await {
            Ok(Found { hits, used, .. }) => {
                let passages: Vec<Passage<'_>> = hits.iter().map(Into::into).collect();
                ToolOutput::ok(json!({ "passages": passages }).to_string()).using(used)
            }
            Err(failed @ SearchFailed::NoCollection(_)) => ToolOutput::error(failed.to_string()),
            Err(failed @ (SearchFailed::Store(_) | SearchFailed::NotAsked(_))) => {
                tracing::error!(error = %Chain(&failed), "a run could not search");
                ToolOutput::error("the documents cannot be searched now: try again later")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_checked() {
        let read = |arguments: Value| Arguments::read(&arguments);
        assert_eq!(read(json!({"query": "leave"})), Ok(Query::new("leave", Vec::new(), 5).unwrap()));
        let both = read(json!({"query": "leave", "collections": ["a", "b"], "k": 2})).unwrap();
        assert_eq!(both, Query::new("leave", vec!["a".parse().unwrap(), "b".parse().unwrap()], 2).unwrap());
        for (bad, says) in [
            (json!({}), "query"),
            (json!({"query": " "}), "`query` has 1 to"),
            (json!({"query": "x", "k": 0}), "`k` is 1 to"),
            (json!({"query": "x", "collections": ["A b"]}), "`A b`"),
            (json!({"query": "x", "more": 1}), "unknown field"),
        ] {
            let reason = read(bad.clone()).unwrap_err();
            assert!(reason.contains(says), "{bad}: {reason}");
        }
    }
}
