//! Records as callers read them, in pages and in the lines of an export.

use std::collections::BTreeMap;

use powerhouse_domain::audit::{Actor, AuditRecord, Entry, Head};
use salvo::oapi::ToSchema;
use serde::{Deserialize, Serialize};

use crate::reply::instant;

/// A record of the audit trail.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[salvo(schema(name = "AuditRecord"))]
pub struct AuditRecordView {
    /// Whose trail: `tenant_…`
    tenant: String,
    /// Its number, from 1 on without a gap.
    seq: u64,
    /// When.
    at: String,
    /// Who: `user_…`, or `platform` for what it does by itself.
    actor: String,
    /// The session that they were signed in to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    /// What was done, such as `agent.published`.
    action: String,
    /// The id of what it was done to.
    resource: String,
    /// The `X-Correlation-Id` of the request that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    /// What else is worth knowing, such as the names of what was `changed`.
    #[salvo(schema(value_type = Object))]
    details: BTreeMap<String, String>,
    /// The hash of the record before.
    previous_hash: String,
    /// The hash (SHA-256) of all the above.
    hash: String,
}

impl From<&AuditRecord> for AuditRecordView {
    fn from(record: &AuditRecord) -> Self {
        let Entry { at, actor, action, resource, correlation_id, details } = &record.entry;
        Self {
            tenant: record.tenant.to_string(),
            seq: record.seq,
            at: instant(*at),
            actor: actor.to_string(),
            session: actor.session().map(|session| session.to_string()),
            action: action.as_str().to_owned(),
            resource: resource.clone(),
            correlation_id: correlation_id.clone(),
            details: details.clone(),
            previous_hash: record.previous.to_string(),
            hash: record.hash.to_string(),
        }
    }
}

impl AuditRecordView {
    /// The record as a line of an export, without its end.
    pub fn line(&self) -> String {
        // It cannot fail: every key is a string.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The record that a line of an export has; nothing when the line is not exactly as it was written.
    pub fn read(line: &str) -> Option<AuditRecord> {
        let view: Self = serde_json::from_str(line).ok()?;
        let record = view.record()?;
        (Self::from(&record).line() == line).then_some(record)
    }

    fn record(self) -> Option<AuditRecord> {
        let session = self.session.map(|session| session.parse()).transpose().ok()?;
        Some(AuditRecord {
            tenant: self.tenant.parse().ok()?,
            seq: self.seq,
            entry: Entry {
                at: self.at.parse().ok()?,
                actor: Actor::named(&self.actor, session).ok()?,
                action: self.action.parse().ok()?,
                resource: self.resource,
                correlation_id: self.correlation_id,
                details: self.details,
            },
            previous: self.previous_hash.parse().ok()?,
            hash: self.hash.parse().ok()?,
        })
    }
}

/// The end of the trail. Note it down: later, it shows whether the trail still leads there.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "AuditHead"))]
pub(super) struct HeadView {
    /// The number of the last record.
    seq: u64,
    /// Its hash.
    hash: String,
}

impl From<Head> for HeadView {
    fn from(head: Head) -> Self {
        Self { seq: head.seq, hash: head.hash.to_string() }
    }
}

/// A page of the audit trail.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "AuditPage"))]
pub(super) struct AuditPageView {
    pub(super) items: Vec<AuditRecordView>,
    /// The cursor of the next page, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_cursor: Option<String>,
    /// The end of the whole trail at this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) head: Option<HeadView>,
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use powerhouse_domain::audit::{AuditAction, Verifier};
    use powerhouse_domain::ids::{TenantId, UserId};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written_and_any_other_byte_in_it_is_found() {
        let id = Uuid::from_u128(7);
        let (tenant, user) = (TenantId::from_uuid(id), UserId::from_uuid(id));
        let actor = Actor::User { user, session: None };
        let entry = Entry::new(actor, AuditAction::UserChanged, user, DateTime::UNIX_EPOCH)
            .with("role", "admin \"é\"")
            .asked_by(Some("order-17".to_owned()));
        let record = Head::genesis(tenant).next(tenant, entry);
        let line = AuditRecordView::from(&record).line();
        assert_eq!(AuditRecordView::read(&line), Some(record));
        for index in 0..line.len() {
            for other in [b' ', b'0', b'1', b'f', b'F', b'"', b'x'] {
                let mut bytes = line.clone().into_bytes();
                if std::mem::replace(&mut bytes[index], other) == other {
                    continue;
                }
                let Ok(tampered) = String::from_utf8(bytes) else { continue };
                let is_good = AuditRecordView::read(&tampered)
                    .is_some_and(|record| Verifier::default().add(&record).is_ok());
                assert!(!is_good, "{tampered}");
            }
        }
        assert_eq!(AuditRecordView::read(&format!("{line} ")), None);
        assert_eq!(AuditRecordView::read(&line.replacen('{', "{\"more\":1,", 1)), None);
    }
}
