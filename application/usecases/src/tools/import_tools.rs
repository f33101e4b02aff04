//! Tools from the operations of an OpenAPI document.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::tools::openapi::{Import, tools};
use powerhouse_domain::tools::{SourceKind, TenantTool, ToolSource};
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::TenantStore;
use powerhouse_ports::tools::ToolMaker;
use serde_json::Value;

use super::create_tool::{add, check_name};
use super::{Names, check, resource};
use crate::{Once, Refused, permit};

/// The document of a text. Users' YAML is not read: its anchors and tags are more than a document needs (S33).
fn read(text: &str, pointer: &str) -> Result<Value, Refused> {
    let text = text.trim_start_matches('\u{feff}');
    serde_json::from_str(text).map_err(|_| {
        if is_yaml(text) {
            let reason = "YAML is not read: convert the document to JSON, such as by `yq -o=json openapi.yaml`, and give that";
            return Refused::unsupported("openapi_yaml", pointer, reason);
        }
        Refused::invalid(pointer, "the document is not JSON")
    })
}

/// Whether a text begins as OpenAPI documents in YAML do.
fn is_yaml(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.next().is_some_and(|line| {
        let key = line.split(':').next().unwrap_or_default().trim_matches(['"', '\'']);
        matches!(line, "---") || line.starts_with('%') || (line.contains(':') && is_key(key))
    })
}

/// Whether this is a key of an OpenAPI document.
fn is_key(key: &str) -> bool {
    matches!(key, "openapi" | "swagger" | "info" | "servers" | "paths" | "components" | "tags" | "security")
}

/// Where the document is.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    /// Here.
    Inline(Value),
    /// At this address.
    At(String),
}

/// Imports tools.
#[derive(Clone)]
pub struct ImportTools {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
    /// Says what can be called, and fetches documents.
    pub maker: Arc<dyn ToolMaker>,
    /// The names that are taken.
    pub built_in: Arc<Names>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl ImportTools {
    /// Declares a tool for each of these operations, or for none.
    pub async fn execute(
        &self,
        principal: &Principal,
        document: Document,
        operations: &[String],
        import: &Import,
        once: &Once<Vec<TenantTool>>,
    ) -> Result<Vec<TenantTool>, Refused> {
        let permit = permit::<access::CreateTool>(principal, principal.tenant_id(), "tools", true)?;
        let scope = permit.scope();
        let rules = self.store.read(&scope).await?.tools().egress().await?;
        let document = match document {
            Document::Inline(Value::String(text)) => read(&text, "/document")?,
            Document::Inline(document) => document,
            Document::At(url) => {
                let fetched = self.maker.document(&scope, &url, &rules).await;
                read(&fetched.map_err(|error| Refused::invalid("/document_url", error))?, "/document_url")?
            }
        };
        let now = self.clock.now();
        let mut made = Vec::new();
        for (index, (name, tool)) in tools(&document, operations, import)?.into_iter().enumerate() {
            let pointer = format!("/operations/{index}");
            check_name(&self.built_in, &name, &pointer)?;
            let source = ToolSource::Http(tool);
            check(&*self.maker, &scope, &source, &rules).map_err(|refused| match refused {
                Refused::Invalid { pointer: at, reason } => {
                    Refused::invalid(&pointer, format!("{at} {reason}"))
                }
                other => other,
            })?;
            made.push(TenantTool::new(name, source, permit.granted_to(), now));
        }
        let mut tx = once.begin(&*self.store, &scope).await?;
        add(&mut *tx, &made).await?;
        let first = made.first().ok_or_else(|| Refused::invalid("/operations", "name an operation"))?;
        let names = made.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>().join(", ");
        let entry =
            Entry::by(principal, AuditAction::ToolCreated, resource(&first.name, SourceKind::Http), now);
        once.commit_audited(tx, &made, entry.with("tools", names)).await?;
        permit.redeem();
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_is_told_from_what_is_no_document() {
        for yaml in
            ["openapi: 3.1.0\n", "# A comment\n\n---\nopenapi: 3.0.3", "info:\n  title: x", "\"paths\": {}\n"]
        {
            let refused = read(yaml, "/document").unwrap_err();
            assert!(matches!(refused, Refused::Unsupported { code: "openapi_yaml", .. }), "{yaml}");
        }
        for other in ["", "<html>", "{\"openapi\": ", "hello: world"] {
            assert!(matches!(read(other, "/document"), Err(Refused::Invalid { .. })), "{other}");
        }
        assert_eq!(read("{\"openapi\": \"3.1.0\"}", "/document").unwrap()["openapi"], "3.1.0");
    }
}
