//! Rows of `audit_records`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use powerhouse_domain::audit::{Actor, AuditRecord, Entry};
use powerhouse_domain::ids::{SessionId, TenantId};
use powerhouse_ports::store::StoreError;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;

use super::audit_head::hash;
use super::stored::{read, write};
use super::{corrupt, signed, unsigned};

const TABLE: &str = "audit_records";

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_records")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) at: DateTime<Utc>,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) seq: i64,
    pub(crate) actor: String,
    pub(crate) session_id: Option<Uuid>,
    pub(crate) action: String,
    pub(crate) resource: String,
    pub(crate) correlation_id: Option<String>,
    pub(crate) details: Json,
    pub(crate) previous_hash: Vec<u8>,
    pub(crate) hash: Vec<u8>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl From<&AuditRecord> for ActiveModel {
    fn from(record: &AuditRecord) -> Self {
        let Entry { at, actor, action, resource, correlation_id, details } = &record.entry;
        Self {
            tenant_id: Set(record.tenant.as_uuid()),
            at: Set(*at),
            seq: Set(signed(record.seq)),
            actor: Set(actor.to_string()),
            session_id: Set(actor.session().map(|session| session.as_uuid())),
            action: Set(action.as_str().to_owned()),
            resource: Set(resource.clone()),
            correlation_id: Set(correlation_id.clone()),
            details: Set(write(details)),
            previous_hash: Set(record.previous.as_bytes().to_vec()),
            hash: Set(record.hash.as_bytes().to_vec()),
        }
    }
}

impl TryFrom<Model> for AuditRecord {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let session = row.session_id.map(SessionId::from_uuid);
        Ok(Self {
            tenant: TenantId::from_uuid(row.tenant_id),
            seq: unsigned(TABLE, "seq", row.seq)?,
            entry: Entry {
                at: row.at,
                actor: Actor::named(&row.actor, session).map_err(corrupt(TABLE, "actor"))?,
                action: row.action.parse().map_err(corrupt(TABLE, "action"))?,
                resource: row.resource,
                correlation_id: row.correlation_id,
                details: read::<BTreeMap<String, String>>(TABLE, "details", row.details)?,
            },
            previous: hash(TABLE, "previous_hash", row.previous_hash)?,
            hash: hash(TABLE, "hash", row.hash)?,
        })
    }
}
