//! A tenant's audit trail.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use powerhouse_domain::audit::{AuditAction, AuditPlace, AuditRecord, Entry, Head};

use super::{Limit, Page, StoreError};

/// Which records; all that there are, where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Not before this time.
    pub from: Option<DateTime<Utc>>,
    /// Before this time.
    pub until: Option<DateTime<Utc>>,
    /// By this actor: `user_…` or `platform`.
    pub actor: Option<String>,
    /// Of this action.
    pub action: Option<AuditAction>,
    /// Done to this.
    pub resource: Option<String>,
}

/// A tenant's audit trail, to which can only be added.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait AuditRepository: Send {
    /// Adds what is done in this transaction to the end of the trail, with the request that asked for it
    /// ([`crate::request`]). The trail is the transaction's from then on: so it comes last, and whoever else writes to it
    /// waits for the commit only.
    async fn append(&mut self, entry: Entry) -> Result<(), StoreError>;
    /// The end of the trail; nothing while it has no record.
    async fn head(&mut self) -> Result<Option<Head>, StoreError>;
    /// Records, the newest first.
    async fn list(
        &mut self,
        filter: &AuditFilter,
        before: Option<AuditPlace>,
        limit: Limit,
    ) -> Result<Page<AuditRecord, AuditPlace>, StoreError>;
    /// Records in their order, after a place; at most `limit`.
    async fn records(
        &mut self,
        filter: &AuditFilter,
        after: Option<AuditPlace>,
        limit: u32,
    ) -> Result<Vec<AuditRecord>, StoreError>;
}
