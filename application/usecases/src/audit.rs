//! The audit trail: looking things up in it, and taking it along to be checked elsewhere.

mod export_audit;
mod list_audit;

pub use export_audit::{AuditExport, ExportAudit};
pub use list_audit::{AuditPage, ListAudit};
