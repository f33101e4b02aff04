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
            Document::Inline(document) => document,
            Document::At(url) => {
                let fetched = self.maker.document(&url, &rules).await;
                fetched.map_err(|error| Refused::invalid("/document_url", error))?
            }
        };
        let now = self.clock.now();
        let mut made = Vec::new();
        for (index, (name, tool)) in tools(&document, operations, import)?.into_iter().enumerate() {
            let pointer = format!("/operations/{index}");
            check_name(&self.built_in, &name, &pointer)?;
            let source = ToolSource::Http(tool);
            check(&*self.maker, &source, &rules).map_err(|refused| match refused {
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
