//! How records follow each other, and how that is checked.

use chrono::{DateTime, Utc};

use super::{AuditHash, AuditRecord, Entry};
use crate::ids::TenantId;

/// The end of a trail. Whoever has noted a head can tell later whether the trail still leads there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The number of the last record; 0 before the first.
    pub seq: u64,
    /// Its time.
    pub at: DateTime<Utc>,
    /// Its hash.
    pub hash: AuditHash,
}

impl Head {
    /// What a tenant's first record follows.
    pub fn genesis(tenant: TenantId) -> Self {
        Self { seq: 0, at: DateTime::UNIX_EPOCH, hash: AuditHash::genesis(tenant) }
    }

    /// The record of an entry that follows this head. Its time is not before that of the record before: clocks of
    /// replicas differ, and in a trail time does not go back.
    pub fn next(&self, tenant: TenantId, mut entry: Entry) -> AuditRecord {
        entry.at = entry.at.max(self.at);
        let mut record =
            AuditRecord { tenant, seq: self.seq + 1, entry, previous: self.hash, hash: self.hash };
        record.hash = AuditHash::of(&record);
        record
    }

    /// The trail's head once this record is in it.
    pub const fn after(record: &AuditRecord) -> Self {
        Self { seq: record.seq, at: record.entry.at, hash: record.hash }
    }
}

/// Where a trail is broken, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {seq}: {fault}")]
pub struct Broken {
    /// The first record that does not fit.
    pub seq: u64,
    /// What does not fit.
    pub fault: Fault,
}

/// What does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is of another trail.
    #[error("it belongs to another tenant than the records before")]
    Tenant,
    /// Records are missing before it, or are there twice.
    #[error("record {expected} should come here: records were taken out, put in or moved")]
    Number {
        /// The number that should come.
        expected: u64,
    },
    /// It follows something else.
    #[error("it does not follow the record before: one of them was replaced")]
    Link,
    /// Time went back.
    #[error("it is older than the record before")]
    Time,
    /// Its content is not what was hashed.
    #[error("its content was changed after it was written")]
    Content,
}

/// A trail, or its end, that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Whose.
    pub tenant: TenantId,
    /// The first record's number: 1, unless older ones are no longer kept.
    pub first: u64,
    /// What the first record follows: the hash of the last one that is no longer kept.
    pub anchor: AuditHash,
    /// The end.
    pub head: Head,
}

impl Verified {
    /// What a record is the first of: the trail that begins with it.
    fn before(record: &AuditRecord) -> Self {
        let head = match record.seq {
            0 | 1 => Head::genesis(record.tenant),
            // Older ones are no longer kept: it may follow anything.
            seq => Head { seq: seq - 1, at: record.entry.at, hash: record.previous },
        };
        Self { tenant: record.tenant, first: record.seq, anchor: record.previous, head }
    }
}

/// Checks records, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Verifier(Option<Verified>);

impl Verifier {
    /// Checks the record that comes next.
    pub fn add(&mut self, record: &AuditRecord) -> Result<(), Broken> {
        let before = self.0.unwrap_or_else(|| Verified::before(record));
        if let Some(fault) = fault(&before, record) {
            return Err(Broken { seq: record.seq, fault });
        }
        self.0 = Some(Verified { head: Head::after(record), ..before });
        Ok(())
    }

    /// What was checked; nothing when there was no record.
    pub const fn verified(&self) -> Option<Verified> {
        self.0
    }
}

/// What is wrong with a record after these.
fn fault(before: &Verified, record: &AuditRecord) -> Option<Fault> {
    let Verified { tenant, head, .. } = before;
    let expected = head.seq.saturating_add(1);
    if record.tenant != *tenant {
        Some(Fault::Tenant)
    } else if record.seq != expected {
        Some(Fault::Number { expected })
    } else if record.previous != head.hash {
        Some(Fault::Link)
    } else if record.entry.at < head.at {
        Some(Fault::Time)
    } else if record.hash != AuditHash::of(record) {
        Some(Fault::Content)
    } else {
        None
    }
}
