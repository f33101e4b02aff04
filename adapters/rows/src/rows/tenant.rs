//! Rows of `tenants`.

use chrono::{DateTime, Utc};
use powerhouse_domain::ids::TenantId;
use powerhouse_domain::tenants::{Tenant, TenantParts, TenantStatus};
use powerhouse_ports::store::StoreError;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;

use super::{corrupt, signed, unsigned};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "tenants")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) id: Uuid,
    pub(crate) slug: String,
    pub(crate) name: String,
    pub(crate) plan: String,
    pub(crate) status: String,
    pub(crate) status_reason: Option<String>,
    pub(crate) status_since: Option<DateTime<Utc>>,
    pub(crate) version: i64,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub(crate) const ACTIVE: &str = "active";

impl From<&Tenant> for ActiveModel {
    fn from(tenant: &Tenant) -> Self {
        let parts = tenant.parts();
        let (status, reason, since) = match parts.status {
            TenantStatus::Active => (ACTIVE, None, None),
            TenantStatus::Suspended { reason, since } => {
                ("suspended", Some(reason.as_str().to_owned()), Some(since))
            }
            TenantStatus::Closed { since } => ("closed", None, Some(since)),
        };
        Self {
            id: Set(parts.id.as_uuid()),
            slug: Set(parts.slug.to_string()),
            name: Set(parts.name.to_string()),
            plan: Set(parts.plan.as_str().to_owned()),
            status: Set(status.to_owned()),
            status_reason: Set(reason),
            status_since: Set(since),
            version: Set(signed(parts.version)),
            created_at: Set(parts.created_at),
            updated_at: Set(parts.updated_at),
        }
    }
}

impl TryFrom<Model> for Tenant {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let bad = |column| StoreError::CorruptRow { table: "tenants", column };
        let since = row.status_since.ok_or_else(|| bad("status_since"));
        let status = match row.status.as_str() {
            ACTIVE => TenantStatus::Active,
            "suspended" => {
                let reason = row.status_reason.and_then(|reason| reason.parse().ok());
                TenantStatus::Suspended { reason: reason.ok_or_else(|| bad("status_reason"))?, since: since? }
            }
            "closed" => TenantStatus::Closed { since: since? },
            _ => return Err(bad("status")),
        };
        Ok(Self::restore(TenantParts {
            id: TenantId::from_uuid(row.id),
            slug: row.slug.parse().map_err(corrupt("tenants", "slug"))?,
            name: row.name.parse().map_err(corrupt("tenants", "name"))?,
            plan: row.plan.parse().map_err(corrupt("tenants", "plan"))?,
            status,
            version: unsigned("tenants", "version", row.version)?,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }))
    }
}
